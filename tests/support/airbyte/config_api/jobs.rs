//! `jobs/*`. Times are seconds; lists are newest first.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::answer::{Answer, Call, Trouble};
use super::super::jobs;
use super::super::server::Shared;
use super::super::state::{Attempt, Job, State};
use super::{failure, rows};

/// `jobs/*`.
pub fn answer(shared: &Arc<Shared>, call: &Call, verb: &str) -> Result<Answer, Trouble> {
    let id = |call: &Call| call.field("id")?.as_i64().ok_or_else(|| Trouble::Undecodable("id is no number".into()));
    match verb {
        "list" | "list_for_workspaces" => list(&shared.state(), call),
        "get_light" => Ok(Answer::ok(json!({"job": info(&shared.state(), id(call)?)?["job"]}))),
        "get_without_logs" => Ok(Answer::ok(info(&shared.state(), id(call)?)?)),
        "cancel" => {
            let cancelled = jobs::cancel(&mut shared.state(), id(call)?)?;
            Ok(Answer::ok(info(&shared.state(), cancelled)?))
        }
        "create" => {
            let connection = call.id("connectionId")?;
            jobs::fail_running(&mut shared.state(), connection);
            let job = jobs::start(shared, connection, "sync", BTreeSet::new(), false)?;
            Ok(Answer::ok(info(&shared.state(), job)?))
        }
        _ => Err(Trouble::NoSuchCall),
    }
}

fn list(state: &State, call: &Call) -> Result<Answer, Trouble> {
    let kinds = call.field("configTypes")?.as_array().cloned().unwrap_or_default();
    let of: Option<Uuid> = call.maybe_id("configId")?;
    let statuses = call.body["statuses"].as_array();
    let workspaces = call.body["workspaceIds"].as_array();
    let since = call.body["updatedAtStart"].as_str().and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok());
    let in_workspace = |job: &Job| {
        let workspace = state.connection(job.connection).map(|c| json!(state.workspace_of(c)));
        workspaces.is_none_or(|of| workspace.is_ok_and(|workspace| of.contains(&workspace)))
    };
    let wanted = |job: &&Job| {
        in_workspace(job)
            && since.is_none_or(|since| job.updated_at >= since.timestamp())
            && kinds.contains(&json!(shown_kind(job)))
            && of.is_none_or(|of| of == job.connection)
            && statuses.is_none_or(|statuses| statuses.contains(&json!(job.status)))
    };
    let all: Vec<Value> = state
        .jobs
        .iter()
        .rev()
        .filter(wanted)
        .map(|job| json!({"job": read(job), "attempts": attempts(job).collect::<Vec<_>>()}))
        .collect();
    let count = all.len();
    Ok(Answer::ok(json!({"jobs": rows(&call.body, all), "totalJobCount": count})))
}

/// A `JobInfoRead`: here each attempt is wrapped once more.
pub fn info(state: &State, id: i64) -> Result<Value, Trouble> {
    let job = state.jobs.iter().find(|j| j.id == id).ok_or_else(|| Trouble::Absent("job", id.to_string()))?;
    let attempts: Vec<Value> = attempts(job).map(|a| json!({"attempt": a, "logs": {"logLines": []}})).collect();
    Ok(json!({"job": read(job), "attempts": attempts}))
}

fn shown_kind(job: &Job) -> &'static str {
    if job.kind == jobs::TRUNCATE { "refresh" } else { job.kind }
}

fn read(job: &Job) -> Value {
    let rows: u64 = job.attempts.iter().map(Attempt::row_count).sum();
    let bytes: u64 = job.attempts.iter().map(|a| a.bytes).sum();
    json!({
        "id": job.id, "configType": shown_kind(job), "configId": job.connection, "createdAt": job.created_at,
        "updatedAt": job.updated_at, "status": job.status,
        "aggregatedStats": {"recordsEmitted": rows, "bytesEmitted": bytes, "recordsCommitted": rows,
            "bytesCommitted": bytes, "recordsRejected": 0},
    })
}

fn attempts(job: &Job) -> impl Iterator<Item = Value> {
    job.attempts.iter().enumerate().map(|(number, attempt)| {
        let mut read = json!({
            "id": number, "status": attempt.status, "createdAt": attempt.created_at,
            "updatedAt": attempt.ended_at.unwrap_or(attempt.created_at), "bytesSynced": attempt.bytes,
            "recordsSynced": attempt.row_count(),
            "totalStats": {"recordsEmitted": attempt.row_count(), "bytesEmitted": attempt.bytes,
                "recordsCommitted": attempt.row_count(), "bytesCommitted": attempt.bytes},
            "streamStats": attempt.rows.iter().map(|((namespace, name), rows)| {
                let mut stats = json!({"streamName": name, "stats": {"recordsEmitted": rows, "recordsCommitted": rows}});
                if let Some(namespace) = namespace {
                    stats["streamNamespace"] = json!(namespace);
                }
                stats
            }).collect::<Vec<_>>(),
        });
        if let Some(ended) = attempt.ended_at {
            read["endedAt"] = json!(ended);
        }
        if let Some(why) = &attempt.failure {
            read["failureSummary"] = json!({"failures": [failure(why)], "partialSuccess": attempt.row_count() > 0});
        }
        read
    })
}
