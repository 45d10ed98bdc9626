//! Syncs and what follows them: start, follow, normalize.
//!
//! The open intent `sync` *is* the running sync: its key is the request, and asking the engine again with the same
//! request goes on with the same job, in this process or in one that was started after a crash.

use std::sync::Arc;

use serde_json::json;

use super::{Ask, Gathered, OutcomeKind, Reconciler, StepError, by_aam};
use crate::canonical::{self, StreamWork, Work};
use crate::ports::{ConnectionRow, EngineId, Intent, Job, JobState, Lease, ObjectKind, SyncOrder, recorded, sent};
use crate::spec::{Connection, StreamMode, WhenBreaking};

impl Reconciler {
    pub(super) async fn start_sync(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        self.answered(Ask::Sync, &connection.name);
        let request = uuid::Uuid::now_v7();
        let order = self.order(gathered, connection, row, request)?;
        if self.open_sync(row).await?.is_some() {
            return self.follow_sync(gathered, connection, row, lease).await;
        }
        self.begin(lease, "sync", &request.to_string(), json!({})).await?;
        self.doors.registry.set_last_sync(lease, self.doors.clock.now()).await?;
        let job = sent("start_sync", self.doors.engine.start_sync(&order)).await?;
        self.doors.registry.record_job(lease, &job).await?;
        recorded("start_sync");
        tracing::info!(connection.name = %connection.name, job.id = job.id, "connection {}: sync {} started", connection.name, job.id);
        Ok(OutcomeKind::Applied)
    }

    /// The open sync of a connection, if one is under way.
    pub(super) async fn open_sync(&self, row: &ConnectionRow) -> Result<Option<Intent>, StepError> {
        Ok(self.doors.registry.intents(Some(row.id)).await?.into_iter().find(|intent| intent.effect == "sync"))
    }

    pub(super) async fn follow_sync(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let Some(intent) = self.open_sync(row).await? else { return Ok(OutcomeKind::Unchanged) };
        let request =
            intent.key.parse().map_err(|_| StepError::Spec(format!("intent {} has no request id", intent.id)))?;
        let order = self.order(gathered, connection, row, request)?;
        let job = self.doors.engine.start_sync(&order).await?;
        if job.state == JobState::Running {
            self.doors.registry.record_job(lease, &job).await?;
            return Ok(OutcomeKind::Unchanged);
        }
        if row.last_sync_at.is_none_or(|at| at < intent.at) {
            self.doors.registry.set_last_sync(lease, intent.at).await?;
        }
        self.doors.registry.record_job(lease, &job).await?;
        self.audit_once(lease, "sync.ended", "job", &ended(connection, &job)).await?;
        self.doors.registry.settle(lease, intent.id).await?;
        match &job.error {
            Some(error) => {
                tracing::warn!(connection.name = %connection.name, job.id = job.id, "connection {}: sync {} failed: {error}", connection.name, job.id)
            }
            None => {
                tracing::info!(connection.name = %connection.name, job.id = job.id, rows = job.rows, "connection {}: sync {} landed {} rows", connection.name, job.id, job.rows)
            }
        }
        Ok(OutcomeKind::Applied)
    }

    fn order(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        row: &ConnectionRow,
        request: uuid::Uuid,
    ) -> Result<SyncOrder, StepError> {
        let (source, destination) = self.handles(connection, row)?;
        let engine_id: EngineId = row
            .objects
            .get(&ObjectKind::Connection)
            .cloned()
            .ok_or_else(|| StepError::Spec(format!("connection {} is not in the engine yet", connection.name)))?;
        Ok(SyncOrder {
            connection: row.id,
            engine_id,
            source,
            destination,
            held: gathered.held(connection),
            missing_as_null: connection.drift.when_breaking == WhenBreaking::Continue,
            request,
        })
    }

    /// Maps the rows that landed up to `job` and appends what is new.
    pub(super) async fn normalize(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        row: &ConnectionRow,
        job: i64,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let (Some(mapping), Some(lock)) = (&connection.mapping, &connection.lock) else {
            self.doors.registry.set_normalized(lease, job).await?;
            return Ok(OutcomeKind::Unchanged);
        };
        let (_, destination) = self.handles(connection, row)?;
        let modes = spec_modes(connection, lock)?;
        let succeeded = self
            .doors
            .registry
            .jobs(row.id, 1)
            .await?
            .first()
            .is_some_and(|j| j.id == job && j.state == JobState::Succeeded);
        let held = gathered.held(connection);
        let mut compiled = Vec::new();
        for entry in &mapping.entities {
            let Some((stream, mode)) = modes.iter().find(|(name, _)| names_stream(&entry.stream.value, name)) else {
                continue;
            };
            let Some(entity) = gathered.desired().entities.get(&entry.entity.value) else { continue };
            let one = crate::mapping::compile(mapping, entry, entity, lock.catalog.streams.get(stream)).map_err(
                |problems| {
                    let first = problems.first().map_or_else(String::new, |problem| problem.message.clone());
                    StepError::Spec(format!("{}: {first}; `aam check` shows all", mapping.path))
                },
            )?;
            let replaced = *mode == StreamMode::FullRefreshOverwrite && succeeded && !held.contains(stream);
            compiled.push((stream.clone(), one, replaced.then_some(job)));
        }
        let streams = compiled.iter().map(|(stream, mapping, replaced_by)| StreamWork {
            stream: stream.clone(),
            mapping,
            replaced_by: *replaced_by,
        });
        let work = Work {
            lease,
            connection: &connection.name,
            destination: &destination,
            catalog_version: row.version,
            mapping,
            streams: streams.collect(),
        };
        let summary =
            canonical::normalize(&*self.doors.landing, &*self.doors.events, &*self.doors.clock, &work, &|_| {}).await?;
        self.doors.registry.set_normalized(lease, job).await?;
        let total = summary.total();
        if total.upserts + total.deletes + total.dead_letters > 0 {
            tracing::info!(
                connection.name = %connection.name,
                "connection {}: {} upserts, {} deletes, {} dead letters from job {job}",
                connection.name, total.upserts, total.deletes, total.dead_letters
            );
        }
        Ok(OutcomeKind::Applied)
    }
}

fn spec_modes(
    connection: &Connection,
    lock: &crate::spec::Lock,
) -> Result<Vec<(crate::model::StreamName, StreamMode)>, StepError> {
    let plans = crate::spec::configure(connection, &lock.catalog)
        .map_err(|problems| StepError::Spec(crate::spec::describe_problems(&problems)))?;
    Ok(plans.into_iter().map(|plan| (plan.name, plan.mode)).collect())
}

/// Whether a mapping's stream means this one: the full name, or the bare name.
fn names_stream(written: &crate::model::StreamName, name: &crate::model::StreamName) -> bool {
    written == name || (written.namespace.is_none() && written.name == name.name)
}

fn ended(connection: &Connection, job: &Job) -> crate::ports::Cause {
    let state = format!("{:?}", job.state).to_lowercase();
    let summary = match &job.error {
        Some(error) => format!("connection {}: sync {} {state}: {error}", connection.name, job.id),
        None => format!("connection {}: sync {} {state} with {} rows", connection.name, job.id, job.rows),
    };
    by_aam(summary, json!({"job": job.id, "rows": job.rows, "bytes": job.bytes, "attempts": job.attempts}))
}
