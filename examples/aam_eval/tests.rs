//! Small runs of what the program measures at length, and the corpus where it is at hand.

use std::io::Write as _;
use std::path::PathBuf;

use super::{Fit, corpus, report, types, values};

#[test]
fn generated_drifts_are_repaired_rightly_or_not_at_all() {
    let figures = values::measure(7, 300, None).unwrap();
    assert_eq!(figures.wrong_automatic, 0, "{figures:?}");
    assert!(figures.precision() >= 0.99 && figures.recall() >= 0.95, "{}", figures.text());
    assert!(figures.automatic * 4 > figures.renames, "some must be automatic: {}", figures.text());
    let again = || values::measure(7, 40, None).unwrap();
    assert_eq!(again(), again(), "the same seed gives the same drifts");
}

#[test]
fn a_malformed_line_is_named() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let good = r#"{"project":"p","table":"t","before":{"a":"string"},"after":{"b":"text"},"changes":[],"renames_labelled":true}"#;
    writeln!(file, "{good}\n\n{{\"project\": 3}}").unwrap();
    let mut cases = corpus::read(file.path()).unwrap();
    let first = cases.next().unwrap().unwrap();
    assert_eq!((first.level().gone.len(), first.level().new.len()), (1, 1));
    let error = format!("{:#}", cases.next().unwrap().unwrap_err());
    assert!(error.starts_with(&format!("{}:3: ", file.path().display())), "{error}");
}

#[test]
fn words_of_projects_become_field_types() {
    let shown = [
        "CharField",
        "varchar(255)",
        "TextField",
        "bigint",
        "ForeignKey",
        "timestamp",
        "null|string",
        "point",
        "text[]",
    ]
    .map(|word| types::field_type(word).to_string());
    assert_eq!(
        shown,
        [
            "string",
            "string",
            "string<text>",
            "decimal(19,0)",
            "integer|string",
            "timestamp",
            "string",
            "object",
            "array"
        ]
    );
}

/// Real schema changes of projects that the parameters never saw.
#[test]
fn renames_of_other_projects_are_found() {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus"));
    let folder = std::env::var_os("AAM_CORPUS").map_or(beside, PathBuf::from);
    let file = folder.join("drift-dev.jsonl");
    if !file.is_file() {
        println!("SKIPPED: corpus: labelled schema changes are not at hand; set AAM_CORPUS to their folder");
        return;
    }
    if cfg!(debug_assertions) {
        println!(
            "SKIPPED: corpus: fitting takes minutes without optimization; `cargo test --release --example aam_eval` does it"
        );
        return;
    }
    let figures = report::measure(&file, Fit::Lopo).unwrap().json();
    let at = |pointer: &str| figures.pointer(pointer).and_then(serde_json::Value::as_f64).unwrap();
    assert!(at("/rename/f1") >= 0.86, "{figures}");
    assert!(at("/rename/precision_085") >= 0.93 && at("/rename/recall_085") >= 0.55, "{figures}");
    assert!(at("/rename_no_order/f1") >= 0.80, "{figures}");
    assert!(at("/ece") <= 0.04, "{figures}");
}
