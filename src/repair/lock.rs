//! The edit of a lock file: only the lines of changed fields, the version and the fingerprint differ.

use std::collections::{BTreeMap, BTreeSet};

use similar::{DiffOp, DiffTag, TextDiff};

use super::yaml;
use crate::model::Catalog;
use crate::spec::{Lock, lock};

/// A lock file's new text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockEdit {
    /// The lock it holds: next version, sealed.
    pub lock: Lock,
    /// The file's text.
    pub text: String,
    /// Whether a person's own lines (comments, another order) could not be kept because they touch changed lines.
    pub lost_annotations: bool,
}

/// Writes the next version of a lock with another catalog into its file's text. `name` is the connection's name as
/// [`lock::render`] takes it.
pub fn edit_lock(text: &str, old: &Lock, catalog: Catalog, name: &str) -> LockEdit {
    let new = lock::sealed(Lock { version: old.version + 1, catalog, ..old.clone() });
    let ending = yaml::line_ending(text);
    let actual = if ending == "\n" { text.to_owned() } else { text.replace("\r\n", "\n") };
    let (was, is) = (lock::render(old, name), lock::render(&new, name));
    let merged = if actual == was { Some(is.clone()) } else { merge(&was, &is, &actual) };
    let kept = merged.filter(|merged| says(merged, &new));
    let lost_annotations = kept.is_none();
    let result = kept.unwrap_or(is);
    let text = if ending == "\n" { result } else { result.replace('\n', ending) };
    LockEdit { lock: new, text, lost_annotations }
}

/// Carries the line changes from `was` to `is` over to `actual`, which a person made out of `was`; `None` if one of the
/// changed lines is not there as it was. Unlike a general three-way merge, neighbours of a person's lines may change.
fn merge(was: &str, is: &str, actual: &str) -> Option<String> {
    let places = TextDiff::from_lines(was, actual);
    let mut place_of = BTreeMap::new();
    for op in places.ops() {
        if let DiffOp::Equal { old_index, new_index, len } = *op {
            place_of.extend((0..len).map(|i| (old_index + i, new_index + i)));
        }
    }
    let is_lines: Vec<&str> = is.split_inclusive('\n').collect();
    let (mut dropped, mut inserted) = (BTreeSet::new(), BTreeMap::new());
    for op in TextDiff::from_lines(was, is).ops() {
        let (old, new) = (op.old_range(), op.new_range());
        if op.tag() == DiffTag::Equal {
            continue;
        }
        for line in old.clone() {
            dropped.insert(*place_of.get(&line)?);
        }
        let before = old.start.checked_sub(1).and_then(|line| place_of.get(&line)).map(|place| place + 1);
        let at = place_of.get(&old.start).copied().or(before)?;
        inserted.insert(at, is_lines[new].concat());
    }
    let mut out = String::new();
    for (at, line) in actual.split_inclusive('\n').enumerate() {
        out.push_str(inserted.get(&at).map_or("", String::as_str));
        out.push_str(if dropped.contains(&at) { "" } else { line });
    }
    out.push_str(inserted.get(&actual.split_inclusive('\n').count()).map_or("", String::as_str));
    Some(out)
}

/// Whether the text holds exactly that lock.
fn says(text: &str, lock: &Lock) -> bool {
    // A lock is read only with the fingerprint of its own body.
    let same =
        |read: Lock| (read.id, read.version, read.fingerprint) == (lock.id, lock.version, lock.fingerprint.clone());
    lock::read("the new lock", text).is_ok_and(same)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::drift::{apply, compare};
    use crate::model::ConnectionId;

    fn catalog(fields: &[(&str, &str)]) -> Catalog {
        let fields: serde_json::Map<String, Value> =
            fields.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect();
        let body = serde_json::json!({"public/accounts": {"key": ["id"], "modes": ["full_refresh"], "fields": fields}});
        Catalog::from_body(&body).unwrap()
    }

    fn locked(catalog: Catalog) -> Lock {
        let fingerprint = catalog.fingerprint();
        Lock { id: ConnectionId(uuid::Uuid::from_u128(7)), version: 3, fingerprint, catalog }
    }

    const BEFORE: &[(&str, &str)] =
        &[("id", "integer!"), ("name", "string"), ("annual_rev", "decimal(12,2)"), ("state", "string")];
    const AFTER: &[(&str, &str)] =
        &[("id", "integer!"), ("name", "string"), ("annual_revenue", "decimal(12,2)"), ("state", "string")];

    fn diff(before: &str, after: &str) -> String {
        let diff = TextDiff::from_lines(before, after).unified_diff().context_radius(0).to_string();
        let keep = |line: &&str| !line.starts_with("@@") && !line.contains("fingerprint");
        diff.lines().filter(keep).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_rename_changes_one_field_line_beside_version_and_fingerprint() {
        let (old, observed) = (locked(catalog(BEFORE)), catalog(AFTER));
        let changes = compare(&old.catalog, &observed);
        assert_eq!(changes.len(), 1, "{changes:#?}");
        let text = lock::render(&old, "crm");
        let edit = edit_lock(&text, &old, apply(&old.catalog, &changes, &observed), "crm");
        insta::assert_snapshot!(diff(&text, &edit.text), @r"
-version: 3
+version: 4
-      annual_rev: decimal(12,2)
+      annual_revenue: decimal(12,2)
");
        assert!(!edit.lost_annotations);
    }

    #[test]
    fn comments_and_line_endings_of_a_person_stay() {
        let (old, observed) = (locked(catalog(BEFORE)), catalog(AFTER));
        let rendered = lock::render(&old, "crm");
        let text = rendered.replace("      name: string\n", "      name: string\n      # asked for by sales\n");
        let text = text.replace("streams:\n", "streams: # all of them\n").replace('\n', "\r\n");
        let edit = edit_lock(&text, &old, observed, "crm");
        assert!(!edit.lost_annotations);
        insta::assert_snapshot!(diff(&text, &edit.text).replace('\r', "␍"), @r"
-version: 3
+version: 4
-      annual_rev: decimal(12,2)
+      annual_revenue: decimal(12,2)
");
    }

    #[test]
    fn an_annotation_on_the_changed_line_itself_is_reported_as_lost() {
        let (old, observed) = (locked(catalog(BEFORE)), catalog(AFTER));
        let text = lock::render(&old, "crm").replace("decimal(12,2)\n", "decimal(12,2) # in EUR\n");
        let edit = edit_lock(&text, &old, observed, "crm");
        assert!(edit.lost_annotations);
        assert!(says(&edit.text, &edit.lock));
    }

    #[test]
    fn what_no_lock_may_hold_is_not_carried_over() {
        let (old, observed) = (locked(catalog(BEFORE)), catalog(AFTER));
        let text = lock::render(&old, "crm").replace("version: 3\n", "version: 3\nowner: Pat\n");
        let edit = edit_lock(&text, &old, observed, "crm");
        assert!(edit.lost_annotations);
        assert_eq!(lock::read("crm.lock.yaml", &edit.text).unwrap().version, 4);
    }
}
