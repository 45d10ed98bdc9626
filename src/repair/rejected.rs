//! `rejected.yaml`: what was rejected, by whom and why, so that a rebuilt registry does not ask again.

use crate::model::{CommitDraft, ConnectionRef, FileEdit, NameError, RepoPath};
use crate::spec::Rejection;

use super::yaml;

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
        None => format!("# Written by aam. Drifts of {connection} that were rejected.\n"),
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
        assert_eq!(reject_edit(&crm, Some(&text), &rejection("a", "again")).unwrap(), None);
        assert!(reject_edit(&crm, Some("a: 1\n"), &rejection("a", "x")).is_err());
        assert!(reject_edit(&crm, Some("[]\n"), &rejection("a", "x")).unwrap().is_some());
    }
}
