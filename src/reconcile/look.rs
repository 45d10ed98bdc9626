//! Looks: one discover per source, noted for every connection that reads from it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Ask, Gathered, Outcome, OutcomeKind, Reconciler, StepError};
use crate::model::{Catalog, ConnectionId, ConnectionRef};
use crate::plan::{NO_STREAMS, Step};
use crate::ports::{ConnectionRow, Discovered, Lease, Look, ObjectKind, ResolvedConfig, recorded, sent};
use crate::spec::Connection;

/// So old may a look be that a connection which missed it takes over.
const FRESH: TimeDelta = TimeDelta::minutes(10);

impl Reconciler {
    /// Discovers the source that these connections share. A failure is noted as "could not look", which is neither
    /// "nothing changed" nor a failure of the connection.
    pub(super) async fn look(&self, gathered: &Arc<Gathered>, names: &[ConnectionRef]) -> Vec<Outcome> {
        let connections: Vec<&Connection> =
            names.iter().filter_map(|name| gathered.desired().connections.get(name)).collect();
        let Some(first) = connections.first() else { return Vec::new() };
        let outcome = |connection: &Connection, kind| Outcome {
            connection: connection.name.clone(),
            step: Step::Look.describe(),
            kind,
            retry_at: None,
        };
        let mut outcomes = Vec::new();
        let mut leased: Vec<(&Connection, &ConnectionRow)> = Vec::new();
        let mut leases = Vec::new();
        for connection in &connections {
            let Some(row) = gathered.row_of(connection) else {
                outcomes.push(outcome(connection, OutcomeKind::Skipped("not onboarded".into())));
                continue;
            };
            match self.take_lease(&connection.name, row.id).await {
                Ok(Some(lease)) => {
                    leased.push((connection, row));
                    leases.push(lease);
                }
                Ok(None) => outcomes.push(outcome(connection, OutcomeKind::Busy)),
                Err(error) => outcomes.push(outcome(connection, OutcomeKind::Failed(error.to_string()))),
            }
        }
        if leases.is_empty() {
            return outcomes; // whoever works on them sees the source meanwhile
        }
        let sibling = self.seen_by_sibling(&leased).await.ok().flatten();
        let discovered = match sibling {
            Some(_) => None,
            None => Some(self.with_renewal(&leases, sent("discover", self.discover(gathered, first))).await),
        };
        for ((connection, row), lease) in leased.into_iter().zip(&leases) {
            let noted = match (&discovered, sibling) {
                (Some(discovered), _) => {
                    self.answered(Ask::Look, &connection.name);
                    self.write_look(connection, row.look.as_ref(), discovered, lease).await
                }
                (None, Some((from, at))) if missed(row, at) => {
                    self.doors.registry.copy_look(lease, from).await.map(|()| OutcomeKind::Applied).map_err(Into::into)
                }
                (None, _) => Ok(OutcomeKind::Unchanged),
            };
            let looked = match noted {
                Ok(kind) => outcome(connection, kind),
                Err(error) => {
                    tracing::warn!(connection.name = %connection.name, "connection {}: noting a look: {error}", connection.name);
                    let retry_at = Some(self.next_try(&row.troubles, &Step::Look, &error, lease));
                    Outcome { retry_at, ..outcome(connection, OutcomeKind::Failed(error.to_string())) }
                }
            };
            self.note_troubles(&row.troubles, std::slice::from_ref(&looked), lease).await;
            if let Err(error) = self.doors.registry.release(lease).await {
                tracing::warn!(connection.name = %connection.name, "connection {}: giving its lease back: {error}", connection.name);
            }
            if let Some(Err(why)) = &discovered {
                tracing::warn!(connection.name = %connection.name, "connection {}: could not look: {why}", connection.name);
            }
            outcomes.push(looked);
        }
        outcomes
    }

    /// The connection that saw the source a moment ago, and when, while another that shares it missed that: it is new, or was
    /// busy. A discover may start a machine, and would show the same.
    async fn seen_by_sibling(
        &self,
        leased: &[(&Connection, &ConnectionRow)],
    ) -> Result<Option<(ConnectionId, DateTime<Utc>)>, StepError> {
        let asked = |connection: &Connection| self.is_asked(Ask::Look, &connection.name);
        if leased.iter().any(|(connection, _)| asked(connection)) {
            return Ok(None);
        }
        let mut newest: Option<(DateTime<Utc>, ConnectionId)> = None;
        for (_, row) in leased {
            let fresh = self.fresh_row(row.id).await?;
            let look = fresh.and_then(|row| row.look).filter(|look| look.seen.is_ok());
            newest = newest.max(look.map(|look| (look.at, row.id)));
        }
        let newest = newest.filter(|(at, _)| self.doors.clock.now() - at < FRESH);
        Ok(newest.filter(|(at, _)| leased.iter().any(|(_, row)| missed(row, *at))).map(|(at, id)| (id, at)))
    }

    async fn discover(&self, gathered: &Arc<Gathered>, connection: &Connection) -> Result<Discovered, String> {
        let discover = async {
            let id = gathered.row_of(connection).and_then(|row| row.objects.get(&ObjectKind::Source).cloned());
            let mut source = match self.handle(&connection.source) {
                // an engine that keeps the settings needs no secret to look
                Err(_) if id.is_some() && self.doors.engine.manner().drives_itself => {
                    self.handle_with(&connection.source, ResolvedConfig::nothing())
                }
                handle => handle?,
            };
            source.id = id;
            Ok::<_, StepError>(self.doors.engine.discover(&source).await?)
        };
        discover.await.map_err(|error| error.to_string())
    }

    /// A source without any stream is believed to be so when a second look in a row says it.
    async fn write_look(
        &self,
        connection: &Connection,
        last: Option<&Look>,
        discovered: &Result<Discovered, String>,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let discovered = match discovered {
            Ok(found) if is_doubtful(connection, last, &found.catalog) => Err(NO_STREAMS.to_owned()),
            other => other.as_ref().map_err(Clone::clone),
        };
        let look = Look {
            at: self.doors.clock.now(),
            seen: discovered.as_ref().map(|d| d.catalog.fingerprint()).map_err(Clone::clone),
        };
        let catalog = discovered.ok().map(|d| (&d.catalog, &d.raw));
        self.doors.registry.record_look(lease, &look, catalog).await?;
        recorded("discover");
        let same = last.is_some_and(|last| last.seen == look.seen);
        Ok(match &look.seen {
            Err(why) => OutcomeKind::Skipped(format!("could not look: {why}")),
            Ok(_) if same => OutcomeKind::Unchanged,
            Ok(_) => OutcomeKind::Applied,
        })
    }
}

/// Whether a catalog without a stream is none to go by yet: no lock says that there are none, and no look before showed the same.
pub(super) fn is_doubtful(connection: &Connection, last: Option<&Look>, found: &Catalog) -> bool {
    let locked = connection.lock.as_ref().is_none_or(|lock| !lock.catalog.streams.is_empty());
    let known = last.is_some_and(|last| last.is_doubted() || last.seen.as_ref() == Ok(&found.fingerprint()));
    found.streams.is_empty() && locked && !known
}

/// Whether a connection was not looked at when its source was.
fn missed(row: &ConnectionRow, at: DateTime<Utc>) -> bool {
    row.look.as_ref().is_none_or(|look| at - look.at >= FRESH)
}
