//! Whether a plan still holds once its connection's lease is taken: another daemon may have been here since it was made.

use super::{Gathered, Reconciler};
use crate::model::ConnectionId;
use crate::plan::{ConnectionPlan, Step};
use crate::ports::{ConnectionRow, DriftRow, RegistryError};

impl Reconciler {
    /// Whether the row, and the drift, the rejections and what was agreed with the engine, are still those that the plan was made
    /// from. What only goes on with rows depends on the row alone.
    pub(super) async fn is_as_planned(
        &self,
        gathered: &Gathered,
        plan: &ConnectionPlan,
        id: ConnectionId,
    ) -> Result<bool, RegistryError> {
        let now = self.fresh_row(id).await?;
        if gathered.row(id).map(is_planned_from) != now.as_ref().map(is_planned_from) {
            return Ok(false);
        }
        if plan.steps.iter().all(Step::carries_rows) {
            return Ok(true);
        }
        let registry = &self.doors.registry;
        let open = |drift: &DriftRow| (drift.id, drift.target.clone(), drift.status);
        let known = gathered.drifts.iter().filter(|drift| drift.connection == id).map(open);
        if !known.eq(registry.drifts(Some(id), true).await?.iter().map(open))
            || gathered.unrecorded.get(&id) != registry.rejections().await?.get(&id)
        {
            return Ok(false);
        }
        let Some(agreed) = gathered.surveyed.of(id).and_then(|seen| seen.agreed.as_ref()) else { return Ok(true) };
        let same = *agreed == registry.agreed(Some(id)).await?.remove(&id).unwrap_or_default();
        if !same {
            self.forget_live(id);
        }
        Ok(same)
    }
}

/// What only a step of this connection changes, and a plan is made from.
fn is_planned_from(row: &ConnectionRow) -> impl PartialEq + use<'_> {
    let settings = (&row.applied_digest, &row.secrets, &row.objects, &row.held);
    let standing = (row.status, row.paused, &row.name, row.version, &row.fingerprint);
    let seen = row.look.as_ref().map(|look| &look.seen);
    (standing, settings, seen, row.last_sync_at, row.last_ended_job, row.normalized_job)
}
