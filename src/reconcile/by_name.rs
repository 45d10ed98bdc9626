//! What happens only to what a person names: landed rows are cleared, a running job is cancelled.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Gathered, Reconciler, StepError};
use crate::model::{ConnectionId, ConnectionRef, StreamName};
use crate::ports::{Cause, ClearOrder, ConnectionRow, Intent, Lease, ObjectKind, recorded, sent};
use crate::spec::{Connection, Mode};

/// The effect of an intent to clear streams; its key is their names.
pub(super) const CLEAR: &str = "clear";
/// In the audit log: streams were cleared.
const CLEARED: &str = "connection.cleared";
/// How long a lease in the way is waited for: a step of a daemon rarely takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Reconciler {
    /// Deletes what landed of these streams, which the connection carries. The job that does it, if it is not done yet.
    pub async fn clear(
        &self,
        gathered: &Gathered,
        name: &ConnectionRef,
        streams: &BTreeSet<StreamName>,
        actor: &str,
    ) -> Result<Option<i64>, StepError> {
        let (connection, row) = managed(gathered, name)?;
        let lease = self.wait_for_lease(name, row.id).await?;
        let work = async {
            if self.open_sync(row).await?.is_some() {
                return Err(StepError::Spec(format!(
                    "connection {name}: a sync runs: wait for it, or stop it with `aam cancel {name}`"
                )));
            }
            let id = row.objects.get(&ObjectKind::Connection);
            let id = id.ok_or_else(|| StepError::Spec(format!("connection {name} is not in the engine yet")))?;
            self.refuse_while_moving(id, self.doors.engine.manner().drives_itself).await?;
            let (_, destination) = self.handles(connection, row)?;
            let order = ClearOrder {
                engine_id: id.clone(),
                destination,
                carried: carried(connection)?,
                streams: streams.clone(),
            };
            let names: Vec<String> = streams.iter().map(ToString::to_string).collect();
            let newest = self.doors.engine.jobs(id, 1).await?.pop();
            let detail = json!({"by": actor, "streams": names, "after": newest.map_or(0, |job| job.id)});
            let intent = self.begin(&lease, CLEAR, &names.join(", "), detail).await?;
            let job = self.sent_under(&lease, CLEAR, self.doors.engine.clear(&order)).await??;
            let cause = cleared(name, actor, &names, job);
            self.doors.registry.audit(&lease.tenant, CLEARED, Some(row.id), &cause).await?;
            self.doors.registry.settle(&lease, intent).await?;
            recorded(CLEAR);
            Ok(job)
        };
        let done = Box::pin(self.with_renewal(std::slice::from_ref(&lease), work)).await;
        self.doors.registry.release(&lease).await?;
        done
    }

    /// A clear of which no answer came: its job, if there is one, is noted.
    pub(super) async fn look_up_clear(
        &self,
        intent: &Intent,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let after = intent.detail["after"].as_i64();
        let (Some(after), Some(id)) = (after, row.objects.get(&ObjectKind::Connection)) else { return Ok(()) };
        let Some(job) = self.doors.engine.clear_after(id, after).await? else { return Ok(()) };
        let actor = intent.detail["by"].as_str().unwrap_or("unknown");
        let names: Vec<String> = serde_json::from_value(intent.detail["streams"].clone()).unwrap_or_default();
        self.audit_once(lease, CLEARED, "job", &cleared(&row.name, actor, &names, Some(job))).await
    }

    /// The lease of a connection; a step of a daemon is waited for.
    pub(super) async fn wait_for_lease(&self, name: &ConnectionRef, id: ConnectionId) -> Result<Lease, StepError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.take_lease(name, id).await? {
                Some(lease) => return Ok(lease),
                None if Instant::now() < until => tokio::time::sleep(Duration::from_millis(200)).await,
                None => {
                    let why = format!("connection {name}: another process works on it: try again when it is done");
                    return Err(StepError::Spec(why));
                }
            }
        }
    }

    /// Stops the running job of a connection at its next commit; the job, if one runs.
    pub async fn cancel(
        &self,
        gathered: &Gathered,
        name: &ConnectionRef,
        actor: &str,
    ) -> Result<Option<i64>, StepError> {
        let (_, row) = managed(gathered, name)?;
        let Some(id) = row.objects.get(&ObjectKind::Connection) else { return Ok(None) };
        // one that waits behind it may be newer
        let jobs = self.doors.engine.jobs(id, 20).await?;
        let running = jobs.iter().filter(|job| job.ended_at.is_none()).min_by_key(|job| job.id);
        let Some(job) = running.map(|job| job.id) else { return Ok(None) };
        if !sent("cancel", self.doors.engine.cancel(id, job)).await? {
            return Ok(None);
        }
        let cause = Cause {
            actor: actor.to_owned(),
            summary: format!("connection {name}: job {job} is cancelled"),
            detail: json!({"job": job}),
        };
        self.doors.registry.audit(&name.tenant, "sync.cancelled", Some(row.id), &cause).await?;
        Ok(Some(job))
    }
}

fn cleared(name: &ConnectionRef, actor: &str, streams: &[String], job: Option<i64>) -> Cause {
    Cause {
        actor: actor.to_owned(),
        summary: format!("connection {name}: landed rows of {} deleted", streams.join(", ")),
        detail: json!({"streams": streams, "job": job}),
    }
}

/// A connection that may be written to, with its row.
fn managed<'g>(gathered: &'g Gathered, name: &ConnectionRef) -> Result<(&'g Connection, &'g ConnectionRow), StepError> {
    let connection = gathered.desired().connections.get(name);
    let found = connection.and_then(|connection| Some((connection, gathered.row_of(connection)?)));
    let (connection, row) = found.ok_or_else(|| {
        StepError::Spec(format!("connection {name} is not onboarded: `aam plan` says what it waits for"))
    })?;
    match connection.mode {
        Mode::Manage => Ok((connection, row)),
        _ => Err(StepError::Spec(format!(
            "connection {name} is not in `mode: manage`, so nothing is written for it: raise its mode, or do it in the engine"
        ))),
    }
}

/// The streams that a connection carries, in the engine's order.
pub fn carried(connection: &Connection) -> Result<Vec<StreamName>, StepError> {
    let Some(lock) = &connection.lock else {
        return Err(StepError::Spec(format!("connection {} has no lock yet", connection.name)));
    };
    let plans = crate::spec::configure(connection, &lock.catalog);
    let plans = plans.map_err(|problems| StepError::Spec(crate::spec::describe_problems(&problems)))?;
    Ok(plans.into_iter().map(|plan| plan.name).collect())
}
