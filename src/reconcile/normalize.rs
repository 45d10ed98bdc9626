//! From landed rows to events: what a sync brought, and dead letters whose mapping has changed since.

use std::sync::Arc;

use super::drifted::Drifted;
use super::landed::{self, LANDED, Mapped};
use super::{Gathered, OutcomeKind, Reconciler, StepError, TurnError};
use crate::canonical::{self, Replayed, StreamWork, Work};
use crate::drift::Change;
use crate::model::{FieldPath, StreamName};
use crate::ports::{ConnectionRow, JobState, LandingPlace, Lease, Refusal};
use crate::spec::Connection;

impl Reconciler {
    /// Maps the rows that landed up to `job` and appends what is new.
    pub(super) async fn normalize(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        row: &ConnectionRow,
        job: i64,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        if row.normalized_job.is_some_and(|normalized| normalized >= job) {
            return Ok(OutcomeKind::Unchanged);
        }
        let kind = match self.mapped_by(gathered, connection, row).await? {
            Some(mapped) => {
                self.append_events(gathered, connection, row, job, &mapped, lease).await?;
                OutcomeKind::Applied
            }
            None => OutcomeKind::Unchanged,
        };
        self.doors.registry.set_normalized(lease, job).await?;
        let running = self.open_sync(row).await?;
        for intent in self.doors.registry.intents(Some(row.id)).await? {
            if intent.effect == LANDED && running.as_ref().is_none_or(|sync| sync.key != intent.key) {
                self.doors.registry.settle(lease, intent.id).await?;
            }
        }
        Ok(kind)
    }

    async fn append_events(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        row: &ConnectionRow,
        job: i64,
        mapped: &Mapped,
        lease: &Lease,
    ) -> Result<(), StepError> {
        let newest = self.doors.registry.jobs(row.id, 1).await?.pop();
        let succeeded = newest.is_some_and(|newest| newest.id == job && newest.state == JobState::Succeeded);
        let landed = self.landed(row).await?;
        let (refreshed, mut held) = landed.map(|landed| (landed.refresh, landed.held)).unwrap_or_default();
        held.extend(gathered.held(connection));
        let place = self.place(connection, row, mapped)?;
        let mut work = work(gathered, connection, row, mapped, &place, lease);
        for (stream, one) in work.streams.iter_mut().zip(&mapped.streams) {
            let by_job = (succeeded && !held.contains(&one.name)).then_some(job);
            stream.replaced_by = by_job.filter(|_| one.mode.mirrors());
            stream.reread_by = by_job.filter(|_| one.mode.mirrors() || refreshed.contains(&one.name));
        }
        let summary =
            canonical::normalize(&*self.doors.landing, &*self.doors.events, &*self.doors.clock, &work, &|_| {}).await?;
        log_replayed(connection, summary.replayed);
        let total = summary.total();
        if total.upserts + total.deletes + total.dead_letters > 0 {
            tracing::info!(
                connection.name = %connection.name,
                "connection {}: {} upserts, {} deletes, {} dead letters from job {job}",
                connection.name, total.upserts, total.deletes, total.dead_letters
            );
        }
        Ok(())
    }

    pub(super) fn place(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        mapped: &Mapped,
    ) -> Result<LandingPlace, StepError> {
        let (_, destination) = self.handles(connection, row)?;
        Ok(LandingPlace {
            destination,
            namespace: connection.airbyte.namespace.clone(),
            prefix: connection.airbyte.prefix.clone(),
            streams: mapped.carried.clone(),
        })
    }

    /// How many dead letters another mapping refused than the committed one.
    pub(super) async fn to_replay(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        refusals: &[Refusal],
    ) -> Result<u64, TurnError> {
        if refusals.is_empty() {
            return Ok(0);
        }
        let digests = landed::digests(gathered, connection);
        let mut letters = 0;
        for refusal in refusals {
            let now = digests.iter().find(|(stream, entity, _)| *stream == refusal.stream && *entity == refusal.entity);
            if now.is_some_and(|(_, _, digest)| *digest != refusal.refused_by) {
                letters += self.doors.events.refused(row.id, refusal).await?;
            }
        }
        Ok(letters)
    }

    /// Maps dead letters again by the mapping in force, where another one refused them.
    pub(super) async fn replay(
        &self,
        gathered: &Arc<Gathered>,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let Some(mapped) = self.mapped_by(gathered, connection, row).await? else { return Ok(OutcomeKind::Unchanged) };
        let place = self.place(connection, row, &mapped)?;
        let work = work(gathered, connection, row, &mapped, &place, lease);
        let replayed = canonical::replay(&*self.doors.events, &*self.doors.clock, &work).await?;
        log_replayed(connection, replayed);
        Ok(if replayed == Replayed::default() { OutcomeKind::Unchanged } else { OutcomeKind::Applied })
    }
}

/// What is to be done for a connection, whatever its last sync did.
fn work<'a>(
    gathered: &Gathered,
    connection: &'a Connection,
    row: &ConnectionRow,
    mapped: &'a Mapped,
    place: &'a LandingPlace,
    lease: &'a Lease,
) -> Work<'a> {
    let drifted = gathered.drifted(row.id);
    let streams = mapped.streams.iter().map(|one| StreamWork {
        stream: one.name.clone(),
        fields: one.fields.clone(),
        mapping: &one.mapping,
        replaced_by: None,
        reread_by: None,
        gone: drifted.as_ref().map(|drifted| gone(drifted, &one.name)).unwrap_or_default(),
        undecided: drifted.as_ref().map(|drifted| drifted.undecided(&one.name)).unwrap_or_default(),
    });
    Work {
        lease,
        connection: &connection.name,
        place,
        catalog_version: row.version,
        mapping: &mapped.mapping,
        streams: streams.collect(),
    }
}

fn log_replayed(connection: &Connection, replayed: Replayed) {
    let Replayed { letters, events, stay } = replayed;
    if letters > 0 {
        tracing::info!(
            connection.name = %connection.name,
            "connection {}: {letters} dead letters mapped again: {events} events, {stay} stay", connection.name
        );
    }
}

/// The fields of a stream that an undecided drift says are gone, or have another name, with that drift in short.
fn gone(drifted: &Drifted, stream: &StreamName) -> Vec<(FieldPath, String)> {
    let proposed = drifted.proposed().map(|(target, _)| target);
    let Some(target) = proposed.or_else(|| drifted.rejected().map(|(target, ..)| target)) else { return Vec::new() };
    let changes = drifted.changes(&target).into_iter().filter(|change| change.stream() == stream);
    let fields = changes.filter_map(|change| match change {
        Change::FieldRemoved { field, .. } | Change::FieldRenamed { from: field, .. } => Some(field),
        _ => None,
    });
    fields.map(|field| (field, target.short().to_owned())).collect()
}
