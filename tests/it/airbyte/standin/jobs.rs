//! Jobs: one at a time, tried again, listed in the order of each API.

use aam::engine::airbyte::error::Fate;
use serde_json::json;

use super::*;
use crate::standin::faults::{Fault, When};
use crate::standin::state::Failing;
use crate::support::world::until;

fn failing(why: &str) -> Failing {
    Failing { why: why.into(), after_rows: 0 }
}

#[tokio::test]
async fn starting_a_second_sync_is_409_and_the_first_can_be_attached_to() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| s.hold_jobs = true);
    let id = bench.connection("full_refresh", "overwrite").await;
    let first = bench.api.sync(id).await.unwrap();
    assert_eq!(first.status, "running", "the Config API answers when the workflow runs");
    let error = bench.api.sync(id).await.unwrap_err();
    assert_eq!((error.fate, error.code.as_str()), (Fate::Answered(409), "ValueConflictKnownException"));
    assert_eq!(bench.api.jobs(id, 1).await.unwrap()[0].id, first.id);
    bench.standin.edit(|s| s.hold_jobs = false);
    assert_eq!(bench.ended(id).await, "succeeded");
    bench.finish();
}

#[tokio::test]
async fn starting_an_inactive_connection_is_409_in_public_and_500_in_config() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "overwrite").await;
    bench.api.update_connection(json!({"connectionId": id, "status": "inactive"})).await.unwrap();
    assert_eq!(bench.api.sync(id).await.unwrap_err().fate, Fate::Answered(500));
    let start = json!({"connectionId": id, "jobType": "sync"});
    let error = bench.public(Method::POST, "/jobs", Some(start.clone())).await.unwrap_err();
    assert_eq!((error.fate, error.code.as_str()), (Fate::Answered(409), "state-conflict"));
    bench.api.delete(ObjectKind::Connection, id).await.unwrap();
    let error = bench.public(Method::POST, "/jobs", Some(start)).await.unwrap_err();
    assert_eq!((error.fate, error.code.as_str()), (Fate::Answered(409), "try-again-later"), "deleted");
    bench.finish();
}

#[tokio::test]
async fn incomplete_is_not_terminal() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| {
        s.retry_pause = Duration::from_millis(500);
        s.conduct(bench.source).attempts = [failing("the pod was evicted")].into();
    });
    let id = bench.connection("full_refresh", "overwrite").await;
    bench.api.sync(id).await.unwrap();
    let seen = until("the first attempt failed", 10, async || {
        let job = bench.api.jobs(id, 1).await.unwrap().remove(0);
        (job.status == "incomplete").then_some(job)
    });
    let seen = seen.await;
    assert!(!seen.has_ended());
    assert_eq!((seen.attempts, seen.failure.as_deref()), (1, Some("the pod was evicted")));
    let status = bench.post("/v1/connections/status", json!({"connectionIds": [id]})).await.unwrap();
    assert_eq!(status[0]["connectionSyncStatus"], "incomplete");
    assert_eq!(bench.ended(id).await, "succeeded");
    let ended = bench.api.jobs(id, 1).await.unwrap().remove(0);
    assert_eq!((ended.id, ended.attempts), (seen.id, 2));
    bench.finish();
}

#[tokio::test]
async fn a_job_that_fails_too_often_has_failed() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| s.conduct(bench.source).attempts = (0..5).map(|_| failing("no route")).collect());
    let id = bench.connection("full_refresh", "overwrite").await;
    bench.api.sync(id).await.unwrap();
    assert_eq!(bench.ended(id).await, "failed");
    let job = bench.api.jobs(id, 1).await.unwrap().remove(0);
    let info = bench.post("/v1/jobs/get_without_logs", json!({"id": job.id})).await.unwrap();
    assert_eq!(info["attempts"].as_array().unwrap().len(), 5);
    assert_eq!(info["attempts"][4]["attempt"]["failureSummary"]["failures"][0]["externalMessage"], "no route");
    bench.post("/v1/jobs/get_light", json!({"id": job.id})).await.unwrap();
    bench.finish();
}

#[tokio::test]
async fn cancel_acts_on_whatever_job_the_connection_runs_now() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "overwrite").await;
    let first = bench.api.sync(id).await.unwrap();
    bench.ended(id).await;
    bench.standin.edit(|s| s.hold_jobs = true);
    let second = bench.api.sync(id).await.unwrap();
    bench.api.cancel(id, first.id).await.unwrap();
    assert!(!bench.api.jobs(id, 1).await.unwrap()[0].has_ended(), "we look first");
    bench.post("/v1/jobs/cancel", json!({"id": first.id})).await.unwrap();
    let now = bench.api.jobs(id, 2).await.unwrap();
    assert_eq!((now[0].id, now[0].status.as_str()), (second.id, "cancelled"));
    assert_eq!(now[1].status, "succeeded");
    bench.finish();
}

