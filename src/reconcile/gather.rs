//! Gathers everything a plan is made from: the committed state, the registry, branches, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::drifted::Drifted;
use super::landed::{is_expected, to_normalize};
use super::onboard::{join_secrets, lock_draft};
use super::reverted::overruling;
use super::{Ask, Offered, Policy, Reconciler, TurnError, text_of};
use crate::diag::Diagnostic;
use crate::drift::Change;
use crate::model::{CommitDraft, CommitId, ConnectionId, ConnectionRef, Fingerprint, RepoPath, StreamName};
use crate::plan::{Facts, Limits, Live, Plan, RepairFacts, World};
use crate::ports::{ConnectionRow, ConnectionStatus, DriftRow, DriftStatus, Intent, RepairBranch, RepoInfo, Snapshot};
use crate::spec::{self, Connection, Desired, Lock, Rejection, WhenBreaking};

/// Contents by path.
pub(super) type Files = BTreeMap<RepoPath, Arc<[u8]>>;

/// How long the fingerprint of a secret counts: files with secrets are not read at each turn.
const SECRETS_COUNT: TimeDelta = TimeDelta::seconds(30);

/// The keyed fingerprint of a connection's settings, or why there is none.
pub(super) struct KnownSecrets {
    /// [`Connection::digest`] of the settings.
    digest: String,
    at: DateTime<Utc>,
    fingerprint: Result<String, String>,
}

/// A committed state, checked and resolved.
pub(super) struct Resolved {
    pub(super) commit: Option<CommitId>,
    /// What the settings said about specs.
    settings: (spec::EngineKind, spec::Mode, spec::Schedule),
    pub(super) files: Files,
    /// The text in force of each file; only of the committed state.
    pub(super) good: Arc<BTreeMap<String, String>>,
    pub(super) desired: Arc<Desired>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Everything a plan is made from, at one moment.
pub struct Gathered {
    pub(super) resolved: Arc<Resolved>,
    /// Branch, tip and what blocks commits.
    pub info: RepoInfo,
    /// What the registry remembers.
    pub rows: Vec<ConnectionRow>,
    index: Index,
    /// Open drifts.
    pub drifts: Vec<DriftRow>,
    facts: BTreeMap<ConnectionId, Facts>,
    drifted: BTreeMap<ConnectionId, Arc<Drifted>>,
    drives_itself: bool,
    engine_down: Option<String>,
    limits: Limits,
    /// When it was gathered.
    pub now: DateTime<Utc>,
}

/// Where rows lie in the list.
struct Index {
    by_id: BTreeMap<ConnectionId, usize>,
    /// The rows that a spec without a lock may go on with.
    without_lock: BTreeMap<ConnectionRef, usize>,
}

impl Index {
    fn new(rows: &[ConnectionRow], desired: &Desired) -> Self {
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

/// Effects without a known outcome, by connection.
type Open = BTreeMap<ConnectionId, Vec<Intent>>;

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
        drifted.map(|drifted| held(connection, drifted)).unwrap_or_default()
    }
}

fn held(connection: &Connection, drifted: &Drifted) -> BTreeSet<StreamName> {
    match connection.drift.when_breaking {
        WhenBreaking::HoldStream => drifted.breaking_streams(),
        WhenBreaking::Continue => BTreeSet::new(),
    }
}

impl Reconciler {
    /// Reads everything afresh; what only depends on unchanged inputs comes from the cache. Changes nothing outside.
    pub async fn gather(&self, limits: Option<&Limits>) -> Result<Gathered, TurnError> {
        let policy = self.policy();
        if !self.surveys_apart.load(Ordering::Relaxed) {
            self.survey().await?;
        }
        let info = self.doors.repo.info().await?;
        let rows = self.doors.registry.connections().await?;
        let resolved = self.resolve_committed(&info, &policy, &rows).await?;
        let drifts = self.doors.registry.drifts(None, true).await?;
        let mut open = Open::new();
        for intent in self.doors.registry.intents(None).await? {
            open.entry(intent.connection).or_default().push(intent);
        }
        let branches = if rows.is_empty() { Vec::new() } else { self.doors.repo.repair_branches().await? };
        let branches = branches.into_iter().map(|branch| (branch.name.clone(), branch)).collect();
        let mut gathered = Gathered {
            index: Index::new(&rows, &resolved.desired),
            resolved,
            info,
            rows,
            drifts,
            facts: BTreeMap::new(),
            drifted: BTreeMap::new(),
            drives_itself: self.doors.engine.manner().drives_itself,
            engine_down: self.engine_down(),
            limits: limits.cloned().unwrap_or(policy.limits),
            now: self.doors.clock.now(),
        };
        let by_id: BTreeMap<ConnectionId, &Connection> = {
            let desired = gathered.resolved.desired.clone();
            let mut map = BTreeMap::new();
            for name in desired.connections.keys() {
                let connection = &gathered.resolved.desired.connections[name];
                if let Some(row) = gathered.row_of(connection) {
                    map.insert(row.id, name.clone());
                }
            }
            map.into_iter().map(|(id, name)| (id, &gathered.resolved.desired.connections[&name])).collect()
        };
        let mut facts = BTreeMap::new();
        let mut drifted = BTreeMap::new();
        for row in &gathered.rows {
            let known = match by_id.get(&row.id) {
                Some(connection) => {
                    let (known, repair) = self.facts(&gathered, connection, row, &branches, &open).await?;
                    drifted.extend(repair.map(|repair| (row.id, repair)));
                    known
                }
                None => Facts { removal: self.removal(row), ..Facts::default() },
            };
            facts.insert(row.id, known);
        }
        drop(by_id);
        gathered.facts = facts;
        gathered.drifted = drifted;
        Ok(gathered)
    }

