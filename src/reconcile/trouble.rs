//! Steps that fail while the rest of their connection runs: kept in its row for all to see, tried again later and later.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Outcome, OutcomeKind, Reconciler, StepError};
use crate::plan::Step;
use crate::ports::{Lease, Trouble};

/// So long after its time to try again, a step that was not tried is planned no more.
const FORGOTTEN: TimeDelta = TimeDelta::hours(1);

impl Reconciler {
    /// Until when a step that failed rests.
    pub(super) fn next_try(
        &self,
        known: &BTreeMap<String, Trouble>,
        step: &Step,
        error: &StepError,
        lease: &Lease,
    ) -> DateTime<Utc> {
        let before = known.get(&step.describe()).map_or(0, |trouble| trouble.failures);
        error.retry_at(self.doors.clock.now(), before, lease.connection)
    }

    /// Keeps which steps failed and forgets those that got through. `known` is what the registry has.
    pub(super) async fn note_troubles(&self, known: &BTreeMap<String, Trouble>, outcomes: &[Outcome], lease: &Lease) {
        let now = self.doors.clock.now();
        let mut troubles = known.clone();
        for outcome in outcomes {
            match (&outcome.kind, outcome.retry_at) {
                (OutcomeKind::Failed(reason), Some(retry_at)) => {
                    let before = known.get(&outcome.step);
                    let trouble = Trouble {
                        reason: reason.clone(),
                        since: before.map_or(now, |before| before.since),
                        failures: before.map_or(0, |before| before.failures) + 1,
                        retry_at,
                    };
                    troubles.insert(outcome.step.clone(), trouble);
                }
                (OutcomeKind::Applied | OutcomeKind::Unchanged, _) => {
                    troubles.remove(&outcome.step);
                }
                _ => {}
            }
        }
        troubles.retain(|_, trouble| trouble.retry_at + FORGOTTEN > now);
        if troubles == *known {
            return;
        }
        if let Err(error) = self.doors.registry.set_troubles(lease, &troubles).await {
            let id = lease.connection;
            tracing::warn!(connection.id = %id, "connection {id}: recording its failing steps: {error}");
        }
    }
}
