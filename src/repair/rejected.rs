//! `rejected.yaml`: what was rejected, by whom and why, so that a rebuilt registry does not ask again.

use crate::model::{CommitDraft, ConnectionRef, FileEdit, NameError, RepoPath};
use crate::spec::Rejection;

use super::yaml;

/// How the file begins.
const HEADING: &str = "# Written by aam.";

/// The commit of a rejection; `None` if all of its changes are rejected already. Fails if the file is no list of rejections.
pub fn reject(
    connection: &ConnectionRef,
    existing: Option<&str>,
    rejection: &Rejection,
) -> Result<Option<CommitDraft>, String> {
    Ok(reject_edit(connection, existing, rejection)?.map(|edit| CommitDraft {
        subject: format!("drift {connection}: reject {}", rejection.fingerprint.short()),
        body: String::new(),
        trailers: vec![
            ("Aam-Connection".into(), connection.to_string()),
            ("Aam-Drift".into(), rejection.fingerprint.to_string()),
            ("Aam-Rejected-By".into(), rejection.by.clone()),
        ],
        edits: vec![edit],
    }))
}

/// The edit that notes a rejection at the end of `rejected.yaml`.
fn reject_edit(
    connection: &ConnectionRef,
    existing: Option<&str>,
    rejection: &Rejection,
) -> Result<Option<FileEdit>, String> {
    let path = rejected_path(connection).map_err(|e| e.to_string())?;
    let before = read(existing.unwrap_or_default()).map_err(|why| format!("{path} is no list of rejections: {why}"))?;
    if rejection.changes.iter().all(|change| before.iter().any(|old| old.changes.contains(change))) {
        return Ok(None);
    }
    let mut text = match existing {
        Some(text) if !before.is_empty() => text.to_owned(),
        Some(text) => text.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect(),
        None => format!("{HEADING} Drifts of {connection} that were rejected.\n"),
    };
    let ending = yaml::line_ending(&text);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(ending);
    }
    // Within the indentation of the items before it.
    let indent = text.lines().find_map(|line| line.find("- ").filter(|at| line[..*at].trim().is_empty())).unwrap_or(0);
    let pad = " ".repeat(indent);
    let Rejection { fingerprint, by, at, reason, changes } = rejection;
    for (start, key, value) in
        [("- ", "fingerprint", fingerprint.as_str()), ("  ", "by", by), ("  ", "at", at), ("  ", "reason", reason)]
    {
        text.push_str(&format!("{pad}{start}{key}: {}{ending}", yaml::double(value)));
    }
    text.push_str(&format!("{pad}  changes:{ending}"));
    for change in changes {
        text.push_str(&format!("{pad}    - {}{ending}", yaml::double(change)));
    }
    let after = read(&text)?;
    if after.len() != before.len() + 1 || after[..before.len()] != before[..] || after.last() != Some(rejection) {
        return Err(format!("{path} is not laid out as a list, one item below the other"));
    }
    Ok(Some(FileEdit { path, before: existing.map(str::to_owned), after: Some(text) }))
}

/// The edit that takes changes out of `rejected.yaml` because they are approved after all; a rejection that is left without
/// any goes whole. `None` if the file names none of them. Fails if the file is not laid out so that only they can go.
pub fn overrule(
    connection: &ConnectionRef,
    existing: Option<&str>,
    approved: &[String],
) -> Result<Option<FileEdit>, String> {
    let Some(text) = existing else { return Ok(None) };
    let path = rejected_path(connection).map_err(|e| e.to_string())?;
    let before = read(text).map_err(|why| format!("{path} is no list of rejections: {why}"))?;
    let left: Vec<Rejection> = before.iter().filter_map(|rejection| without(rejection, approved)).collect();
    if left == before {
        return Ok(None);
    }
    let after = without_lines(text, approved).filter(|after| read(after).as_ref() == Ok(&left));
    let after = after.ok_or_else(|| {
        format!("{path} is not laid out as aam writes it: what is approved now is to be taken out of it by hand")
    })?;
    let is_heading = |line: &str| line.trim().is_empty() || line.starts_with(HEADING);
    let after = if after.lines().all(is_heading) { None } else { Some(after) };
    Ok(Some(FileEdit { path, before: existing.map(str::to_owned), after }))
}

/// What stands of a rejection without these changes.
fn without(rejection: &Rejection, approved: &[String]) -> Option<Rejection> {
    let mut left = rejection.clone();
    left.changes.retain(|change| !approved.contains(change));
    (left.changes == rejection.changes || !left.changes.is_empty()).then_some(left)
}