    async fn resolve_committed(
        &self,
        info: &RepoInfo,
        policy: &Policy,
        rows: &[ConnectionRow],
    ) -> Result<Arc<Resolved>, TurnError> {
        let cached = self.cache.lock().expect("no panic while held").resolution.clone();
        if let Some(cached) =
            cached.filter(|c| c.commit.is_some() && c.commit == info.head && c.settings == policy.specs())
        {
            return Ok(cached);
        }
        let snapshot = self.doors.repo.committed().await?;
        let known = self.cache.lock().expect("no panic while held").last_good.clone();
        let last_good = match known {
            Some(known) => known,
            None => Arc::new(self.doors.registry.last_good().await?),
        };
        let (mut resolved, mut good) = resolve(snapshot, &last_good, policy);
        // What a removed spec said about its removal is needed until that is done.
        for row in rows.iter().filter(|row| row.status != ConnectionStatus::Retired) {
            let path = spec::names::spec_path(&row.name);
            if let Some(text) = last_good.get(path.as_str()) {
                good.entry(path.to_string()).or_insert_with(|| text.clone());
            }
        }
        let good = Arc::new(good);
        resolved.good = good.clone();
        let resolved = Arc::new(resolved);
        let mut cache = self.cache.lock().expect("no panic while held");
        cache.unsaved |= good != last_good;
        cache.last_good = Some(good);
        cache.resolution = Some(resolved.clone());
        Ok(resolved)
    }

    /// Keeps the last good specs of what was gathered: before anything is carried out, so that no spec acts that would be
    /// forgotten. The first time it also removes stale leases.
    pub async fn begin_work(&self) -> Result<(), TurnError> {
        let (unsaved, tidied) = {
            let mut cache = self.cache.lock().expect("no panic while held");
            (cache.last_good.clone().filter(|_| cache.unsaved), std::mem::replace(&mut cache.tidied, true))
        };
        if !tidied {
            self.doors.registry.drop_stale_leases().await?;
        }
        if let Some(good) = unsaved {
            self.doors.registry.set_last_good(&good).await?;
            self.cache.lock().expect("no panic while held").unsaved = false;
        }
        Ok(())
    }

    /// What a connection's source showed at its last look, as far as the connection selects it.
    pub async fn seen(
        &self,
        gathered: &Gathered,
        id: ConnectionId,
    ) -> Result<Option<crate::model::Catalog>, TurnError> {
        let Some(row) = gathered.row(id) else { return Ok(None) };
        let whole = self.look_catalog(row).await?;
        let selection = gathered
            .desired()
            .connections
            .values()
            .find(|c| gathered.row_of(c).is_some_and(|r| r.id == id))
            .map(|c| &c.streams);
        Ok(whole.map(|whole| {
            selection.map_or_else(|| (*whole).clone(), |selection| spec::select_present(&whole, selection))
        }))
    }

