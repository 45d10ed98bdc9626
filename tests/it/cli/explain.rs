//! Every code that can be printed is explained, and nothing is explained that is never printed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{empty, run};

/// Every code that occurs as a whole string literal in a source file, but for the tables of explanations.
fn printed() -> BTreeSet<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = walkdir::WalkDir::new(&src).into_iter().map(Result::unwrap).filter(|entry| {
        let shown = entry.path().strip_prefix(&src).unwrap();
        shown.extension().is_some_and(|e| e == "rs")
            && !shown.starts_with("diag/codes")
            && shown != Path::new("mapping/codes.rs")
    });
    let mut found = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for (at, _) in text.match_indices("\"AAM-") {
            let literal = text[at + 1..].split('"').next().unwrap();
            let digits = literal.get(5..).unwrap_or_default();
            if digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()) {
                found.insert(literal.to_owned());
            }
        }
    }
    found
}

#[test]
fn every_code_is_explained_and_every_explanation_has_a_code() {
    let (code, out, _) = run(empty().path(), &["explain", "--format", "json"]);
    assert_eq!(code, 0);
    let list: Vec<BTreeMap<String, String>> = serde_json::from_str(&out).unwrap();
    let explained: BTreeSet<String> = list.iter().map(|row| row["code"].clone()).collect();
    assert_eq!(explained.len(), list.len(), "a code is explained twice");
    let printed = printed();
    assert!(printed.len() > 60, "the codes are not found in the sources any more: {printed:?}");
    let silent: Vec<_> = printed.difference(&explained).collect();
    assert!(silent.is_empty(), "printed, but `aam explain` does not know them: {silent:?}");
    let idle: Vec<_> = explained.difference(&printed).collect();
    assert!(idle.is_empty(), "explained, but nothing prints them: {idle:?}");
    for row in &list {
        let (code, title, text) = (&row["code"], &row["title"], &row["text"]);
        assert!(text.contains("Example:") || text.contains("Mend:"), "{code} has neither an example nor a mend");
        assert!(!title.is_empty() && !title.ends_with('.'), "{code} needs a title without a full stop");
        let (exit, one, _) = run(empty().path(), &["explain", code]);
        assert_eq!((exit, one.trim_end()), (0, format!("{code}: {title}\n\n{text}").trim_end()));
    }
}
