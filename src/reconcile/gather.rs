//! Gathers everything a plan is made from: the committed state, the registry, branches, and what follows from them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::carried::thawed;
use super::drifted::{Drifted, Seen};
use super::gathered::{Index, held};
use super::landed::{self, is_expected, to_normalize};
use super::moved::InUse;
use super::onboard::{join_secrets, lock_draft};
use super::resolved::Resolved;
use super::reverted::overruling;
use super::{Ask, Gathered, Offered, Reconciler, TurnError, text_of};
use crate::drift::rename::{Arrival, Arrivals, Sampled, Values};
use crate::drift::{self, Change};
use crate::model::{Catalog, CommitDraft, ConnectionId, Fingerprint, StreamName};
use crate::plan::approval::Way;
use crate::plan::{Facts, Limits, Live, RepairFacts, Step};
use crate::ports::{ConnectionRow, DriftStatus, Intent, RepairBranch, RepoInfo};
use crate::spec::{self, Connection, Lock};

/// Why nothing is committed by a rule where [approval] says so.
const BY_REQUEST: &str = "[approval] has the forge merge what a rule takes in";

/// How long the fingerprint of a secret counts: files with secrets are not read at each turn.
const SECRETS_COUNT: TimeDelta = TimeDelta::seconds(30);

/// The keyed fingerprint of a connection's settings, or why there is none.
pub(super) struct KnownSecrets {
    /// [`Connection::digest`] of the settings.
    digest: String,
    at: DateTime<Utc>,
    fingerprint: Result<String, String>,
}

/// Effects without a known outcome, by connection.
type Open = BTreeMap<ConnectionId, Vec<Intent>>;