    /// What a removed connection's last good spec said about removal, and how far it let `aam` go.
    fn removal(&self, row: &ConnectionRow) -> Option<(spec::OnDelete, spec::Mode)> {
        let cap = self.policy().mode_cap;
        let cache = self.cache.lock().expect("no panic while held");
        let path = spec::names::spec_path(&row.name);
        let text = cache.last_good.as_ref()?.get(path.as_str())?;
        spec::removal_of(&path, text).map(|(on_delete, mode)| (on_delete, mode.min(cap)))
    }

    async fn facts(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        branches: &BTreeMap<String, RepairBranch>,
        open: &Open,
    ) -> Result<(Facts, Option<Arc<Drifted>>), TurnError> {
        let branch_name = crate::repair::branch(&connection.name);
        let branch = branches.get(&branch_name);
        let intents = open.get(&row.id).map_or(&[][..], Vec::as_slice);
        let syncing = intents.iter().any(|intent| intent.effect == "sync");
        let mut facts = Facts {
            secrets: Some(self.known_secrets(connection, gathered.now)),
            branch: branch.map(|branch| (branch.name.clone(), branch.edited && !branch.merged)),
            branch_in_use: branch.is_some_and(|branch| branch.checked_out),
            look_asked: self.is_asked(Ask::Look, &connection.name),
            sync_asked: self.is_asked(Ask::Sync, &connection.name),
            again: self.is_tried_again(&connection.name),
            syncing,
            unsettled: intents.iter().any(|intent| !is_expected(intent, syncing, row)),
            unnormalized: to_normalize(row, connection, intents),
            held: row.held.clone(),
            ..Facts::default()
        };
        self.engine_facts(connection, row, &mut facts);
        let whole = self.look_catalog(row).await?;
        facts.lock = match self.lock_to_commit(gathered, connection, row, whole.as_deref()).await? {
            Ok(lock) => lock,
            Err(why) => {
                facts.blocked = Some(why);
                None
            }
        };
        if self.refusal(row.id, Offered::AsBranch).is_none()
            && let Some(edit) = self.overruled(gathered, connection, row).await?
        {
            facts.lock = Some(overruling(connection, facts.lock.take(), edit));
        }
        if facts.lock.is_some() {
            facts.blocked = self.refusal(row.id, Offered::AsBranch);
        }
        let Some(lock) = connection.lock.as_ref().filter(|_| facts.lock.is_none() && facts.blocked.is_none()) else {
            return Ok((facts, None));
        };
        if let Err(problems) = spec::configure(connection, &lock.catalog) {
            facts.blocked = Some(spec::describe_problems(&problems));
            return Ok((facts, None));
        }
        // Without a look nothing is known of what is held.
        let Some(whole) = whole else { return Ok((facts, None)) };
        let Some(drifted) = self.work_out(gathered, connection, row, lock, &whole) else {
            facts.held.clear();
            return Ok((facts, None));
        };
        let proposed = drifted.proposed();
        let branch_current = match (branch, &proposed) {
            (Some(branch), Some((_, draft))) => self.carries(branch, draft).await?,
            _ => false,
        };
        let mut taken_back = self.taken_back(gathered, connection, row, &drifted).await?;
        if let (Ok(Some(_)), Some(why)) = (&taken_back, self.refusal(row.id, Offered::Nowhere)) {
            taken_back = Err(why);
        }
        let rejected = drifted.rejected().map(|(target, _, rejection)| (target, rejection.clone()));
        let rejection_noted = match &rejected {
            Some((target, _)) => self.is_noted_as_rejected(row.id, &drifted.changes(target)).await?,
            None => false,
        };
        facts.repair = Some(RepairFacts {
            automatic: drifted.automatic(),
            taken_back,
            proposed,
            rejected,
            rejection_noted,
            branch: branch_name,
            branch_current,
            breaking: !drifted.breaking_streams().is_empty(),
            automatic_breaking: drifted.automatic_breaks(),
        });
        if gathered.drives_itself {
            facts.held = held(connection, &drifted);
        }
        Ok((facts, Some(drifted)))
    }

