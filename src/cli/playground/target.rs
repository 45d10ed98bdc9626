//! What a mutation aims at: a table or column of the sample CRM, or a file or column of the exports.

use std::str::FromStr;

use crate::model::RepoPath;

/// `accounts`, `accounts.website`, `exports/contacts.csv`, `exports/contacts.csv:Phone`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A table of the CRM, and a column of it.
    Table(String, Option<String>),
    /// A CSV file of the exports, and a column of it.
    File(RepoPath, Option<String>),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("exports/") {
            let (file, column) = match name.split_once(".csv:") {
                Some((stem, column)) => (format!("{stem}.csv"), Some(filled(column, text)?)),
                None => (name.to_owned(), None),
            };
            if file.contains('/') || !file.ends_with(".csv") || file.starts_with('.') {
                return Err(format!("{text:?} is no CSV file of the exports, like exports/contacts.csv:Phone"));
            }
            let path = RepoPath::new(&format!("exports/{file}")).map_err(|error| error.to_string())?;
            return Ok(Self::File(path, column));
        }
        let (table, column) = match text.split_once('.') {
            Some((table, column)) => (table, Some(filled(column, text)?)),
            None => (text, None),
        };
        Ok(Self::Table(filled(table, text)?, column))
    }
}

fn filled(name: &str, whole: &str) -> Result<String, String> {
    if name.is_empty() || name.contains('\0') {
        return Err(format!("{whole:?} names nothing: write TABLE.COLUMN or exports/FILE.csv:COLUMN"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_files_are_told_apart() {
        let say = |text: &str| match text.parse() {
            Ok(Target::Table(table, column)) => format!("table {table}:{}", column.unwrap_or_default()),
            Ok(Target::File(file, column)) => format!("file {file}:{}", column.unwrap_or_default()),
            Err(why) => why,
        };
        let texts =
            ["accounts", "accounts.weird.name", "exports/contacts.csv", "exports/contacts.csv:First Name", "accounts."];
        insta::assert_snapshot!(texts.map(say).join("\n"), @r#"
        table accounts:
        table accounts:weird.name
        file exports/contacts.csv:
        file exports/contacts.csv:First Name
        "accounts." names nothing: write TABLE.COLUMN or exports/FILE.csv:COLUMN
        "#);
        for text in ["exports/../config/aam.csv:x", "exports/tickets.ndjson", "exports/.csv:x", "exports/a/b.csv:x", ""]
        {
            assert!(text.parse::<Target>().is_err(), "{text} was taken");
        }
    }
}
