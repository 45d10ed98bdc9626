//! Exports of real systems that nobody here made, where they are at hand: each goes through the `file` connector twice.

use std::path::PathBuf;

use aam::ports::EngineRead;
use aam::spec::StreamMode::IncrementalAppend;
use serde_json::json;

use crate::embedded::harness::{Bench, handle, lines};

fn folder() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/samples"));
    let folder = std::env::var_os("AAM_SAMPLES").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

#[tokio::test]
async fn every_sample_lands_once_and_looks_the_same_each_time() {
    let Some(folder) = folder() else {
        eprintln!("SKIPPED: the folder of samples is not at hand; set AAM_SAMPLES to one");
        return;
    };
    let bench = Bench::reading(handle("samples", "file", json!({"path": folder.to_str().unwrap()}))).await;
    let first = bench.engine.discover(&bench.source_handle).await.unwrap().catalog;
    let second = bench.engine.discover(&bench.source_handle).await.unwrap().catalog;
    assert_eq!(first, second);
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert!(first.streams.len() >= 17, "{:?}", first.streams.keys().collect::<Vec<_>>());
    let mut streams = Vec::new();
    for name in first.streams.keys() {
        streams.push(bench.stream(&name.to_string(), IncrementalAppend).await);
    }
    let id = bench.configure(streams).await;
    let job = bench.sync_ok(&id).await;
    assert!(job.rows > 150, "{} rows", job.rows);
    assert_eq!(bench.sync_ok(&id).await.rows, 0, "nothing is doubled");
    for (name, rows) in &job.streams {
        let table = &name.name;
        let sql = format!(
            "SELECT count(*) || ' ' || count(*) FILTER (WHERE _airbyte_meta -> 'changes' <> '[]') FROM public.\"{table}\""
        );
        assert_eq!(lines(&bench.landing, &sql).await, format!("{rows} 0"), "{table}");
        assert_eq!(bench.landed(&name.to_string(), 7).await.len() as u64, *rows, "{table}");
    }
}
