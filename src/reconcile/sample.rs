//! Whose values are whose: what the source has now beside what landed, counted before a repair is offered.

use super::{Gathered, OutcomeKind, Reconciler, StepError, TurnError};
use crate::drift::rename::{Sampled, Values};
use crate::model::{Catalog, Fingerprint};
use crate::ports::{ConnectionRow, LandingPlace, Lease, SampleOrder, Samples};
use crate::spec::{self, Connection};

/// So many catalogs of the past are looked through for the places of approved fields.
const PAST: u32 = 20;

impl Reconciler {
    /// What helps to tell who is whom in a drift: the catalogs before, and what was sampled.
    pub(super) async fn hints(
        &self,
        row: &ConnectionRow,
        look: &Fingerprint,
    ) -> Result<(Vec<Catalog>, Values), TurnError> {
        let registry = &self.doors.registry;
        Ok((registry.past_catalogs(row.id, PAST).await?, registry.sampled(row.id, look).await?))
    }

    /// Samples every stream of which fields went while others came. Kept are counts, never values.
    pub(super) async fn sample(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        if self.doors.newest.is_some() {
            return self.compare_landed(gathered, connection, row, lease).await;
        }
        let (Some(sampler), Some(lock)) = (&self.doors.sampler, &connection.lock) else {
            return Ok(OutcomeKind::Unchanged);
        };
        let Some(Ok(look)) = row.look.as_ref().map(|look| look.seen.as_ref()) else {
            return Ok(OutcomeKind::Unchanged);
        };
        let (Some(drifted), Some(now)) = (gathered.drifted.get(&row.id), self.look_catalog(row).await?) else {
            return Ok(OutcomeKind::Unchanged);
        };
        let plans = spec::configure(connection, &lock.catalog)
            .map_err(|problems| StepError::Spec(spec::describe_problems(&problems)))?;
        let (source, destination) = self.handles(connection, row)?;
        let mut values = self.doors.registry.sampled(row.id, look).await?;
        for (name, question) in &drifted.questions {
            let plan = plans.iter().find(|plan| plan.name == *name);
            let (Some(plan), Some(stream)) = (plan, now.streams.get(name)) else { continue };
            let order = SampleOrder {
                source: source.clone(),
                place: LandingPlace {
                    destination: destination.clone(),
                    namespace: connection.airbyte.namespace.clone(),
                    prefix: connection.airbyte.prefix.clone(),
                    streams: plans.iter().map(|plan| plan.name.clone()).collect(),
                },
                stream: name.clone(),
                key: plan.key.clone(),
                before: plan.schema.clone(),
                now: stream.clone(),
                gone: question.gone.clone(),
                present: question.present.clone(),
            };
            let sampled = match sampler.sample(&order).await? {
                Some(Samples::Joined(records)) => Sampled::joined(question, &records.gone, &records.present),
                Some(Samples::Apart(records)) => Sampled::apart(question, &records.gone, &records.present),
                None => Sampled::nothing(question),
            };
            tracing::info!(
                connection.name = %connection.name,
                "connection {}: stream {name}: values of {} fields that went were compared with those of {} that are there",
                connection.name, question.gone.len(), question.present.len()
            );
            values.insert(name.clone(), sampled);
        }
        self.doors.registry.set_sampled(lease, look, &values).await?;
        self.cache.lock().expect("no panic while held").repairs.remove(&row.id);
        Ok(OutcomeKind::Applied)
    }
}
