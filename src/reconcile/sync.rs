//! Syncs: start and follow. What follows them is in `normalize`.
//!
//! The open intent `sync` *is* the running sync: its key is the request, and asking the engine again with the same
//! request goes on with the same job, in this process or in one that was started after a crash. Beside it lies the mapping
//! that its rows land under, until they are normalized (`landed`).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::ask::UNANSWERED;
use super::landed::{self, LANDED};
use super::{Gathered, OutcomeKind, Reconciler, StepError, by_aam};
use crate::model::StreamName;
use crate::ports::{ConnectionRow, EngineId, Intent, Job, JobState, Lease, ObjectKind, Remedy, SyncOrder, recorded};
use crate::spec::{Connection, WhenBreaking};

/// A sync that was asked for, as its intent keeps it.
#[derive(Debug, Clone)]
pub(super) struct Began {
    /// The ask's own id.
    pub(super) request: uuid::Uuid,
    /// The newest job before it.
    pub(super) after: i64,
    /// Streams that are read anew.
    pub(super) refresh: BTreeSet<StreamName>,
}

impl Began {
    pub(super) fn new(after: i64, refresh: BTreeSet<StreamName>) -> Self {
        Self { request: uuid::Uuid::now_v7(), after, refresh }
    }

    fn detail(&self) -> serde_json::Value {
        match self.refresh.is_empty() {
            true => json!({"after": self.after}),
            false => json!({"after": self.after, "refresh": self.refresh}),
        }
    }

    fn read(intent: &Intent) -> Result<Self, StepError> {
        let wrong = |what: &str| StepError::Spec(format!("intent {} has no {what}", intent.id));
        let refresh = intent.detail.get("refresh").cloned().map(serde_json::from_value).transpose();
        Ok(Self {
            request: intent.key.parse().map_err(|_| wrong("request id"))?,
            after: intent.detail["after"].as_i64().unwrap_or(0),
            refresh: refresh.map_err(|_| wrong("streams"))?.unwrap_or_default(),
        })
    }
}

impl Reconciler {
    pub(super) async fn start_sync(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let refresh = self.take_asked_sync(&connection.name);
        let mut began = Began::new(0, refresh.clone());
        let mut order = self.order(gathered, connection, row, began.clone())?;
        if self.open_sync(row).await?.is_some() {
            if !refresh.is_empty() {
                self.ask_refresh(&connection.name, refresh);
            }
            return self.follow_sync(gathered, connection, row, lease).await;
        }
        if self.doors.engine.manner().drives_itself {
            match self.newest_before(&order.engine_id, !refresh.is_empty()).await? {
                Ok(after) => (began.after, order.after) = (after, after),
                Err(why) => return Ok(OutcomeKind::Skipped(why)),
            }
        }
        let intent = self.begin_sync(gathered, connection, &began, lease).await?;
        self.doors.registry.set_last_sync(lease, self.doors.clock.now()).await?;
        let job = match self.sent_under(lease, "start_sync", self.doors.engine.start_sync(&order)).await? {
            Err(error) if error.remedy == Remedy::Look => {
                // its job may still appear, and is looked for under the same request
                let (of, detail) = (began.request.to_string(), (began.detail(), &error));
                self.mark_unanswered(lease, intent, ("sync", &of), detail).await?;
                return Err(error.into());
            }
            Err(error) if error.remedy == Remedy::Person && !began.refresh.is_empty() => {
                // it was refused for good: a plain sync is another ask
                self.doors.registry.settle(lease, intent).await?;
                return Err(error.into());
            }
            other => other?,
        };
        self.doors.registry.record_job(lease, &job).await?;
        recorded("start_sync");
        tracing::info!(connection.name = %connection.name, job.id = job.id, "connection {}: sync {} started", connection.name, job.id);
        Ok(OutcomeKind::Applied)
    }

    /// The newest job that an ask for a sync comes after; one that runs answers it, but for a refresh. The inner error: no sync
    /// can be had.
    async fn newest_before(&self, id: &EngineId, refreshes: bool) -> Result<Result<i64, String>, StepError> {
        let Some(live) = self.doors.engine.connection(id).await? else {
            return Ok(Err("it is gone from the engine".into()));
        };
        if !live.is.enabled {
            return Ok(Err(live.stopped.unwrap_or_else(|| "it is inactive in the engine".into())));
        }
        let newest = self.doors.engine.jobs(id, 1).await?.pop();
        let answers = |job: &Job| job.state == JobState::Running && !refreshes;
        Ok(Ok(newest.map_or(0, |job| if answers(&job) { job.id - 1 } else { job.id })))
    }

    /// Notes that a sync begins: what its rows land under, and the newest job before it. Its intent.
    pub(super) async fn begin_sync(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        began: &Began,
        lease: &Lease,
    ) -> Result<uuid::Uuid, StepError> {
        let request = began.request;
        if let Some(landed) = landed::in_force(gathered, connection, &began.refresh)? {
            let detail = serde_json::to_value(landed).expect("files and modes are plain data");
            self.begin(lease, LANDED, &request.to_string(), detail).await?;
        }
        self.begin(lease, "sync", &request.to_string(), began.detail()).await
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
        let began = Began::read(&intent)?;
        let after = began.after;
        if intent.detail[UNANSWERED] == json!(true)
            && let Err(early) = self.refuse_too_early(&format!("sync of {}", connection.name), &intent)
            && let Some(id) = row.objects.get(&ObjectKind::Connection)
            && self.doors.engine.jobs(id, 1).await?.first().is_none_or(|job| job.id <= after)
        {
            return Err(early);
        }
        let refreshes = !began.refresh.is_empty();
        let order = self.order(gathered, connection, row, began)?;
        let job = match self.doors.engine.start_sync(&order).await {
            Err(error) if error.remedy == Remedy::Person && refreshes => {
                self.doors.registry.settle(lease, intent.id).await?;
                return Err(error.into());
            }
            other => other?,
        };
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
        began: Began,
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
            request: began.request,
            after: began.after,
            refresh: began.refresh,
        })
    }
}

fn ended(connection: &Connection, job: &Job) -> crate::ports::Cause {
    let state = format!("{:?}", job.state).to_lowercase();
    let summary = match &job.error {
        Some(error) => format!("connection {}: sync {} {state}: {error}", connection.name, job.id),
        None => format!("connection {}: sync {} {state} with {} rows", connection.name, job.id, job.rows),
    };
    by_aam(summary, json!({"job": job.id, "rows": job.rows, "bytes": job.bytes, "attempts": job.attempts}))
}
