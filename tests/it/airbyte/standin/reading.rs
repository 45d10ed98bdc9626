//! In which order our client reads an answer, and what of it it passes over.

use aam::engine::airbyte::api::RunError;
use aam::engine::airbyte::{AirbyteEngine, Place};
use aam::ports::{EngineRead as _, JobState};
use serde_json::json;

use super::*;
use crate::standin::faults::{Fault, When};

/// The next answers of this call are this.
fn answers(bench: &Bench, call: &str, body: &Value) {
    bench.standin.script(call, When::Always, Fault::Body(body.to_string()));
}

/// How a run of a connector went that broke.
fn broken() -> Value {
    json!({"succeeded": false, "failureReason": {"externalMessage": "the pod was evicted"}})
}

/// Why the connector said no.
fn why<T: std::fmt::Debug>(outcome: Result<T, RunError>) -> String {
    match outcome {
        Err(RunError::Connector(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_source_without_a_status_is_there_if_the_list_has_it() {
    let bench = Bench::new("1.8").await;
    let mut source = bench.post("/v1/sources/get", json!({"sourceId": bench.source})).await.unwrap();
    source.as_object_mut().unwrap().remove("status");
    answers(&bench, "POST /v1/sources/get", &source);
    assert!(bench.api.actor(SOURCE, bench.source).await.unwrap().is_some());
    bench
        .standin
        .edit(|s| s.delete_actor(crate::standin::state::Side::Source, bench.source).map_err(|_| "gone").unwrap());
    assert!(bench.api.actor(SOURCE, bench.source).await.unwrap().is_none());
    bench.finish();
}

#[tokio::test]
async fn of_a_discover_job_info_is_read_first() {
    let bench = Bench::new("1.6").await;
    let catalog = json!({"streams": [{"stream": users(), "config": {}}]});
    answers(&bench, "POST /v1/sources/discover_schema", &json!({"jobInfo": broken(), "catalog": catalog}));
    assert_eq!(why(bench.api.discover(bench.source).await), "the pod was evicted");
    bench.finish();
}

#[tokio::test]
async fn of_a_check_job_info_is_read_first() {
    let bench = Bench::new("1.8").await;
    let answer = json!({"status": "succeeded", "jobInfo": broken()});
    answers(&bench, "POST /v1/sources/check_connection", &answer);
    assert_eq!(why(bench.api.check(SOURCE, bench.source).await), "the pod was evicted");
    bench.finish();
}

#[tokio::test]
async fn a_discover_without_job_info_is_read_all_the_same() {
    let bench = Bench::new("1.6").await;
    let catalog = json!({"streams": [{"stream": users(), "config": {}}]});
    answers(&bench, "POST /v1/sources/discover_schema", &json!({"catalogId": Uuid::nil(), "catalog": catalog}));
    assert_eq!(bench.api.discover(bench.source).await.unwrap().catalog.streams.len(), 1);
    bench.finish();
}

#[tokio::test]
async fn unknown_keys_are_ignored() {
    let bench = Bench::new("1.8").await;
    let connection = bench.connection("full_refresh", "append").await;
    bench.api.sync(connection).await.unwrap();
    bench.ended(connection).await;
    for method in ["GET", "POST"] {
        bench.standin.script(&format!("{method} *"), When::Always, Fault::Newer(&[]));
    }
    let api = client(&bench.standin.url, Some(("client", "secret")));
    assert_eq!(api.workspaces().await.unwrap().len(), 1);
    assert!(!api.definitions(SOURCE, bench.workspace).await.unwrap().is_empty());
    assert_eq!(api.actors(SOURCE, bench.workspace).await.unwrap()[0].known.id, bench.source);
    api.check(SOURCE, bench.source).await.unwrap();
    assert_eq!(api.discover(bench.source).await.unwrap().catalog.streams.len(), 1);
    assert_eq!(api.connections(bench.workspace).await.unwrap()[0].known.connection_id, connection);
    assert_eq!(api.jobs(connection, 1).await.unwrap()[0].status, "succeeded");
    bench.finish();
}

#[tokio::test]
async fn unknown_words_are_others() {
    let bench = Bench::new("2.1").await;
    let connection = bench.connection("full_refresh", "append").await;
    bench.api.sync(connection).await.unwrap();
    bench.ended(connection).await;
    let place = Place { workspaces: [].into(), tag: String::new() };
    let engine = AirbyteEngine::new(access(Duration::from_secs(20), &bench.standin.url, None), place).unwrap();
    let id = aam::ports::EngineId(connection.to_string());
    bench.standin.edit(|s| s.credentials = None);
    // a job that says neither how it ended nor that it did runs on
    for status in ["queued", "incomplete", "meditating"] {
        bench.standin.edit(|s| s.jobs[0].status = status);
        assert_eq!(engine.jobs(&id, 1).await.unwrap()[0].state, JobState::Running, "{status}");
    }
    for status in ["locked", "hibernating"] {
        bench.standin.edit(|s| s.connection_mut(connection).unwrap().status = status.into());
        let stopped = engine.connection(&id).await.unwrap().unwrap().stopped.unwrap();
        assert_eq!(stopped, format!("its status in Airbyte is {status}"));
    }
    // `meditating` and `hibernating` are words of no version
    assert_eq!(bench.standin.has_contract(), !bench.standin.violations().is_empty());
    bench.finish();
}
