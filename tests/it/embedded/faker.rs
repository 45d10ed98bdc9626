//! A published connector, `source-faker`, run as a program. Where it is, `AAM_SOURCE_FAKER` says; `scripts/test` installs it.

use aam::engine::embedded::EmbeddedEngine;
use aam::ports::{EngineRead, EngineWrite, JobState};
use aam::spec::StreamMode::{self, FullRefreshOverwrite, IncrementalAppend, IncrementalAppendDedup};
use serde_json::json;

use super::harness::{Bench, allowed, handle, lines};
use super::published::program;

async fn faker(count: u32, always_updated: bool) -> Option<(Bench, String)> {
    let program = program("AAM_SOURCE_FAKER", "source-faker")?;
    let settings = json!({"count": count, "seed": 42, "records_per_slice": 1000, "always_updated": always_updated, "parallelism": 1});
    let source = handle("faker", "airbyte", json!({"command": [program], "config": settings}));
    let mut bench = Bench::reading(source).await;
    bench.engine = EmbeddedEngine::open(bench.registry.clone(), allowed(vec![program.clone()])).await.unwrap();
    Some((bench, program))
}

async fn count(bench: &Bench, table: &str) -> String {
    lines(&bench.landing, &format!("SELECT count(*) || ' ' || count(DISTINCT id) FROM {table}")).await
}

#[tokio::test]
async fn it_is_discovered_and_read_whole_and_then_only_what_is_new() {
    let Some((bench, _)) = faker(50, false).await else { return };
    bench.engine.check(&bench.source_handle).await.unwrap();
    let catalog = bench.engine.discover(&bench.source_handle).await.unwrap().catalog;
    let streams: Vec<String> =
        catalog.streams.iter().map(|(name, s)| format!("{name} key {:?} cursor {}", s.key, s.cursor)).collect();
    assert_eq!(streams.len(), 3, "{streams:?}");
    assert!(streams.iter().all(|s| s.contains("source_defined(updated_at)")), "{streams:?}");
    let stream = async |name: &str, mode: StreamMode| bench.stream(name, mode).await;
    let id = bench
        .configure(vec![
            stream("products", FullRefreshOverwrite).await,
            stream("purchases", IncrementalAppend).await,
            stream("users", IncrementalAppendDedup).await,
        ])
        .await;
    let first = bench.sync_ok(&id).await;
    let users = count(&bench, "users").await;
    assert_eq!(users, "50 50");
    let purchases = count(&bench, "purchases").await;
    assert!(first.rows > 100, "{first:?}");
    let again = bench.sync_ok(&id).await;
    assert_eq!((count(&bench, "users").await, count(&bench, "purchases").await), (users, purchases), "nothing is new");
    assert_eq!((again.rows, count(&bench, "products").await.as_str()), (50, "50 50"), "read whole each time");
}

#[tokio::test]
async fn a_read_that_is_cut_off_is_taken_up_at_its_last_state() {
    let Some((mut bench, program)) = faker(30_000, true).await else { return };
    let id = bench.configure(vec![bench.stream("users", IncrementalAppendDedup).await]).await;
    let order = bench.order(&id);
    bench.engine.start_sync(&order).await.unwrap();
    let cut = loop {
        let job = bench.engine.jobs(&id, 1).await.unwrap().remove(0);
        if job.rows > 0 || job.state != JobState::Running {
            break job;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!(cut.state, JobState::Running, "it was too quick to be cut off: {cut:?}");
    bench.engine.shutdown().await;
    bench.engine = EmbeddedEngine::open(bench.registry.clone(), allowed(vec![program])).await.unwrap();
    bench.engine.start_sync(&order).await.unwrap();
    let ended = bench.ended(&id).await;
    assert_eq!((ended.state, ended.error, ended.attempts), (JobState::Succeeded, None, 2));
    assert_eq!(count(&bench, "users").await, "30000 30000");
}
