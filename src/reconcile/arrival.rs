//! Renames in two steps, where a source cannot be read beside its syncs: old values are kept, what came is taken in, and one
//! sync later both are compared in landing.

use std::collections::BTreeSet;

use super::{Gathered, OutcomeKind, Reconciler, StepError};
use crate::drift::rename::{Arrival, KeptValues, Question, Sampled};
use crate::model::{Catalog, FieldPath, StreamName};
use crate::ports::{ConnectionRow, LandedStream, LandingPlace, LandingRow, Lease, Newest, NewestRows};
use crate::spec::{self, Connection, Lock, StreamPlan};

/// So many of the records that landed last are kept, and looked at afterwards: those that change are likely to change again.
const RECORDS: u32 = 10_000;

/// The streams of a connection in landing.
struct Landed<'a> {
    newest: &'a dyn NewestRows,
    lock: &'a Lock,
    plans: Vec<StreamPlan>,
    place: LandingPlace,
}

impl Reconciler {
    /// Keeps the old values of every stream of which fields went while others came, as digests. Where there are none to be
    /// kept, nothing is taken in, and names and types propose.
    pub(super) async fn keep(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let (Some(drifted), Some(landed)) = (gathered.drifted.get(&row.id), self.in_landing(connection, row)?) else {
            return Ok(OutcomeKind::Unchanged);
        };
        let mut arrivals = drifted.arrivals.clone();
        for name in &drifted.unkept {
            let Some(question) = drifted.questions.get(name) else { continue };
            let gone: BTreeSet<FieldPath> = question.gone.iter().cloned().collect();
            let roots: Vec<String> = gone.iter().map(|path| path.root().to_owned()).collect();
            let rows = match landed.key(name) {
                Some(_) => landed.rows(name, Newest::Holding(&roots)).await?,
                None => Vec::new(),
            };
            // rows of a sync that nobody can tell from the next are of no use
            let told = rows.iter().all(|row| row.sync_id > 0);
            let salt = uuid::Uuid::now_v7().simple().to_string();
            let data = rows.iter().filter(|_| told).map(|row| row.data.get());
            let kept = landed.key(name).and_then(|key| KeptValues::of(data, key, &gone, salt));
            tracing::info!(
                connection.name = %connection.name,
                "connection {}: stream {name}: {} landed records with fields that went are kept for comparison",
                connection.name, kept.as_ref().map_or(0, KeptValues::records)
            );
            let compared = kept.is_none().then(|| Sampled::nothing(question));
            let job = rows.iter().map(|row| row.sync_id).chain(row.last_ended_job).max().unwrap_or(0);
            arrivals.insert(name.clone(), Arrival { gone, came: question.optional(), job, kept, compared });
        }
        self.doors.registry.set_arrivals(lease, &arrivals).await?;
        self.cache.lock().expect("no panic while held").repairs.remove(&row.id);
        Ok(OutcomeKind::Applied)
    }

    /// Compares what a sync landed with what was kept, and forgets that; a stream of which it landed nothing waits for another.
    pub(super) async fn compare_landed(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let (Some(drifted), Some(landed)) = (gathered.drifted.get(&row.id), self.in_landing(connection, row)?) else {
            return Ok(OutcomeKind::Unchanged);
        };
        let mut arrivals = drifted.arrivals.clone();
        for (name, question) in &drifted.questions {
            let (Some(arrival), Some(key)) = (arrivals.get_mut(name), landed.key(name)) else { continue };
            let Some(kept) = arrival.kept.as_ref().filter(|_| arrival.compared.is_none()) else { continue };
            let rows = landed.rows(name, Newest::After(arrival.job)).await?;
            let compared = kept.compare(rows.iter().map(|row| row.data.get()), key, &landed.landed_of(name, question));
            arrival.job = row.last_ended_job.unwrap_or(arrival.job).max(arrival.job);
            if compared.is_some() {
                tracing::info!(
                    connection.name = %connection.name,
                    "connection {}: stream {name}: values of {} fields that went were compared with {} rows that landed since",
                    connection.name, question.gone.len(), rows.len()
                );
                (arrival.kept, arrival.compared) = (None, compared);
            }
        }
        self.doors.registry.set_arrivals(lease, &arrivals).await?;
        self.cache.lock().expect("no panic while held").repairs.remove(&row.id);
        Ok(OutcomeKind::Applied)
    }

    /// Forgets what is open no more: the lock, or the source, has it otherwise by now.
    pub(super) async fn forget_arrivals(
        &self,
        row: &ConnectionRow,
        lock: &Catalog,
        lease: &Lease,
    ) -> Result<(), StepError> {
        if self.doors.newest.is_none() {
            return Ok(());
        }
        let registry = &self.doors.registry;
        let mut arrivals = registry.arrivals(row.id).await?;
        let (before, now) = (arrivals.len(), self.look_catalog(row).await?);
        arrivals.retain(|name, arrival| now.as_ref().is_some_and(|now| arrival.is_open(name, lock, now)));
        if arrivals.len() < before {
            registry.set_arrivals(lease, &arrivals).await?;
        }
        Ok(())
    }

    fn in_landing<'a>(
        &'a self,
        connection: &'a Connection,
        row: &ConnectionRow,
    ) -> Result<Option<Landed<'a>>, StepError> {
        let (Some(newest), Some(lock)) = (self.doors.newest.as_deref(), &connection.lock) else { return Ok(None) };
        let plans = spec::configure(connection, &lock.catalog)
            .map_err(|problems| StepError::Spec(spec::describe_problems(&problems)))?;
        let (_, destination) = self.handles(connection, row)?;
        let place = LandingPlace {
            destination,
            namespace: connection.airbyte.namespace.clone(),
            prefix: connection.airbyte.prefix.clone(),
            streams: plans.iter().map(|plan| plan.name.clone()).collect(),
        };
        Ok(Some(Landed { newest, lock, plans, place }))
    }
}

impl Landed<'_> {
    /// The fields that tell records of a stream apart, if they are fields of the record itself.
    fn key(&self, stream: &StreamName) -> Option<&[FieldPath]> {
        let key = &self.plans.iter().find(|plan| plan.name == *stream)?.key;
        let is_plain = !key.is_empty() && key.iter().all(|path| path.parent().is_none());
        is_plain.then_some(key)
    }

    /// The question, about nothing but fields that land.
    fn landed_of(&self, stream: &StreamName, question: &Question) -> Question {
        let approved = self.lock.catalog.streams.get(stream);
        let lands = |path: &&FieldPath| approved.is_some_and(|stream| stream.fields.contains_key(*path));
        Question { present: question.present.iter().filter(lands).cloned().collect(), ..question.clone() }
    }

    async fn rows(&self, name: &StreamName, wanted: Newest<'_>) -> Result<Vec<LandingRow>, StepError> {
        let Some(stream) = self.lock.catalog.streams.get(name) else { return Ok(Vec::new()) };
        let fields: Vec<String> = stream.columns().into_iter().map(|(path, _)| path.root().to_owned()).collect();
        let landed = LandedStream { name, fields: &fields, key: self.key(name).unwrap_or_default() };
        Ok(self.newest.newest(&self.place, landed, wanted, RECORDS).await?)
    }
}
