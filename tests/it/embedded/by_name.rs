//! What a person asks for by a stream's name: it is read anew, or what landed of it is deleted.

use std::collections::BTreeSet;

use aam::model::StreamName;
use aam::ports::{ClearOrder, ConfiguredStream, EngineWrite, SyncOrder};
use aam::spec::StreamMode::IncrementalAppendDedup;

use super::harness::{Bench, lines, run};

const LANDED: &str = "SELECT id || ' ' || coalesce(note, '-') FROM public.accounts ORDER BY id";

/// Accounts by cursor, three of them landed; an edit that no cursor shows.
async fn landed() -> (Bench, aam::ports::EngineId, StreamName) {
    let bench = Bench::new().await;
    run(
        &bench.source,
        "CREATE TABLE accounts (id int PRIMARY KEY, note text, at timestamptz);
         INSERT INTO accounts SELECT n, 'n' || n, '2026-01-01'::timestamptz + n * interval '1 day' FROM generate_series(1, 3) n",
    )
    .await;
    let stream = bench.stream("public/accounts", IncrementalAppendDedup).await;
    let stream = ConfiguredStream { cursor: Some("at".parse().unwrap()), ..stream };
    let id = bench.configure(vec![stream.clone()]).await;
    bench.sync_ok(&id).await;
    run(&bench.source, "UPDATE accounts SET note = 'unseen' WHERE id = 1").await;
    (bench, id, stream.name)
}

#[tokio::test]
async fn a_refresh_reads_from_the_beginning_once() {
    let (bench, id, name) = landed().await;
    bench.sync_ok(&id).await;
    assert_eq!(lines(&bench.landing, LANDED).await, "1 n1\n2 n2\n3 n3", "its cursor did not move");
    let order = SyncOrder { refresh: BTreeSet::from([name]), ..bench.order(&id) };
    bench.engine.start_sync(&order).await.unwrap();
    assert_eq!(bench.ended(&id).await.rows, 3);
    assert_eq!(lines(&bench.landing, LANDED).await, "1 unseen\n2 n2\n3 n3");
    assert_eq!(bench.sync_ok(&id).await.rows, 0, "the next one goes on from there");
}

#[tokio::test]
async fn what_is_cleared_is_gone_and_comes_back_with_the_next_sync() {
    let (bench, id, name) = landed().await;
    let order = ClearOrder {
        engine_id: id.clone(),
        destination: bench.destination_handle.clone(),
        carried: vec![name.clone()],
        streams: BTreeSet::from([name]),
    };
    assert_eq!(bench.engine.clear(&order).await.unwrap(), None);
    assert_eq!(lines(&bench.landing, "SELECT to_regclass('public.accounts')::text").await, "NULL");
    bench.engine.clear(&order).await.unwrap();
    assert_eq!(bench.sync_ok(&id).await.rows, 3);
    assert_eq!(lines(&bench.landing, LANDED).await, "1 unseen\n2 n2\n3 n3");
}
