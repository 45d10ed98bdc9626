//! Repairs that change how records are mapped are tried on landed ones before they are offered.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::drifted::Drifted;
use super::landed::{self, Mapped, MappedStream};
use super::{Gathered, OutcomeKind, Reconciler, StepError};
use crate::drift::{Change, stream_now};
use crate::model::StreamName;
use crate::ports::{ConnectionRow, LandedStream, LandingRow, Lease};
use crate::repair::{Part, Trials, try_out};
use crate::spec::Connection;

/// So many records are tried: one in a hundred shows, and a reviewer does not wait.
const RECORDS: u32 = 500;

impl Reconciler {
    /// Tries every part of a repair that was not tried yet.
    pub(super) async fn try_repair(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let look = row.look.as_ref().and_then(|look| look.seen.as_ref().ok());
        let (Some(drifted), Some(look)) = (gathered.drifted.get(&row.id), look) else {
            return Ok(OutcomeKind::Unchanged);
        };
        let (Some(lock), Some(landed)) = (&connection.lock, landed::in_force(gathered, connection, &BTreeSet::new())?)
        else {
            return Ok(OutcomeKind::Unchanged);
        };
        let digests = landed::digests(gathered, connection);
        let mut tried = self.doors.registry.trials(row.id, look).await?;
        for part in drifted.repair.offered().filter(|part| part.remaps(connection)) {
            let changes: Vec<Change> = part.assessment.changes.iter().map(|c| c.change.clone()).collect();
            let before = landed.clone().compile(&lock.catalog)?;
            // what a person has to finish is no fault of this step
            let after = landed.clone().edited(&part.commit.edits, &changes).compile(&part.lock.catalog);
            let after = after.map_err(|why| why.to_string());
            let mut trials = Vec::new();
            for old in before.streams.iter().filter(|old| touches(part, &old.name)) {
                let now = stream_now(&changes, &old.name);
                let new = after.as_ref().map_err(String::as_str).map(|after| {
                    let same = |new: &&MappedStream| new.name == *now && new.mapping.entity() == old.mapping.entity();
                    after.streams.iter().find(same)
                });
                let new = match new {
                    Ok(Some(new)) => Ok(&new.mapping),
                    Ok(None) => continue,
                    Err(why) => Err(why),
                };
                let rows = self.some_rows(connection, row, &before, old).await?;
                let records = rows.iter().map(|row| row.data.get());
                trials.push(try_out((&old.name, now), &changes, (&old.mapping, new), records));
            }
            tried.insert(key(part, connection, &digests), trials);
        }
        self.doors.registry.set_trials(lease, look, &tried).await?;
        self.cache.lock().expect("no panic while held").repairs.remove(&row.id);
        Ok(OutcomeKind::Applied)
    }

    async fn some_rows(
        &self,
        connection: &Connection,
        row: &ConnectionRow,
        mapped: &Mapped,
        stream: &MappedStream,
    ) -> Result<Vec<LandingRow>, StepError> {
        let place = self.place(connection, row, mapped)?;
        let landed = LandedStream { name: &stream.name, fields: &stream.fields, key: stream.mapping.key() };
        Ok(self.doors.landing.read(&place, landed, None, RECORDS).await?.rows)
    }
}

fn touches(part: &Part, stream: &StreamName) -> bool {
    part.assessment.changes.iter().any(|c| part.assessment.stream_before(&c.change) == stream)
}

impl Drifted {
    /// Gives the parts of the repair what came of them before. `digests` are those of the committed mappings.
    pub(super) fn recall(&mut self, connection: &Connection, digests: &[Digests], tried: &Trials) {
        for part in self.repair.offered_mut().filter(|part| part.remaps(connection)) {
            part.trials = tried.get(&key(part, connection, digests)).cloned();
            self.untried |= part.trials.is_none();
        }
    }

    /// Whether what is automatic gives other records than before.
    pub(super) fn is_refuted(&self) -> bool {
        let trials = self.repair.automatic.iter().flat_map(|part| &part.trials).flatten();
        trials.into_iter().any(|trial| !trial.is_as_before())
    }
}

/// By which mapping a stream becomes an entity.
type Digests = (StreamName, String, String);

/// What a trial is of: from which catalog to which, the mapping after it, and the committed mappings with their entities.
fn key(part: &Part, connection: &Connection, digests: &[Digests]) -> String {
    let mapping = connection.mapping.as_ref().map(|mapping| &mapping.path);
    let edit = part.commit.edits.iter().find(|edit| Some(&edit.path) == mapping).map(|edit| &edit.after);
    let of = (part.base(), &part.lock.fingerprint, edit, digests);
    hex::encode(Sha256::digest(serde_json::to_vec(&of).expect("texts are JSON")))
}