    /// What the last survey showed of the engine's connection.
    fn engine_facts(&self, connection: &Connection, row: &ConnectionRow, facts: &mut Facts) {
        let surveyed = self.surveyed();
        let Some(seen) = surveyed.of(row.id) else { return };
        facts.live = seen.live.clone();
        let known = row.last_ended_job.unwrap_or(0);
        facts.started = seen.job.as_ref().map(|job| job.id).filter(|job| *job > known && !facts.syncing);
        let changed = row.applied_digest.as_ref() != Some(&connection.digest) || seen.live == Live::Free;
        let edited = matches!(seen.live, Live::Edited(_));
        // What was adopted without its secrets gets them with the first write.
        if (changed || edited || row.secrets.is_none())
            && let Some(Ok(wanted)) = self.wanted(connection, row)
        {
            facts.writes = super::live::differences(&seen.properties, &wanted);
            if row.secrets.is_none() {
                let (source, destination) = (&connection.source.name, &connection.destination.name);
                facts
                    .writes
                    .push(format!("source {source} and destination {destination} with their settings and secrets"));
            }
            // git may have followed the edit by now
            if let Some(agreed) = seen.agreed.as_ref().filter(|_| edited) {
                let edited = agreed.edited(&wanted, &seen.properties);
                facts.live = if edited.is_empty() { Live::Free } else { Live::Edited(edited.into_iter().collect()) };
            }
        }
    }

    async fn is_noted_as_rejected(&self, id: ConnectionId, changes: &[Change]) -> Result<bool, TurnError> {
        let drifts = self.doors.registry.drifts(Some(id), false).await?;
        Ok(drifts.iter().any(|drift| drift.status == DriftStatus::Rejected && drift.changes == changes))
    }