#[tokio::test]
async fn config_lists_the_newest_job_first_and_public_the_oldest() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "overwrite").await;
    for _ in 0..3 {
        bench.api.sync(id).await.unwrap();
        bench.ended(id).await;
    }
    let config: Vec<i64> = bench.api.jobs(id, 2).await.unwrap().iter().map(|j| j.id).collect();
    assert_eq!(config, [3, 2]);
    let of = ("connectionId", id.to_string());
    let ids = |page: Value| -> Vec<i64> {
        page["data"].as_array().unwrap().iter().map(|j| j["jobId"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(bench.listed("/jobs", std::slice::from_ref(&of)).await), [1, 2, 3]);
    let newest = [of.clone(), ("orderBy", "createdAt|DESC".to_owned())];
    assert_eq!(ids(bench.listed("/jobs", &newest).await), [3, 2, 1]);
    let page = async |offset: usize| {
        ids(bench.listed("/jobs", &[of.clone(), ("limit", "2".into()), ("offset", offset.to_string())]).await)
    };
    assert_eq!((page(2).await, page(1).await), (vec![3], vec![1, 2]), "page = offset / limit, in integers");
    let body = json!({"configTypes": ["sync"], "configId": id, "pagination": {"pageSize": 1, "rowOffset": 1}});
    let listed = bench.post("/v1/jobs/list", body).await.unwrap();
    assert_eq!((&listed["totalJobCount"], &listed["jobs"][0]["job"]["id"]), (&json!(3), &json!(2)));
    bench.finish();
}

#[tokio::test]
async fn a_job_that_cannot_be_read_makes_no_page_the_last() {
    let bench = Bench::new("1.8").await;
    let job = |id: i64| json!({"job": {"id": id, "configType": "sync", "status": "succeeded"}, "attempts": []});
    let mut jobs: Vec<Value> = (0..100).map(job).collect();
    jobs[7]["job"].as_object_mut().unwrap().remove("status");
    for call in ["POST /v1/jobs/list_for_workspaces", "POST /v1/jobs/list"] {
        bench.standin.script(call, When::Always, Fault::Body(json!({ "jobs": jobs }).to_string()));
    }
    let said = [
        bench.api.jobs_since(&[bench.workspace], chrono::Utc::now()).await.unwrap_err(),
        bench.api.jobs(Uuid::nil(), 20).await.unwrap_err(),
    ];
    insta::assert_snapshot!(said.map(|error| error.to_string()).join("\n"), @"
    /v1/jobs/list_for_workspaces: an object of the list lacks what it must have
    /v1/jobs/list: an object of the list lacks what it must have
    ");
    bench.finish();
}

#[tokio::test]
async fn a_public_job_has_an_integer_id_and_terminal_times_at_its_end_only() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| s.hold_jobs = true);
    let id = bench.connection("full_refresh", "overwrite").await;
    let start = json!({"connectionId": id, "jobType": "sync"});
    let job = bench.public(Method::POST, "/jobs", Some(start)).await.unwrap();
    assert!(job["jobId"].is_i64() && job.get("lastUpdatedAt").is_none());
    let path = format!("/jobs/{}", job["jobId"]);
    let cancelled = bench.public(Method::DELETE, &path, None).await.unwrap();
    assert_eq!(cancelled["status"], "cancelled");
    let ended = bench.public(Method::GET, &path, None).await.unwrap();
    assert!(ended["lastUpdatedAt"].is_string() && ended["duration"].as_str().unwrap().starts_with("PT"));
    bench.finish();
}

#[tokio::test]
async fn a_refresh_through_the_public_api_is_422_and_empty_where_it_is_unsupported() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "overwrite").await;
    let start = json!({"connectionId": id, "jobType": "refresh"});
    assert_eq!(bench.public(Method::POST, "/jobs", Some(start)).await.unwrap_err().fate, Fate::Answered(422));
    let refresh = json!({"connectionId": id, "refreshMode": "Merge"});
    let answer = bench.post("/v1/connections/refresh", refresh.clone()).await.unwrap();
    assert_eq!(answer["job"]["configType"], "refresh");
    bench.ended(id).await;
    bench.standin.edit(|s| s.definitions.iter_mut().for_each(|d| d.refreshes = false));
    assert_eq!(bench.post("/v1/connections/refresh", refresh).await.unwrap(), json!({}));
    bench.finish();
}

#[tokio::test]
async fn resets_asked_for_during_a_pause_run_at_the_next_start() {
    let bench = Bench::new("1.8").await;
    let id = bench.connection("full_refresh", "append").await;
    let mut streams = bench.api.connection(id).await.unwrap().unwrap().raw["syncCatalog"].clone();
    streams["streams"][0]["config"]["destinationSyncMode"] = json!("overwrite");
    let body = json!({"connectionId": id, "syncCatalog": streams, "status": "inactive"});
    bench.post("/v1/web_backend/connections/update", body).await.unwrap();
    assert!(bench.api.jobs(id, 1).await.unwrap().is_empty());
    assert_eq!(bench.standin.edit(|s| s.connection(id).unwrap().resets.len()), 1);
    bench.api.update_connection(json!({"connectionId": id, "status": "active"})).await.unwrap();
    bench.api.sync(id).await.unwrap();
    bench.ended(id).await;
    assert!(bench.standin.edit(|s| s.connection(id).unwrap().resets.is_empty()));
    bench.finish();
}

#[tokio::test]
async fn creating_a_job_first_fails_all_that_run() {
    let bench = Bench::new("1.8").await;
    bench.standin.edit(|s| s.hold_jobs = true);
    let id = bench.connection("full_refresh", "overwrite").await;
    bench.api.sync(id).await.unwrap();
    bench.post("/v1/jobs/create", json!({"connectionId": id, "isScheduled": false})).await.unwrap();
    let told = bench.api.jobs(id, 2).await.unwrap();
    assert_eq!([&told[0].status, &told[1].status], ["running", "failed"]);
    bench.finish();
}