/// The text without the lines of these changes, and without the items that are left without any; comments stay.
fn without_lines(text: &str, approved: &[String]) -> Option<String> {
    let indent = |line: &str| line.find("- ").filter(|at| line[..*at].trim().is_empty());
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let items = lines.iter().find_map(|line| indent(line))?;
    let mut rest = &lines[..];
    let mut out = String::new();
    while !rest.is_empty() {
        let begins = |line: &&str| indent(line) == Some(items);
        let end = rest[1..].iter().position(begins).map_or(rest.len(), |at| at + 1);
        let (item, after) = rest.split_at(end);
        rest = after;
        let rejection = if begins(&item[0]) { read(&item.concat()).ok()?.pop() } else { None };
        let stays = rejection.as_ref().is_none_or(|rejection| without(rejection, approved).is_some());
        for (i, line) in item.iter().enumerate() {
            let comment = line.trim().is_empty() || line.trim_start().starts_with('#');
            let change = || indent(line).and_then(|at| read_change(&line[at + 2..]));
            let goes = rejection.is_some() && i > 0 && change().is_some_and(|change| approved.contains(&change));
            if comment || (stays && !goes) {
                out.push_str(line);
            }
        }
    }
    Some(out)
}

fn read_change(scalar: &str) -> Option<String> {
    serde_yaml::from_str(scalar).ok()
}

/// The rejections that such a file holds; none where it cannot be read.
pub fn rejections(text: &str) -> Vec<Rejection> {
    read(text).unwrap_or_default()
}

fn read(text: &str) -> Result<Vec<Rejection>, String> {
    if text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
        return Ok(Vec::new());
    }
    let options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
    serde_yaml::from_str_with_options(text, options).map_err(|e| e.to_string())
}

/// `drift/<tenant>/<connection>/rejected.yaml`
pub fn rejected_path(connection: &ConnectionRef) -> Result<RepoPath, NameError> {
    RepoPath::new(&format!("drift/{}/{}/rejected.yaml", connection.tenant, connection.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(digit: &str, reason: &str) -> Rejection {
        Rejection {
            fingerprint: format!("s1:{}", digit.repeat(64)).parse().unwrap(),
            by: "Ada <ada@example.org>".to_owned(),
            at: "2026-01-02T03:04:05Z".to_owned(),
            reason: reason.to_owned(),
            changes: vec![format!("- public/t.{digit}: string"), "~ public/t.\"x: y\" -> z: date".to_owned()],
        }
    }

    #[test]
    fn rejections_are_added_once_and_safely_quoted() {
        let crm = "crm".parse().unwrap();
        let first = reject_edit(&crm, None, &rejection("a", "no: # not \"this\"\n- x")).unwrap().unwrap();
        let text = first.after.unwrap();
        let second = reject_edit(&crm, Some(&text), &rejection("b", "yes")).unwrap().unwrap();
        let text = second.after.unwrap();
        insta::assert_snapshot!(text, @r#"
        # Written by aam. Drifts of crm that were rejected.
        - fingerprint: "s1:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          by: "Ada <ada@example.org>"
          at: "2026-01-02T03:04:05Z"
          reason: "no: # not \"this\"\u000a- x"
          changes:
            - "- public/t.a: string"
            - "~ public/t.\"x: y\" -> z: date"
        - fingerprint: "s1:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
          by: "Ada <ada@example.org>"
          at: "2026-01-02T03:04:05Z"
          reason: "yes"
          changes:
            - "- public/t.b: string"
            - "~ public/t.\"x: y\" -> z: date"
        "#);
        let approved = |text: &str, changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
            overrule(&crm, Some(text), &changes)
        };
        assert_eq!(approved(&text, &["- public/t.c: string"]).unwrap(), None);
        let mine = text.replace("- fingerprint: \"s1:bb", "# mine\n- fingerprint: \"s1:bb");
        let left = approved(&mine, &["~ public/t.\"x: y\" -> z: date"]).unwrap().unwrap().after.unwrap();
        let left = approved(&left, &["- public/t.a: string"]).unwrap().unwrap().after.unwrap();
        insta::assert_snapshot!(left, @r#"
        # Written by aam. Drifts of crm that were rejected.
        # mine
        - fingerprint: "s1:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
          by: "Ada <ada@example.org>"
          at: "2026-01-02T03:04:05Z"
          reason: "yes"
          changes:
            - "- public/t.b: string"
        "#);
        assert_eq!(
            approved(&left, &["- public/t.b: string"]).unwrap().unwrap().after.unwrap(),
            "# Written by aam. Drifts of crm that were rejected.\n# mine\n"
        );
        let all = ["- public/t.a: string", "- public/t.b: string", "~ public/t.\"x: y\" -> z: date"];
        assert_eq!(approved(&text, &all).unwrap().unwrap().after, None);
        let flow = text.replace(":\n    - \"- public/t.a: string\"\n    -", ": [\"- public/t.a: string\"]\n#");
        assert!(approved(&flow, &all[1..]).is_ok() && approved(&flow, &all[..1]).is_ok());
        let flow = flow.replace("[\"- public/t.a: string\"]", "[\"- public/t.a: string\", x]");
        assert!(approved(&flow, &all[..1]).unwrap_err().contains("by hand"));
        assert_eq!(reject_edit(&crm, Some(&text), &rejection("a", "again")).unwrap(), None);
        assert!(reject_edit(&crm, Some("a: 1\n"), &rejection("a", "x")).is_err());
        assert!(reject_edit(&crm, Some("[]\n"), &rejection("a", "x")).unwrap().is_some());
    }
}
