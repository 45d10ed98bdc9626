//! Everything a plan is made from, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::drifted::Drifted;
use super::rejections::Rejections;
use super::resolved::Resolved;
use super::survey::Surveyed;
use crate::diag::Diagnostic;
use crate::drift::{Change, Radius};
use crate::model::{CommitDraft, ConnectionId, ConnectionRef, Fingerprint, StreamName};
use crate::plan::{Behind, Facts, Limits, Plan, World};
use crate::ports::{ConnectionRow, ConnectionStatus, DriftRow, RepoInfo};
use crate::spec::{Connection, Desired, Rejection, WhenBreaking};

/// Everything a plan is made from, at one moment.
pub struct Gathered {
    pub(super) resolved: Arc<Resolved>,
    /// Branch, tip and what blocks commits.
    pub info: RepoInfo,
    /// What the registry remembers.
    pub rows: Vec<ConnectionRow>,
    pub(super) index: Index,
    /// Open drifts.
    pub drifts: Vec<DriftRow>,
    /// Rejections that git does not hold yet.
    pub(super) unrecorded: Rejections,
    pub(super) facts: BTreeMap<ConnectionId, Facts>,
    pub(super) drifted: BTreeMap<ConnectionId, Arc<Drifted>>,
    pub(super) drives_itself: bool,
    pub(super) engine_down: Option<String>,
    pub(super) remote_down: Option<String>,
    /// That another state is in force, which is not here.
    pub(super) behind: Option<Behind>,
    /// What the engine showed last.
    pub(super) surveyed: Arc<Surveyed>,
    pub(super) limits: Limits,
    /// When it was gathered.
    pub now: DateTime<Utc>,
}

/// Where rows lie in the list.
pub(super) struct Index {
    by_id: BTreeMap<ConnectionId, usize>,
    /// The rows that a spec without a lock may go on with.
    without_lock: BTreeMap<ConnectionRef, usize>,
}

impl Index {
    pub(super) fn new(rows: &[ConnectionRow], desired: &Desired) -> Self {
        let locked: BTreeSet<ConnectionId> =
            desired.connections.values().filter_map(|c| c.lock.as_ref().map(|lock| lock.id)).collect();
        let mut free: Vec<usize> = (0..rows.len()).filter(|i| !locked.contains(&rows[*i].id)).collect();
        // Of those with one name the last counts.
        free.sort_by_key(|i| (rows[*i].status != ConnectionStatus::Retired, rows[*i].created_at));
        Self {
            by_id: rows.iter().enumerate().map(|(i, row)| (row.id, i)).collect(),
            without_lock: free.into_iter().map(|i| (rows[i].name.clone(), i)).collect(),
        }
    }
}

impl Gathered {
    /// The committed state, resolved.
    pub fn desired(&self) -> &Desired {
        &self.resolved.desired
    }

    /// Problems of the committed files.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.resolved.diagnostics
    }

    /// The plan that follows.
    pub fn plan(&self) -> Plan {
        self.plan_with(&self.resolved)
    }

    /// The plan that would follow if the work tree were committed.
    pub(super) fn plan_with(&self, resolved: &Resolved) -> Plan {
        crate::plan::plan(&World {
            commit: resolved.commit.as_ref(),
            desired: &resolved.desired,
            rows: &self.rows,
            drifts: &self.drifts,
            facts: &self.facts,
            drives_itself: self.drives_itself,
            engine_down: self.engine_down.as_deref(),
            remote_down: self.remote_down.as_deref(),
            behind: self.behind.as_ref(),
            limits: &self.limits,
            now: self.now,
        })
    }

    /// The row of a connection.
    pub(super) fn row(&self, id: ConnectionId) -> Option<&ConnectionRow> {
        self.index.by_id.get(&id).map(|i| &self.rows[*i])
    }

    /// The row of a declared connection, by its lock's id or else by name, as the plan sees it.
    pub fn row_of(&self, connection: &Connection) -> Option<&ConnectionRow> {
        match &connection.lock {
            Some(lock) => self.row(lock.id),
            None => self.index.without_lock.get(&connection.name).map(|i| &self.rows[*i]),
        }
    }

    /// Whether a sync is under way.
    pub fn is_syncing(&self, id: ConnectionId) -> bool {
        self.facts.get(&id).is_some_and(|facts| facts.syncing)
    }

    /// The drift file of a connection's open drift.
    pub fn drift_file(&self, id: ConnectionId) -> Option<String> {
        self.drifted.get(&id).and_then(|drifted| drifted.file().map(str::to_owned))
    }

    /// What a rejection would be about: what the lock would become if the open drift were approved, and its changes.
    pub fn open_drift(&self, id: ConnectionId) -> Option<(Fingerprint, Vec<Change>)> {
        let drifted = self.drifted.get(&id)?;
        let (target, _) = drifted.proposed()?;
        let changes = drifted.changes(&target);
        Some((target, changes))
    }

    /// What stands as rejected: its changes, the rejection, and the commit that would take it all the same.
    pub fn rejected_drift(&self, id: ConnectionId) -> Option<(Vec<Change>, &Rejection, CommitDraft)> {
        let drifted = self.drifted.get(&id)?;
        let (target, draft, rejection) = drifted.rejected()?;
        Some((drifted.changes(&target), rejection, draft))
    }

    /// What the drift that a person decides, or rejected, would make of the lock, and what it reaches.
    pub fn radius(&self, id: ConnectionId) -> Option<(&Fingerprint, &Radius)> {
        self.drifted.get(&id)?.decided()
    }

    pub(super) fn drifted(&self, id: ConnectionId) -> Option<Arc<Drifted>> {
        self.drifted.get(&id).cloned()
    }

    /// Streams that the engine's connection should leave out.
    pub(super) fn to_hold(&self, id: ConnectionId) -> BTreeSet<StreamName> {
        self.facts.get(&id).map(|facts| facts.held.clone()).unwrap_or_default()
    }

    /// Streams that a breaking drift holds.
    pub(super) fn held(&self, connection: &Connection) -> BTreeSet<StreamName> {
        let drifted = self.row_of(connection).and_then(|row| self.drifted.get(&row.id));
        drifted.map(|drifted| held(connection, drifted, self.now)).unwrap_or_default()
    }
}

/// Streams of a connection that its drift holds. A pinned one goes on with what it has, as long as the source can serve it.
pub(super) fn held(connection: &Connection, drifted: &Drifted, now: DateTime<Utc>) -> BTreeSet<StreamName> {
    match connection.drift.when_breaking {
        WhenBreaking::HoldStream if connection.pin.as_ref().is_some_and(|pin| pin.holds(now)) => {
            drifted.streams_without_source()
        }
        WhenBreaking::HoldStream => drifted.breaking_streams(),
        WhenBreaking::Continue => BTreeSet::new(),
    }
}