    /// Whether the branch holds exactly these edits.
    pub(super) async fn carries(&self, branch: &RepairBranch, draft: &CommitDraft) -> Result<bool, TurnError> {
        for edit in &draft.edits {
            if branch.edited || self.doors.repo.file_at(&branch.tip, &edit.path).await? != edit.after {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// [`Self::secrets_of`], from the cache while the specs are the same and it is young.
    fn known_secrets(&self, connection: &Connection, now: DateTime<Utc>) -> Result<String, String> {
        let counts = |known: &&KnownSecrets| {
            known.digest == connection.digest && known.at <= now && now < known.at + SECRETS_COUNT
        };
        if let Some(known) =
            self.cache.lock().expect("no panic while held").secrets.get(&connection.name).filter(counts)
        {
            return known.fingerprint.clone();
        }
        let fingerprint = self.secrets_of(connection);
        let known = KnownSecrets { digest: connection.digest.clone(), at: now, fingerprint: fingerprint.clone() };
        self.cache.lock().expect("no panic while held").secrets.insert(connection.name.clone(), known);
        fingerprint
    }

    pub(super) fn secrets_of(&self, connection: &Connection) -> Result<String, String> {
        let source = self.handle(&connection.source).map_err(|e| e.to_string())?;
        let destination = self.handle(&connection.destination).map_err(|e| e.to_string())?;
        Ok(join_secrets(&source, &destination))
    }

    /// Why the last commit for this connection was refused, if it is of this kind and while it rests.
    fn refusal(&self, id: ConnectionId, offered: Offered) -> Option<String> {
        let cache = self.cache.lock().expect("no panic while held");
        let commit = cache.resolution.as_ref().and_then(|resolution| resolution.commit.as_ref());
        let refusal = cache.refused.get(&id)?;
        let rests =
            refusal.offered == offered && refusal.until > self.doors.clock.now() && refusal.commit.as_ref() == commit;
        rests.then(|| refusal.why.clone())
    }

    /// The source's whole catalog as last seen; `None` if it could not be seen.
    pub(super) async fn look_catalog(
        &self,
        row: &ConnectionRow,
    ) -> Result<Option<Arc<crate::model::Catalog>>, TurnError> {
        let Some(Ok(fingerprint)) = row.look.as_ref().map(|look| &look.seen) else { return Ok(None) };
        let cached = self.cache.lock().expect("no panic while held").observed.get(&row.id).cloned();
        if let Some((_, catalog)) = cached.filter(|(known, _)| known == fingerprint) {
            return Ok(Some(catalog));
        }
        let Some(catalog) = self.doors.registry.observed(row.id, fingerprint).await? else { return Ok(None) };
        let catalog = Arc::new(catalog);
        self.cache.lock().expect("no panic while held").observed.insert(row.id, (fingerprint.clone(), catalog.clone()));
        Ok(Some(catalog))
    }

    /// A lock that must be written, and why: it is missing, a spec edit changes what it holds, or its version lags.
    /// The inner error: the spec names something that neither lock nor source has.
    async fn lock_to_commit(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        whole: Option<&crate::model::Catalog>,
    ) -> Result<Result<Option<(String, CommitDraft)>, String>, TurnError> {
        if row.version == 0 {
            return Ok(Ok(None));
        }
        let files = &gathered.resolved.files;
        let draft = |lock: Lock, why: &str| {
            let lock = spec::lock::sealed(lock);
            (why.to_owned(), lock_draft(connection, text_of(files, &connection.lock_path), &lock, why))
        };
        let Some(lock) = &connection.lock else {
            if files.contains_key(&connection.lock_path) {
                return Ok(Err(format!(
                    "{} is broken: mend it, or delete it to have it written anew",
                    connection.lock_path
                )));
            }
            let Some(last) = self.doors.registry.versions(row.id).await?.pop() else { return Ok(Ok(None)) };
            let Ok(catalog) = crate::model::Catalog::from_body(&last.body) else { return Ok(Ok(None)) };
            return Ok(Ok(Some(draft(
                Lock { id: row.id, version: row.version, fingerprint: last.fingerprint, catalog },
                "it is missing",
            ))));
        };
        match spec::reselect(&lock.catalog, whole, &connection.streams) {
            Err(problems) => return Ok(Err(spec::describe_problems(&problems))),
            Ok(Some(catalog)) => {
                return Ok(Ok(Some(draft(
                    Lock { version: row.version + 1, catalog, ..lock.clone() },
                    "extended for a spec edit",
                ))));
            }
            Ok(None) => {}
        }
        let lags = row.fingerprint.as_ref() == Some(&lock.fingerprint) && lock.version != row.version;
        Ok(Ok(
            lags.then(|| draft(Lock { version: row.version, ..lock.clone() }, "its version lags behind the registry"))
        ))
    }

    /// The drift of a connection, from the cache where the committed state and the look are as they were. The repair holds
    /// the files it edits as they stand in that state, entities and earlier drift files included.
    fn work_out(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        lock: &Lock,
        whole: &crate::model::Catalog,
    ) -> Option<Arc<Drifted>> {
        let look = row.look.as_ref()?.seen.as_ref().ok()?;
        let ask_for_all = self.refusal(row.id, Offered::AsBranch).is_some();
        let from = WorkedFrom { resolved: gathered.resolved.clone(), look: look.clone(), ask_for_all };
        let cached = self.cache.lock().expect("no panic while held").repairs.get(&row.id).cloned();
        if let Some((_, drifted)) = cached.filter(|(known, _)| known.is(&from)) {
            return drifted;
        }
        let (files, desired) = (&gathered.resolved.files, &gathered.resolved.desired);
        let drifted = Drifted::work_out(connection, lock, whole, files, desired, ask_for_all).map(Arc::new);
        self.cache.lock().expect("no panic while held").repairs.insert(row.id, (from, drifted.clone()));
        drifted
    }
}

/// What a drift was worked out from.
#[derive(Clone)]
pub(super) struct WorkedFrom {
    resolved: Arc<Resolved>,
    look: Fingerprint,
    ask_for_all: bool,
}

impl WorkedFrom {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.resolved, &other.resolved) && self.look == other.look && self.ask_for_all == other.ask_for_all
    }
}

pub(super) fn resolve(
    snapshot: Snapshot,
    last_good: &BTreeMap<String, String>,
    policy: &Policy,
) -> (Resolved, BTreeMap<String, String>) {
    let input = spec::Input {
        files: &snapshot.files,
        unreadable: &snapshot.unreadable,
        last_good,
        engine: policy.engine,
        mode_cap: policy.mode_cap,
        look: policy.look.clone(),
    };
    let resolution = spec::resolve(&input);
    let mut diagnostics = resolution.diagnostics;
    diagnostics.extend(crate::mapping::check(&resolution.desired));
    diagnostics.sort();
    let desired = Arc::new(resolution.desired);
    let resolved = Resolved {
        commit: snapshot.commit,
        settings: policy.specs(),
        files: snapshot.files,
        good: Arc::default(),
        desired,
        diagnostics,
    };
    (resolved, resolution.good)
}
