//! Edits of a CSV export.

use anyhow::{Context as _, bail};
use csv::{ReaderBuilder, WriterBuilder};

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit<'a> {
    /// The column gets another name.
    Rename { column: &'a str, to: &'a str },
    /// A new last column, empty in every row.
    Add { column: &'a str },
    /// The column goes.
    Drop { column: &'a str },
    /// So many copies of the first rows, told apart by their first column.
    Insert { rows: usize },
    /// The column holds this in the first rows.
    Update { column: &'a str, value: &'a str, rows: usize },
}

/// The file's text after the edit. The first line is the header.
pub(super) fn edit(text: &str, edit: &Edit<'_>) -> anyhow::Result<String> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut lines: Vec<Vec<String>> = Vec::new();
    for line in reader.records() {
        lines.push(line?.iter().map(str::to_owned).collect());
    }
    let header = lines.first().cloned().context("it has no header")?;
    let find = |name: &str| {
        let known = || format!("it has no column {name:?}; it has {}", header.join(", "));
        header.iter().position(|column| column == name).with_context(known)
    };
    let free = |name: &str| match header.iter().any(|column| column == name) {
        true => bail!("it has a column {name:?} already"),
        false => Ok(()),
    };
    match edit {
        Edit::Rename { column, to } => {
            free(to)?;
            lines[0][find(column)?] = (*to).to_owned();
        }
        Edit::Add { column } => {
            free(column)?;
            lines.iter_mut().for_each(|line| line.resize(header.len() + 1, String::new()));
            lines[0][header.len()] = (*column).to_owned();
        }
        Edit::Drop { column } => {
            let at = find(column)?;
            lines.iter_mut().filter(|line| at < line.len()).for_each(|line| drop(line.remove(at)));
        }
        Edit::Insert { rows } => {
            let first: Vec<_> = lines[1..].to_vec();
            let count = first.len();
            for (n, mut line) in first.into_iter().cycle().take(*rows).enumerate() {
                line[0] = format!("new{}.{}", count + n + 1, line[0]);
                lines.push(line);
            }
        }
        Edit::Update { column, value, rows } => {
            let at = find(column)?;
            let hit = lines[1..].iter_mut().take(*rows).filter(|line| at < line.len());
            hit.for_each(|line| line[at] = (*value).to_owned());
        }
    }
    let mut writer = WriterBuilder::new().flexible(true).from_writer(Vec::new());
    lines.iter().try_for_each(|line| writer.write_record(line))?;
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    String::from_utf8(bytes).context("it is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "Email,Name\na@example.com,\"Ames, A\"\nb@example.com,Bo\n";

    #[test]
    fn edits_leave_the_rest_as_it_was() {
        let edits = [
            Edit::Rename { column: "Name", to: "Full Name" },
            Edit::Add { column: "City" },
            Edit::Drop { column: "Name" },
            Edit::Insert { rows: 3 },
            Edit::Update { column: "Name", value: "x", rows: 1 },
        ];
        insta::assert_snapshot!(edits.map(|e| edit(FILE, &e).unwrap()).join("\n"), @r#"
        Email,Full Name
        a@example.com,"Ames, A"
        b@example.com,Bo

        Email,Name,City
        a@example.com,"Ames, A",
        b@example.com,Bo,

        Email
        a@example.com
        b@example.com

        Email,Name
        a@example.com,"Ames, A"
        b@example.com,Bo
        new3.a@example.com,"Ames, A"
        new4.b@example.com,Bo
        new5.a@example.com,"Ames, A"

        Email,Name
        a@example.com,x
        b@example.com,Bo
        "#);
    }

    #[test]
    fn a_column_that_is_not_there_or_there_already_is_refused() {
        let why = |e: Edit<'_>| edit(FILE, &e).unwrap_err().to_string();
        insta::assert_snapshot!(why(Edit::Drop { column: "nme" }), @r#"it has no column "nme"; it has Email, Name"#);
        insta::assert_snapshot!(why(Edit::Add { column: "Name" }), @r#"it has a column "Name" already"#);
    }
}
