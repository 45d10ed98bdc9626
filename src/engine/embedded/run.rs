//! Running one job: its streams one after another, its progress, its end.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::destination::Destination;
use super::stream::{Progress, Report, StreamSync};
use super::{Shared, records_error, store};
use crate::connector;
use crate::model::StreamName;
use crate::ports::{ConfiguredStream, EngineError, Job, JobState, Remedy, SyncOrder, written};

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this state, and why if it failed.
    With(JobState, Option<String>),
    /// Cut short by a shutdown: the job stays as running, and is gone on with after the restart.
    CutShort,
}

/// Progress of a job, written to the registry after each commit.
struct JobReport<'a> {
    shared: &'a Shared,
    job: &'a mut Job,
    stream: StreamName,
    logged: u64,
}

#[async_trait]
impl Report for JobReport<'_> {
    async fn committed(&mut self, progress: Progress) -> Result<(), EngineError> {
        let entry = self.job.streams.iter_mut().find(|(name, _)| *name == self.stream);
        match entry {
            Some((_, rows)) => *rows = progress.rows,
            None => self.job.streams.push((self.stream.clone(), progress.rows)),
        }
        self.job.rows = self.job.streams.iter().map(|(_, rows)| rows).sum();
        self.job.bytes += progress.bytes.saturating_sub(self.logged);
        self.logged = progress.bytes;
        let noted = written("note_progress", store::progress(&self.shared.pool, self.job)).await;
        match noted.map_err(|e| records_error("noting progress", &e))? {
            true => Ok(()),
            false => Err(taken_over(self.job.id)),
        }
    }

    async fn is_ours(&self) -> Result<(), EngineError> {
        let alive = store::stay_alive(&self.shared.pool, self.job, self.shared.ttl).await;
        match alive.map_err(|e| records_error("going on with a job", &e))? {
            true => Ok(()),
            false => Err(taken_over(self.job.id)),
        }
    }

    async fn is_alive(&self, connection: Uuid) -> Result<bool, EngineError> {
        store::is_alive(&self.shared.pool, connection).await.map_err(|e| records_error("looking up a connection", &e))
    }

    async fn outrun(&self, job: i64) -> Result<(), EngineError> {
        store::skip_to(&self.shared.pool, job).await.map_err(|e| records_error("numbering jobs", &e))
    }
}

fn taken_over(job: i64) -> EngineError {
    let (what, why) = (format!("going on with job {job}"), "another process took it over".to_owned());
    EngineError { what, why, remedy: Remedy::Retry, retry_after: None }
}

/// Runs the streams of a job. A stream that fails does not keep the others from running.
pub async fn run(
    shared: &Shared,
    order: &SyncOrder,
    streams: &[ConfiguredStream],
    mut job: Job,
    stop: &CancellationToken,
) -> Ended {
    let failed = |why: String| Ended::With(JobState::Failed, Some(why));
    let opened = connector::open(&order.source, &shared.programs)
        .and_then(|s| Ok((Arc::from(s), Destination::open(&order.destination)?)));
    let (source, destination) = match opened {
        Ok(opened) => opened,
        Err(error) => return failed(error.to_string()),
    };
    let mut errors = Vec::new();
    job.bytes = 0; // counted anew from the ledger, which knows what earlier attempts committed
    let tables = destination.tables(streams.iter().map(|s| &s.name));
    for (stream, table) in streams.iter().zip(&tables).filter(|(s, _)| !order.held.contains(&s.name)) {
        let sync = StreamSync {
            connection: order.connection.0,
            job: job.id,
            attempt: job.attempts,
            destination: &destination,
            stream,
            table,
            missing_as_null: order.missing_as_null,
            anew: order.refresh.contains(&stream.name),
            stop,
        };
        let mut report = JobReport { shared, job: &mut job, stream: stream.name.clone(), logged: 0 };
        // who slept in an earlier stream begins none that is another's by now
        if let Err(error) = report.is_ours().await {
            errors.push(error.to_string());
            break;
        }
        match Box::pin(sync.run(&source, &mut report)).await {
            Ok(true) => {}
            Ok(false) if shared.stop.is_cancelled() => return Ended::CutShort,
            Ok(false) => return Ended::With(JobState::Cancelled, None),
            Err(error) => {
                tracing::warn!(job.id = job.id, stream = %stream.name, "stream {} failed: {error}", stream.name);
                errors.push(error.to_string());
            }
        }
    }
    match errors.is_empty() {
        true => Ended::With(JobState::Succeeded, None),
        false => failed(errors.join("; ")),
    }
}
