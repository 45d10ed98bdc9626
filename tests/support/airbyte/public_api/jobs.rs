//! `/jobs`: oldest first unless asked otherwise, in pages whose number is computed from the offset.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::answer::{Answer, Call, Trouble};
use super::super::jobs;
use super::super::server::Shared;
use super::super::state::{Attempt, Job, State};
use super::{paged, path_id, window, workspace_filter};

/// Everything below it.
pub fn answer(shared: &Arc<Shared>, call: &Call, rest: &[&str]) -> Result<Answer, Trouble> {
    match (call.method.as_str(), rest) {
        ("GET", []) => list(&shared.state(), call),
        ("POST", []) => {
            let kind = match call.text("jobType")? {
                "sync" => "sync",
                "clear" => "clear",
                "reset" => "reset_connection",
                other => return Err(Trouble::Undecodable(format!("jobType {other} cannot be started here"))),
            };
            let job = jobs::start(shared, call.id("connectionId")?, kind, BTreeSet::new(), true)?;
            Ok(Answer::ok(read(find(&shared.state(), job)?)))
        }
        ("GET", [id]) => Ok(Answer::ok(read(find(&shared.state(), job_id(id)?)?))),
        ("DELETE", [id]) => {
            let mut state = shared.state();
            let job = jobs::cancel(&mut state, job_id(id)?)?;
            Ok(Answer::ok(read(find(&state, job)?)))
        }
        _ => Err(Trouble::NoSuchCall),
    }
}

fn job_id(text: &str) -> Result<i64, Trouble> {
    text.parse().map_err(|_| Trouble::Problem(400, "bad-request", format!("{text} is no number")))
}

fn find(state: &State, id: i64) -> Result<&Job, Trouble> {
    state.jobs.iter().find(|j| j.id == id).ok_or_else(|| Trouble::Absent("job", id.to_string()))
}

fn list(state: &State, call: &Call) -> Result<Answer, Trouble> {
    let of = call.query("connectionId").map(path_id).transpose()?;
    let workspace = workspace_filter(call)?;
    let wanted = |job: &&Job| {
        let connection = state.connection(job.connection);
        of.is_none_or(|of| of == job.connection)
            && workspace.is_none_or(|w| connection.is_ok_and(|c| state.workspace_of(c) == w))
            && call.query("status").is_none_or(|status| status == job.status)
            && call.query("jobType").is_none_or(|kind| kind == word(job))
    };
    let mut all: Vec<Value> = state.jobs.iter().filter(wanted).map(read).collect();
    if call.query("orderBy").is_some_and(|order| order.ends_with("|DESC")) {
        all.reverse();
    }
    let (limit, offset) = window(call)?;
    // whole pages only: an offset between two pages gives the first of them again
    let first = offset / limit * limit;
    Ok(paged("jobs", limit, offset, all.into_iter().skip(first).take(limit).collect()))
}

fn word(job: &Job) -> &'static str {
    match job.kind {
        "reset_connection" => "reset",
        jobs::TRUNCATE => "refresh",
        other => other,
    }
}

fn read(job: &Job) -> Value {
    let time =
        |at: i64| chrono::DateTime::from_timestamp(at, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut read = json!({
        "jobId": job.id, "status": job.status, "jobType": word(job), "startTime": time(job.created_at),
        "connectionId": job.connection, "bytesSynced": job.attempts.iter().map(|a| a.bytes).sum::<u64>(),
        "rowsSynced": job.attempts.iter().map(Attempt::row_count).sum::<u64>(),
    });
    if job.has_ended() {
        read["lastUpdatedAt"] = json!(time(job.updated_at));
        read["duration"] = json!(format!("PT{}S", job.updated_at - job.created_at));
    }
    read
}
