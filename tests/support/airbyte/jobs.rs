//! Jobs of connections: one at a time each, tried again when an attempt fails, run on a task of the stand-in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::answer::Trouble;
use super::landing::{self, Landed, Load};
use super::server::Shared;
use super::state::{Attempt, Failing, Job, Side, State, StreamKey, now};

/// The kind of a refresh that removes what it does not find again; shown as `refresh`.
pub const TRUNCATE: &str = "refresh_truncate";

/// So often a job is tried.
const ATTEMPTS: usize = 5;
/// How often a held job looks whether it may go on.
const LOOK: Duration = Duration::from_millis(10);

/// Starts a job for these streams; none means all. One runs at a time.
pub fn start(
    shared: &Arc<Shared>,
    id: Uuid,
    kind: &'static str,
    streams: BTreeSet<StreamKey>,
    is_public: bool,
) -> Result<i64, Trouble> {
    let mut state = shared.state();
    let connection = state.connection(id)?;
    match connection.status.as_str() {
        "active" => {}
        "deprecated" if is_public => return Err(Trouble::Conflict(format!("connection {id} is deleted"))),
        // stopped ones can be cleared all the same
        "inactive" if kind != "sync" => {}
        status if is_public => {
            return Err(Trouble::Problem(409, "state-conflict", format!("connection {id} is {status}")));
        }
        status => return Err(Trouble::Inside(format!("connection {id} is {status}"))),
    }
    if state.running_job(id).is_some() {
        return Err(Trouble::Conflict(format!("A sync is already running for: {id}")));
    }
    let job = state.jobs.last().map_or(1, |job| job.id + 1);
    state.jobs.push(Job {
        id: job,
        connection: id,
        kind,
        // the Config API answers only when the workflow runs
        status: if is_public { "pending" } else { "running" },
        streams: streams.into_iter().collect(),
        created_at: now(),
        updated_at: now(),
        attempts: Vec::new(),
        cancel: false,
    });
    drop(state);
    tokio::spawn(run(shared.clone(), job));
    Ok(job)
}

/// Fails what the connection runs now.
pub fn fail_running(state: &mut State, connection: Uuid) {
    for job in state.jobs.iter_mut().filter(|j| j.connection == connection && !j.has_ended()) {
        job.cancel = true;
        job.status = "failed";
        job.updated_at = now();
        if let Some(attempt) = job.attempts.last_mut().filter(|a| a.status == "running") {
            attempt.status = "failed";
            attempt.ended_at = Some(now());
        }
    }
}

/// Cancels what the connection of this job runs now, which may be another job. The id of the one that was.
pub fn cancel(state: &mut State, id: i64) -> Result<i64, Trouble> {
    let named = state.jobs.iter().find(|j| j.id == id).ok_or_else(|| Trouble::Absent("job", id.to_string()))?;
    let connection = named.connection;
    let running = state.jobs.iter_mut().rev().find(|j| j.connection == connection && !j.has_ended());
    let Some(job) = running else {
        return Err(Trouble::Problem(409, "state-conflict", format!("job {id} does not run")));
    };
    job.cancel = true;
    job.status = "cancelled";
    job.updated_at = now();
    if let Some(attempt) = job.attempts.last_mut().filter(|a| a.status == "running") {
        attempt.status = "failed";
        attempt.ended_at = Some(now());
    }
    Ok(job.id)
}

fn job_mut(state: &mut State, id: i64) -> &mut Job {
    state.jobs.iter_mut().find(|j| j.id == id).expect("jobs are never removed")
}

fn is_held(state: &mut State, id: i64) -> bool {
    state.hold_jobs && !job_mut(state, id).cancel
}

/// Runs attempts until one succeeds, the job is cancelled, or it has been tried often enough.
async fn run(shared: Arc<Shared>, id: i64) {
    for number in 1..=ATTEMPTS {
        let Some((connection, takes)) = begin(&mut shared.state(), id) else { return };
        tokio::time::sleep(takes).await;
        while is_held(&mut shared.state(), id) {
            tokio::time::sleep(LOOK).await;
        }
        let outcome = attempt(&shared, id, connection).await;
        let Some(pause) = end(&mut shared.state(), id, outcome.err(), number == ATTEMPTS) else { return };
        tokio::time::sleep(pause).await;
    }
}