/// Why nothing can be pushed now, if the remote cannot be reached.
fn remote_down(info: &RepoInfo) -> Option<String> {
    let trouble = info.remote.as_ref()?.trouble.as_ref()?;
    Some(format!("the repository's remote cannot be reached: {}", trouble.why))
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
        let unrecorded = self.doors.registry.rejections().await?;
        let resolved = self.joined(resolved, &rows, &unrecorded);
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
            remote_down: remote_down(&info),
            info,
            rows,
            drifts,
            unrecorded,
            facts: BTreeMap::new(),
            drifted: BTreeMap::new(),
            drives_itself: self.doors.engine.manner().drives_itself,
            engine_down: self.engine_down(),
            surveyed: self.surveyed(),
            behind: None,
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
        let in_use = match gathered.drives_itself {
            true => InUse::of(gathered.rows.iter().filter_map(|row| Some((row, *by_id.get(&row.id)?)))),
            false => InUse::default(),
        };
        let refusals = self.doors.events.refusals().await?;
        let mut facts = BTreeMap::new();
        let mut drifted = BTreeMap::new();
        for row in &gathered.rows {
            let known = match by_id.get(&row.id) {
                Some(connection) => {
                    let (mut known, repair) = self.facts(&gathered, connection, row, &branches, &open).await?;
                    known.blocked = known.blocked.or_else(|| in_use.moved(connection, row));
                    self.told_of_lock(connection, row, &mut known);
                    let refused = refusals.get(&row.id).map_or(&[][..], Vec::as_slice);
                    known.to_replay = self.to_replay(&gathered, connection, row, refused).await?;
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

    /// What a connection's source showed at its last look, as far as the connection selects it.
    pub async fn seen(&self, gathered: &Gathered, id: ConnectionId) -> Result<Option<Catalog>, TurnError> {
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

    async fn facts(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        branches: &BTreeMap<String, RepairBranch>,
        open: &Open,
    ) -> Result<(Facts, Option<Arc<Drifted>>), TurnError> {
        let (asked, by_rule) = (crate::repair::branch(&connection.name), crate::repair::rule_branch(&connection.name));
        // Which one is wanted is known when the repair is.
        let branch = branches.get(&asked).or_else(|| branches.get(&by_rule));
        let intents = open.get(&row.id).map_or(&[][..], Vec::as_slice);
        let syncing = intents.iter().any(|intent| intent.effect == "sync");
        if connection.mode < spec::Mode::Manage {
            // an ask that cannot be met now is none for later
            self.take_asked_sync(&connection.name);
        }
        let mut facts = Facts {
            secrets: Some(self.known_secrets(connection, gathered.now)),
            branch: branch.map(|branch| (branch.name.clone(), branch.edited && !branch.merged)),
            branch_in_use: branch.is_some_and(|branch| branch.stays),
            merged: merged(&connection.name, branches),
            look_asked: self.is_asked(Ask::Look, &connection.name),
            sync_asked: self.is_asked(Ask::Sync, &connection.name),
            again: self.is_tried_again(&connection.name),
            syncing,
            unsettled: intents.iter().any(|intent| !is_expected(intent, syncing, row)),
            unnormalized: to_normalize(row, connection, intents),
            held: row.held.clone(),
            ..Facts::default()
        };
        self.engine_facts(gathered, connection, row, &mut facts);
        let to_leave = |name: &String| {
            branches.get(name).filter(|branch| !branch.merged && !branch.edited && !branch.stays).map(|_| name.clone())
        };
        let rejections = crate::repair::rejection_branch(&connection.name);
        facts.unrecorded = self.unrecorded(gathered, connection, row, branches.get(&rejections)).await?;
        if facts.unrecorded.as_ref().is_some_and(|unrecorded| unrecorded.over) {
            facts.left.extend(to_leave(&rejections));
        }
        let live_branch = branches.get(&crate::repair::live_branch(&connection.name));
        facts.live_branch = live_branch
            .filter(|branch| !branch.stays && !branch.merged)
            .map(|branch| (branch.name.clone(), branch.edited));
        if let Live::Edited(edited) = &facts.live
            && connection.mode >= spec::Mode::Propose
            && connection.on_live_edit == spec::OnLiveEdit::Propose
        {
            facts.live_offer = self.live_offer(gathered, connection, row, (edited, live_branch)).await?;
        }
        let whole = self.look_catalog(row).await?;
        facts.lock = match self.lock_to_commit(gathered, connection, row, whole.as_deref()).await? {
            Ok(lock) => lock,
            Err(why) => {
                facts.blocked = Some(why);
                None
            }
        };
        let refusal = self.refusal(row.id, Offered::AsBranch);
        match (facts.lock.take(), self.overruled(gathered, connection, row).await?) {
            (None, None) => facts.left.extend(to_leave(&crate::repair::lock_branch(&connection.name))),
            // It is offered and rests until then; nothing else waits for it.
            (None, Some(_)) if refusal.is_some() => {}
            (due, Some(edit)) => (facts.lock, facts.blocked) = (Some(overruling(connection, due, edit)), refusal),
            (due, None) => (facts.lock, facts.blocked) = (due, refusal),
        }
        if facts.blocked.is_none() {
            facts.blocked = self.unapproved(gathered, connection, row, intents).await?;
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
        let Some(drifted) = self.work_out(gathered, connection, row, lock, &whole).await? else {
            facts.held.clear();
            if branches.contains_key(&asked) {
                facts.left.extend(to_leave(&by_rule));
            }
            return Ok((facts, None));
        };
        let (wanted, other) = if drifted.by_rule.is_some() { (&by_rule, &asked) } else { (&asked, &by_rule) };
        let branch = branches.get(wanted);
        facts.branch = branch.map(|branch| (branch.name.clone(), branch.edited && !branch.merged));
        facts.branch_in_use = branch.is_some_and(|branch| branch.stays);
        facts.left.extend(to_leave(other));
        facts.unsampled =
            self.doors.sampler.is_some() && connection.mode >= spec::Mode::Propose && !drifted.questions.is_empty();
        let looked_through = |name| drifted.arrivals.get(name).is_some_and(|a| row.last_ended_job <= Some(a.job));
        facts.unkept = !drifted.unkept.is_empty();
        facts.awaiting = !drifted.awaited.is_empty();
        facts.uncompared = drifted.awaited.iter().any(|name| {
            drifted.arrivals.get(name).is_some_and(|a| a.is_taken_in(name, &lock.catalog)) && !looked_through(name)
        });
        facts.untried = connection.mode >= spec::Mode::Propose && drifted.untried;
        let proposed = drifted.proposed();
        let branch_current = match (branch, &proposed) {
            // what was merged and taken back since would merge to nothing
            (Some(branch), Some((_, draft))) if !branch.merged => self.carries(branch, draft).await?,
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
            by_rule: drifted.by_rule.clone(),
            branch: wanted.clone(),
            branch_current,
            breaking: !drifted.breaking_streams().is_empty(),
            automatic_breaking: drifted.automatic_breaks(),
            awaits_sync: drifted.awaits_sync(),
            radius: drifted.decided().map(|(_, radius)| radius.clone()).unwrap_or_default(),
        });
        if gathered.drives_itself {
            facts.held = held(connection, &drifted, gathered.now);
        }
        Ok((facts, Some(drifted)))
    }

    /// What the last survey showed of the engine's connection.
    fn engine_facts(&self, gathered: &Gathered, connection: &Connection, row: &ConnectionRow, facts: &mut Facts) {
        let Some(seen) = gathered.surveyed.of(row.id) else { return };
        facts.live = seen.live.clone();
        let known = row.last_ended_job.unwrap_or(0);
        facts.started = seen.job.as_ref().map(|job| job.id).filter(|job| *job > known && !facts.syncing);
        let changed = row.applied_digest.as_ref() != Some(&connection.digest) || seen.live == Live::Free;
        let edited = matches!(seen.live, Live::Edited(_));
        // What was adopted without its secrets gets them with the first write.
        if (changed || edited || row.secrets.is_none())
            && let Some(Ok(wanted)) = self.wanted(connection, row)
        {
            let edits = seen.agreed.as_ref().map(|agreed| agreed.edited(&wanted, &seen.properties)).unwrap_or_default();
            facts.writes = super::live::differences_but(&seen.properties, &wanted, &edits);
            facts.as_declared = super::live::differences(&seen.properties, &wanted).is_empty();
            if row.secrets.is_none() {
                let (source, destination) = (&connection.source.name, &connection.destination.name);
                facts
                    .writes
                    .push(format!("source {source} and destination {destination} with their settings and secrets"));
            }
            // git may have followed the edit by now
            if edited && seen.agreed.is_some() {
                facts.live = if edits.is_empty() { Live::Free } else { Live::Edited(edits.into_iter().collect()) };
            }
            if let Live::Edited(edited) = &facts.live
                && connection.on_live_edit == spec::OnLiveEdit::Revert
            {
                (facts.reverts, facts.frozen) = thawed(edited, seen.agreed.as_ref(), &wanted);
            }
        }
    }

    /// What a lock that moved, and nothing else, would write to the engine's connection.
    fn told_of_lock(&self, connection: &Connection, row: &ConnectionRow, facts: &mut Facts) {
        let moved = connection.lock.as_ref().is_some_and(|lock| row.fingerprint.as_ref() != Some(&lock.fingerprint));
        let surveyed = self.surveyed();
        if let Some(seen) = surveyed.of(row.id).filter(|_| moved && facts.writes.is_empty())
            && let Some(Ok(wanted)) = self.wanted_but(connection, row, &facts.held)
        {
            let edits = seen.agreed.as_ref().map(|agreed| agreed.edited(&wanted, &seen.properties)).unwrap_or_default();
            facts.writes = super::live::differences_but(&seen.properties, &wanted, &edits);
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
    pub(super) async fn look_catalog(&self, row: &ConnectionRow) -> Result<Option<Arc<Catalog>>, TurnError> {
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
        whole: Option<&Catalog>,
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
            let Ok(catalog) = Catalog::from_body(&last.body) else { return Ok(Ok(None)) };
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
    async fn work_out(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        lock: &Lock,
        whole: &Catalog,
    ) -> Result<Option<Arc<Drifted>>, TurnError> {
        let Some((at, look)) = row.look.as_ref().and_then(|look| Some((look.at, look.seen.as_ref().ok()?))) else {
            return Ok(None);
        };
        let pinned = connection.pin.as_ref().is_some_and(|pin| pin.holds(gathered.now));
        let ask = match self.refusal(row.id, Offered::AsBranch) {
            _ if pinned => Some("the connection is pinned"),
            refused => refused.map(|_| "a commit by rule was refused"),
        };
        let in_trouble = |step: Step| row.troubles.contains_key(&step.describe());
        let (unkept, unsampled, untried) = (in_trouble(Step::Keep), in_trouble(Step::Sample), in_trouble(Step::Try));
        let troubles = (unkept, unsampled, untried);
        let remote_down = gathered.remote_down.is_some();
        let from = WorkedFrom { resolved: gathered.resolved.clone(), look: look.clone(), ask, remote_down, troubles };
        let cached = self.cache.lock().expect("no panic while held").repairs.get(&row.id).cloned();
        if let Some((_, drifted)) = cached.filter(|(known, _)| known.is(&from)) {
            return Ok(drifted);
        }
        let (files, desired) = (&gathered.resolved.files, &gathered.resolved.desired);
        let observed = drift::followed(&lock.catalog, whole, &connection.streams);
        let mut drifted = None;
        if !lock.fingerprint.is_of(&observed) {
            let registry = &self.doors.registry;
            let ((past, mut values), tried) = (self.hints(row, look).await?, registry.trials(row.id, look).await?);
            let arrivals = match self.doors.newest {
                Some(_) => registry.arrivals(row.id).await?,
                None => Arrivals::new(),
            };
            values.extend(landed_values(&arrivals, connection, lock, &observed));
            let by_request = self.policy().automatic == Way::Request;
            let may_keep = self.doors.newest.is_some()
                && ask.is_none()
                && !by_request
                && connection.mode == spec::Mode::Manage
                && connection.drift.repair == spec::RepairPolicy::Auto
                && self.may_take_in(connection);
            let keeping_fails = unkept;
            let seen = Seen { at, whole, observed, past, values, arrivals, may_keep, remote_down, keeping_fails };
            let draft = |ask: Option<&str>| {
                let mut drifted = Drifted::work_out(connection, lock, &seen, files, desired, ask)?;
                drifted.recall(connection, &landed::digests(gathered, connection), &tried);
                Some(drifted)
            };
            drifted = draft(ask);
            // no rule commits what could not be looked into, or gives other records than before
            let doubt = drifted.as_ref().and_then(|drifted| match drifted {
                drifted if unsampled && !drifted.questions.is_empty() => Some("values could not be compared for now"),
                drifted if untried && drifted.untried => Some("it could not be tried on landed records for now"),
                drifted if drifted.is_refuted() => Some("with it, landed records give something else than before"),
                drifted if !self.may_approve(connection, drifted) => Some("[approval] leaves it to a person"),
                _ => None,
            });
            if doubt.is_some() {
                drifted = draft(doubt);
            } else if let Some(first) = drifted.as_ref().filter(|d| by_request && d.repair.automatic.is_some()) {
                let rule = first.rule();
                drifted = draft(Some(BY_REQUEST));
                drifted.iter_mut().for_each(|drifted| drifted.by_rule.clone_from(&rule));
            }
        }
        if let Some(drifted) = &mut drifted {
            self.tell(gathered, connection, row, drifted).await?;
        }
        let drifted = drifted.map(Arc::new);
        self.cache.lock().expect("no panic while held").repairs.insert(row.id, (from, drifted.clone()));
        Ok(drifted)
    }
}

/// What was compared in landing, and what waits for it.
fn landed_values(arrivals: &Arrivals, connection: &Connection, lock: &Lock, observed: &Catalog) -> Values {
    let open = arrivals.iter().filter(|(name, arrival)| arrival.is_open(name, &lock.catalog, observed));
    let sampled = |name: &StreamName, arrival: &Arrival| match &arrival.compared {
        Some(compared) => Some(compared.clone()),
        None if connection.mode < spec::Mode::Manage => None, // below it nobody waits: names propose
        None => arrival.is_taken_in(name, &lock.catalog).then(Sampled::awaited),
    };
    open.filter_map(|(name, arrival)| Some((name.clone(), sampled(name, arrival)?))).collect()
}

/// The branches of a connection beside its drift's that can go: what they bring is in the tracked branch.
fn merged(name: &crate::model::ConnectionRef, branches: &BTreeMap<String, RepairBranch>) -> Vec<String> {
    let others = crate::repair::branches(name).into_iter().skip(1);
    let over = |name: &String| branches.get(name).is_some_and(|branch| branch.merged && !branch.stays);
    others.filter(over).collect()
}

/// What a drift was worked out from.
#[derive(Clone)]
pub(super) struct WorkedFrom {
    resolved: Arc<Resolved>,
    look: Fingerprint,
    ask: Option<&'static str>,
    remote_down: bool,
    /// Whether values cannot be kept, or compared, and a repair not be tried, for now.
    troubles: (bool, bool, bool),
}

impl WorkedFrom {
    fn is(&self, other: &Self) -> bool {
        let (known, now) =
            ((self.ask, self.remote_down, self.troubles), (other.ask, other.remote_down, other.troubles));
        let same = self.look == other.look && known == now;
        same && Arc::ptr_eq(&self.resolved, &other.resolved)
    }
}
