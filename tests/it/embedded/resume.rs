//! Cut-off syncs: no row is lost and none is doubled, wherever it stops.

use aam::engine::embedded::EmbeddedEngine;
use aam::ports::{EngineRead, EngineWrite, JobState};
use aam::spec::StreamMode::{self, FullRefreshAppend, FullRefreshOverwrite, IncrementalAppend, IncrementalAppendDedup};

use super::harness::{Bench, lines, run};
use crate::support::world::until;

/// About 12 MB: several batches.
const BIG: &str = "CREATE TABLE big (id int PRIMARY KEY, updated_at timestamptz NOT NULL, t text);
    INSERT INTO big SELECT g, '2024-01-01'::timestamptz + (g / 7) * interval '1 s', repeat(md5(g::text), 6)
    FROM generate_series(1, 60000) g";

async fn cut_and_continue(mode: StreamMode, keyed: bool) {
    let mut bench = Bench::new().await;
    run(&bench.source, BIG).await;
    if !keyed {
        run(&bench.source, "ALTER TABLE big DROP CONSTRAINT big_pkey").await;
    }
    let id = bench.configure(vec![bench.stream("public/big", mode).await]).await;
    let order = bench.order(&id);
    let job = bench.engine.start_sync(&order).await.unwrap();
    loop {
        let now = bench.engine.jobs(&id, 1).await.unwrap().remove(0);
        if now.rows > 0 {
            assert_eq!(now.state, JobState::Running, "it was too quick to be cut off");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    bench.engine.shutdown().await;
    let cut = bench.engine.jobs(&id, 1).await.unwrap().remove(0);
    assert_eq!(cut.state, JobState::Running, "cut short, to be gone on with");
    bench.engine = EmbeddedEngine::open(bench.registry.clone(), aam::connector::Programs::default()).await.unwrap();
    let again = bench.engine.start_sync(&order).await.unwrap();
    assert_eq!((again.id, again.attempts), (job.id, 2));
    let ended = bench.ended(&id).await;
    assert_eq!((ended.state, ended.error, ended.rows), (JobState::Succeeded, None, 60000));
    assert_eq!(bench.engine.start_sync(&order).await.unwrap().state, JobState::Succeeded, "the same ask is done");
    let sums = "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || sum(id) || ' ' || md5(string_agg(t, '' ORDER BY id)) FROM big";
    assert_eq!(lines(&bench.landing, sums).await, lines(&bench.source, sums).await);
    let ids = "SELECT count(DISTINCT _airbyte_raw_id)::text FROM big";
    assert_eq!(lines(&bench.landing, ids).await, "60000");
    assert_eq!(bench.landed("public/big", 7000).await.len(), 60000);
}

#[tokio::test]
async fn a_replacing_sync_goes_on_where_it_was_cut() {
    cut_and_continue(FullRefreshOverwrite, true).await;
}

#[tokio::test]
async fn an_appending_full_sync_without_a_key_begins_anew_without_doubling() {
    cut_and_continue(FullRefreshAppend, false).await;
}

#[tokio::test]
async fn an_incremental_sync_goes_on_amid_ties() {
    cut_and_continue(IncrementalAppend, true).await;
}

#[tokio::test]
async fn a_dedup_sync_goes_on() {
    cut_and_continue(IncrementalAppendDedup, true).await;
}

#[tokio::test]
async fn a_cancelled_job_keeps_what_it_committed_and_the_next_goes_on() {
    let bench = Bench::new().await;
    run(&bench.source, BIG).await;
    let id = bench.configure(vec![bench.stream("public/big", IncrementalAppend).await]).await;
    let job = bench.engine.start_sync(&bench.order(&id)).await.unwrap();
    let other = bench.engine.start_sync(&bench.order(&id)).await.unwrap_err();
    assert!(other.why.contains("is running"), "{other}");
    bench.engine.cancel(&id, job.id).await.unwrap();
    let ended = bench.ended(&id).await;
    assert_eq!((ended.id, ended.state), (job.id, JobState::Cancelled));
    let rest = bench.sync_ok(&id).await;
    assert_eq!(ended.rows + rest.rows, 60000);
    assert_eq!(lines(&bench.landing, "SELECT count(DISTINCT id)::text FROM big").await, "60000");
}

#[tokio::test]
async fn a_whole_copy_that_was_not_finished_goes_when_the_next_one_comes() {
    let bench = Bench::new().await;
    run(&bench.source, BIG).await;
    let id = bench.configure(vec![bench.stream("public/big", FullRefreshAppend).await]).await;
    let copies = "SELECT count(*) || ' ' || count(DISTINCT id) FROM big";
    bench.sync_ok(&id).await;
    let job = bench.engine.start_sync(&bench.order(&id)).await.unwrap();
    while bench.engine.jobs(&id, 1).await.unwrap()[0].rows == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    bench.engine.cancel(&id, job.id).await.unwrap();
    let cut = bench.ended(&id).await;
    assert_eq!(cut.state, JobState::Cancelled);
    assert_eq!(lines(&bench.landing, copies).await, format!("{} 60000", 60000 + cut.rows));
    assert!(cut.rows > 0);
    bench.sync_ok(&id).await;
    assert_eq!(lines(&bench.landing, copies).await, "120000 60000");
    // What an unfinished copy left is no start for another way to read.
    run(&bench.landing, "UPDATE airbyte_internal.aam_engine_state SET finished = false, state = '{\"aam_copy\": {}}'")
        .await;
    bench.configure(vec![bench.stream("public/big", IncrementalAppend).await]).await;
    bench.sync_ok(&id).await;
    assert_eq!(lines(&bench.landing, copies).await, "180000 60000");
}

#[tokio::test]
async fn held_streams_wait_and_a_failing_one_does_not_stop_the_others() {
    let bench = Bench::new().await;
    run(&bench.source, "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int); CREATE TABLE c (id int)").await;
    run(&bench.source, "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)").await;
    let mut streams = Vec::new();
    for name in ["public/a", "public/b", "public/c"] {
        streams.push(bench.stream(name, FullRefreshOverwrite).await);
    }
    let id = bench.configure(streams).await;
    run(&bench.source, "DROP TABLE a").await;
    let mut order = bench.order(&id);
    order.held = ["public/b".parse().unwrap()].into();
    bench.engine.start_sync(&order).await.unwrap();
    let job = bench.ended(&id).await;
    assert_eq!(job.state, JobState::Failed);
    let shown: Vec<String> = job.streams.iter().map(|(name, rows)| format!("{name} {rows}")).collect();
    assert_eq!(shown, ["public/a 0", "public/c 1"]);
}

#[tokio::test]
async fn one_that_slept_in_a_stream_begins_no_other_stream_of_a_job_that_is_anothers() {
    let bench = Bench::new().await;
    run(&bench.source, "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)").await;
    let streams =
        [bench.stream("public/a", FullRefreshAppend).await, bench.stream("public/b", FullRefreshAppend).await];
    let id = bench.configure(streams.to_vec()).await;
    let mut slow = bench.source.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE a IN ACCESS EXCLUSIVE MODE").execute(&mut *slow).await.unwrap();
    bench.engine.start_sync(&bench.order(&id)).await.unwrap();
    let is_there = "SELECT count(*)::text FROM pg_tables WHERE tablename = ";
    let first = format!("{is_there}'a'");
    until("the first is prepared", 60, async || (lines(&bench.landing, &first).await == "1").then_some(())).await;
    let taken = "UPDATE aam_engine.jobs SET attempts = attempts + 1, alive_until = now() + interval '1 h'";
    run(&bench.registry, taken).await;
    slow.rollback().await.unwrap();
    let sessions = "SELECT count(*)::text FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'aam sync %'";
    until("it lands nothing", 60, async || (lines(&bench.landing, sessions).await == "0").then_some(())).await;
    bench.engine.shutdown().await;
    assert_eq!(lines(&bench.landing, &format!("{is_there}'b'")).await, "0");
    let jobs = "SELECT concat_ws(' ', attempts, state) FROM aam_engine.jobs";
    assert_eq!(lines(&bench.registry, jobs).await, "2 running", "it is the other's to end");
}
