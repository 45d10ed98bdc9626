//! Renames in two steps, where a source cannot be read beside its syncs: old values are kept, what came is taken in, and one
//! sync later both are compared in landing.

use std::collections::BTreeSet;

use super::drifted::Drifted;
use super::{Gathered, OutcomeKind, Reconciler, StepError};
use crate::drift::rename::{Arrival, Arrivals, KeptValues, Question, Sampled};
use crate::model::{Catalog, FieldPath, StreamName};
use crate::ports::{ConnectionRow, LandedStream, LandingPlace, LandingRow, Lease, Newest, NewestRows, ObjectKind};
use crate::spec::{self, Connection, Lock, StreamPlan};

/// So many of the records that landed last are kept, and looked at afterwards: those that change are likely to change again.
const RECORDS: u32 = 2_000;

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
        let Some((drifted, landed)) = self.drifted_in_landing(gathered, connection, row)? else {
            return Ok(OutcomeKind::Unchanged);
        };
        let mut arrivals = drifted.arrivals.clone();
        for name in &drifted.unkept {
            let Some(question) = drifted.questions.get(name) else { continue };
            let gone: BTreeSet<FieldPath> = question.gone.iter().cloned().collect();
            let last = arrivals.remove(name).unwrap_or_default();
            let known = last.compared.unwrap_or(last.known);
            let unknown: BTreeSet<FieldPath> = gone.difference(&known.asked).cloned().collect();
            let kept = match landed.key(name) {
                Some(key) => {
                    let roots: Vec<String> = unknown.iter().map(|path| path.root().to_owned()).collect();
                    let rows = landed.rows(name, Newest::Holding(&roots), &roots).await?;
                    // rows that nobody can tell from those of the next sync are of no use: old ones do not say which sync
                    // brought them, and those of another installation may say a later one
                    let is_told = |one: &LandingRow| one.sync_id > 0 && Some(one.sync_id) <= row.last_ended_job;
                    let told = rows.iter().all(is_told);
                    let salt = uuid::Uuid::now_v7().simple().to_string();
                    KeptValues::of(rows.iter().filter(|_| told).map(|one| one.data.get()), key, &unknown, salt)
                }
                None => None,
            };
            tracing::info!(
                connection.name = %connection.name,
                "connection {}: stream {name}: {} landed records with fields that went are kept for comparison",
                connection.name, kept.as_ref().map_or(0, KeptValues::records)
            );
            let job = row.last_ended_job.unwrap_or(0);
            let mut arrival = Arrival { gone, came: question.optional(), job, kept, known, compared: None };
            if arrival.kept.is_none() {
                arrival.found(Sampled::nothing(question));
            }
            arrivals.insert(name.clone(), arrival);
        }
        self.note_arrivals(row, &arrivals, lease).await?;
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
        let Some((drifted, landed)) = self.drifted_in_landing(gathered, connection, row)? else {
            return Ok(OutcomeKind::Unchanged);
        };
        let mut arrivals = drifted.arrivals.clone();
        for (name, question) in &drifted.questions {
            let Some(arrival) = arrivals.get_mut(name).filter(|arrival| arrival.is_awaited()) else { continue };
            let compared = match (landed.key(name), &arrival.kept) {
                (Some(key), Some(kept)) => {
                    let roots: Vec<String> = question.present.iter().map(|path| path.root().to_owned()).collect();
                    let rows = landed.rows(name, Newest::After(arrival.job), &roots).await?;
                    kept.compare(rows.iter().map(|one| one.data.get()), key, &landed.landed_of(name, question))
                }
                // an edit of the spec took its key away
                _ => Some(Sampled::nothing(question)),
            };
            arrival.job = row.last_ended_job.unwrap_or(arrival.job).max(arrival.job);
            if let Some(compared) = compared {
                tracing::info!(
                    connection.name = %connection.name,
                    "connection {}: stream {name}: values of {} fields that went were compared with what landed since",
                    connection.name, question.gone.len()
                );
                arrival.found(compared);
            }
        }
        self.note_arrivals(row, &arrivals, lease).await?;
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

    /// A sync that began before the engine knew what came lands nothing of it: only later ones count.
    pub(super) async fn await_later_syncs(
        &self,
        row: &ConnectionRow,
        lock: &Catalog,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let (Some(_), Some(id)) = (&self.doors.newest, row.objects.get(&ObjectKind::Connection)) else { return Ok(()) };
        let mut arrivals = self.doors.registry.arrivals(row.id).await?;
        let is_awaited = |name: &StreamName, arrival: &Arrival| arrival.is_awaited() && arrival.is_taken_in(name, lock);
        if !arrivals.iter().any(|(name, arrival)| is_awaited(name, arrival)) {
            return Ok(());
        }
        let Some(newest) = self.doors.engine.jobs(id, 1).await?.pop() else { return Ok(()) };
        for (_, arrival) in arrivals.iter_mut().filter(|(name, arrival)| is_awaited(name, arrival)) {
            arrival.job = arrival.job.max(newest.id);
        }
        self.note_arrivals(row, &arrivals, lease).await
    }

    /// Forgets the old values of streams that wait no more: what came was rejected, or nothing is committed by rule now.
    pub(super) async fn forget_kept(
        &self,
        drifted: &Drifted,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let mut arrivals = drifted.arrivals.clone();
        let given_up =
            arrivals.iter_mut().filter(|(name, arrival)| arrival.is_awaited() && !drifted.awaited.contains(*name));
        let mut any = false;
        for (name, arrival) in given_up {
            let asked = drifted.questions.get(name).map(Sampled::nothing).unwrap_or_default();
            arrival.found(asked);
            any = true;
        }
        if any { self.note_arrivals(row, &arrivals, lease).await } else { Ok(()) }
    }

    /// Records what is awaited and what was found; what was drafted by what was known before is drafted anew.
    async fn note_arrivals(&self, row: &ConnectionRow, arrivals: &Arrivals, lease: &Lease) -> Result<(), StepError> {
        self.doors.registry.set_arrivals(lease, arrivals).await?;
        self.cache.lock().expect("no panic while held").repairs.remove(&row.id);
        Ok(())
    }

    /// The drift of a connection and its streams in landing.
    fn drifted_in_landing<'a>(
        &'a self,
        gathered: &'a Gathered,
        connection: &'a Connection,
        row: &ConnectionRow,
    ) -> Result<Option<(&'a Drifted, Landed<'a>)>, StepError> {
        let drifted = gathered.drifted.get(&row.id).map(|drifted| &**drifted);
        Ok(drifted.zip(self.in_landing(connection, row)?))
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

    /// The key and these fields of the newest rows.
    async fn rows(
        &self,
        name: &StreamName,
        wanted: Newest<'_>,
        fields: &[String],
    ) -> Result<Vec<LandingRow>, StepError> {
        let Some(stream) = self.lock.catalog.streams.get(name) else { return Ok(Vec::new()) };
        let all: Vec<String> = stream.columns().into_iter().map(|(path, _)| path.root().to_owned()).collect();
        let key = self.key(name).unwrap_or_default();
        let of_key = key.iter().map(|path| path.root().to_owned());
        let given: BTreeSet<String> = of_key.chain(fields.iter().cloned()).collect();
        let landed = LandedStream { name, fields: &all, key };
        Ok(self.newest.newest(&self.place, landed, wanted, &given, RECORDS).await?)
    }
}