/// Begins an attempt; the job's connection, and how long to take. `None` if it was cancelled.
fn begin(state: &mut State, id: i64) -> Option<(Uuid, Duration)> {
    let takes = state.job_takes;
    let job = job_mut(state, id);
    if job.cancel {
        return None;
    }
    job.status = "running";
    job.updated_at = now();
    job.attempts.push(Attempt {
        status: "running",
        created_at: now(),
        ended_at: None,
        rows: BTreeMap::new(),
        bytes: 0,
        failure: None,
    });
    Some((job.connection, takes))
}

/// Ends an attempt; how long the job stays `incomplete` before the next. `None` if the job has ended.
fn end(state: &mut State, id: i64, failure: Option<String>, is_last: bool) -> Option<Duration> {
    let pause = state.retry_pause;
    let job = job_mut(state, id);
    if job.cancel {
        return None;
    }
    let attempt = job.attempts.last_mut().expect("one runs");
    attempt.ended_at = Some(now());
    attempt.status = if failure.is_none() { "succeeded" } else { "failed" };
    attempt.failure = failure;
    job.updated_at = now();
    job.status = match attempt.status {
        "succeeded" => "succeeded",
        _ if is_last => "failed",
        _ => "incomplete",
    };
    (!job.has_ended()).then_some(pause)
}

/// Moves every stream of the job.
async fn attempt(shared: &Arc<Shared>, id: i64, connection: Uuid) -> Result<(), String> {
    let (loads, scripted) = prepare(&mut shared.state(), id, connection).map_err(|e| format!("{e:?}"))?;
    let mut left = scripted.as_ref().map(|failing| failing.after_rows);
    for load in loads {
        if left == Some(0) {
            break;
        }
        let landed = landing::land(&load, left).await.map_err(|e| e.to_string())?;
        left = left.map(|left| left.saturating_sub(landed.rows));
        if !record(&mut shared.state(), id, connection, &load.key, landed, left.is_none()) {
            return Ok(());
        }
    }
    scripted.map_or(Ok(()), |failing| Err(failing.why))
}

/// What there is to do, and how this attempt is to fail.
fn prepare(state: &mut State, id: i64, connection: Uuid) -> Result<(Vec<Load>, Option<Failing>), Trouble> {
    if job_mut(state, id).cancel {
        return Ok((Vec::new(), None));
    }
    let loads = plan(state, id, connection)?;
    let source = state.connection(connection)?.source;
    Ok((loads, state.conduct(source).attempts.pop_front()))
}

/// Counts a stream's rows; what it remembers only counts if the attempt is not to fail. Whether the job goes on.
fn record(state: &mut State, id: i64, connection: Uuid, key: &StreamKey, landed: Landed, lasting: bool) -> bool {
    let job = job_mut(state, id);
    if job.cancel {
        return false;
    }
    let attempt = job.attempts.last_mut().expect("one runs");
    attempt.rows.insert(key.clone(), landed.rows);
    attempt.bytes += landed.bytes;
    if let (true, Ok(connection)) = (lasting, state.connection_mut(connection)) {
        connection.progress.insert(key.clone(), landed.progress);
        connection.resets.remove(key);
    }
    true
}

/// What each stream has to do. Resets that were asked for while the connection was stopped come first.
fn plan(state: &mut State, id: i64, connection: Uuid) -> Result<Vec<Load>, Trouble> {
    let (kind, streams) = {
        let job = job_mut(state, id);
        (job.kind, job.streams.clone())
    };
    let connection = state.connection(connection)?.clone();
    let source = state.actor(Side::Source, connection.source)?.clone();
    let destination = state.actor(Side::Destination, connection.destination)?.clone();
    let tag = state.definition(Side::Destination, destination.definition)?.tag.clone();
    let wanted = |key: &StreamKey| streams.is_empty() || streams.contains(key);
    let mut loads = Vec::new();
    for entry in &connection.entries {
        let mut load = Load::new(&connection, entry, &source, &destination, &tag, id);
        let asked = kind != "sync" && wanted(&load.key);
        match kind {
            "clear" | "reset_connection" if asked => load.clear(),
            TRUNCATE if asked => load.refresh(true),
            "refresh" if asked => load.refresh(false),
            "sync" if connection.resets.contains(&load.key) => load.refresh(true),
            "sync" => {}
            _ => continue,
        }
        loads.push(load);
    }
    Ok(loads)
}
