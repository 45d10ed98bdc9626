//! Works out the steps of every connection from what is desired and what is known.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};

use super::schedule::next_after;
use super::{
    Closing, ConnectionPlan, ConnectionRow, ConnectionStatus, DriftRow, DriftStatus, Facts, Live, Noting, ObjectKind,
    Plan, RepairFacts, Standing, Step, World,
};
use crate::drift::{Change, line_of};
use crate::model::{ConnectionId, ConnectionRef, Fingerprint};
use crate::spec::names::spec_path;
use crate::spec::{Connection, Desired, Mode, OnDelete, Rejection};

/// Plans everything. The result of carrying a plan out plans to nothing.
pub fn plan(world: &World<'_>) -> Plan {
    let by_id: BTreeMap<ConnectionId, &ConnectionRow> = world.rows.iter().map(|row| (row.id, row)).collect();
    let by_name = rows_without_lock(world);
    let mut connections = Vec::new();
    let mut taken = BTreeSet::new();
    let mut open = OpenRepairs::count(world);
    for connection in world.desired.connections.values() {
        let row = match &connection.lock {
            Some(lock) => by_id.get(&lock.id).copied(),
            None => by_name.get(&connection.name).copied(),
        };
        taken.extend(row.map(|r| r.id));
        connections.push(plan_declared(world, connection, row, &mut open));
    }
    let gone: Vec<&ConnectionRow> = world
        .rows
        .iter()
        .filter(|row| !taken.contains(&row.id) && !is_unknown(world.desired, &row.name))
        .filter(|row| row.status != ConnectionStatus::Retired)
        .collect();
    let refused = refuse_removals(world, &gone);
    for row in world.rows.iter().filter(|row| !taken.contains(&row.id)) {
        let mut plan =
            ConnectionPlan { name: row.name.clone(), id: Some(row.id), standing: Standing::Retired, steps: Vec::new() };
        if is_unknown(world.desired, &row.name) {
            plan.standing = Standing::Broken;
        } else if row.status != ConnectionStatus::Retired {
            match &refused {
                Some(why) => plan.standing = Standing::Blocked { reason: why.clone() },
                None => {
                    let removal = world.facts.get(&row.id).and_then(|f| f.removal);
                    let (on_delete, mode) = removal.unwrap_or((OnDelete::Pause, Mode::Manage));
                    let step = Step::Retire { on_delete };
                    match (mode, world.engine_down) {
                        (Mode::Manage, None) => {
                            plan.standing = Standing::Changing;
                            plan.steps.push(step);
                        }
                        (Mode::Manage, Some(reason)) => plan.standing = Standing::Unseen { reason: reason.to_owned() },
                        _ => plan.standing = Standing::NeedsManage { what: step.describe() },
                    }
                }
            }
        }
        connections.push(plan);
    }
    for name in world.desired.broken.iter().filter(|name| !world.rows.iter().any(|row| row.name == **name)) {
        connections.push(ConnectionPlan {
            name: name.clone(),
            id: None,
            standing: Standing::Broken,
            steps: Vec::new(),
        });
    }
    connections.sort_by(|a, b| a.name.cmp(&b.name));
    Plan { commit: world.commit.cloned(), connections, refused }
}

/// The rows that a spec without a lock may go on with: never one whose lock has moved on under another name, and of those
/// with one name the one that runs.
fn rows_without_lock<'a>(world: &World<'a>) -> BTreeMap<&'a ConnectionRef, &'a ConnectionRow> {
    let locked: BTreeSet<ConnectionId> =
        world.desired.connections.values().filter_map(|c| c.lock.as_ref().map(|lock| lock.id)).collect();
    let mut free: Vec<&ConnectionRow> = world.rows.iter().filter(|row| !locked.contains(&row.id)).collect();
    free.sort_by_key(|row| (row.status != ConnectionStatus::Retired, row.created_at));
    free.into_iter().map(|row| (&row.name, row)).collect()
}

/// Whether a name without a usable spec may still have one: the file is broken, or a folder on its way could not be read.
fn is_unknown(desired: &Desired, name: &ConnectionRef) -> bool {
    let path = spec_path(name);
    let covers = |unread: &String| {
        path.as_str().strip_prefix(unread.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    desired.broken.contains(name) || desired.unread.iter().any(covers)
}

/// Rule 5 of the design: a set that shrinks by more than the change budget, or to nothing, waits for a person.
fn refuse_removals(world: &World<'_>, rows: &[&ConnectionRow]) -> Option<String> {
    let gone = rows.len();
    let live = world.rows.iter().filter(|row| row.status != ConnectionStatus::Retired).count();
    let budget = world.limits.budget_min.max(live * world.limits.budget_percent / 100);
    let emptied = gone > 0 && gone == live && world.desired.connections.is_empty();
    if gone == 0 || world.limits.confirmed.covers(rows) || (gone <= budget && !emptied) {
        return None;
    }
    let which = if emptied { "every spec is gone".to_owned() } else { format!("{gone} of {live} specs are gone") };
    Some(format!("{which}, the change budget is {budget}: nothing is removed until `aam apply --confirm-removals`"))
}

/// Which connections hold one of the `max_open` places: those with a branch first, the rest by severity.
struct OpenRepairs {
    allowed: BTreeSet<ConnectionId>,
}

impl OpenRepairs {
    fn count(world: &World<'_>) -> Self {
        let opened_at: BTreeMap<_, _> = world
            .drifts
            .iter()
            .filter(|drift| drift.status == DriftStatus::Pending)
            .map(|drift| (drift.connection, drift.opened_at))
            .collect();
        // In `observe` a drift is reported and takes no place.
        let only_observed: BTreeSet<ConnectionId> = world
            .rows
            .iter()
            .filter(|row| world.desired.connections.get(&row.name).is_some_and(|c| c.mode == Mode::Observe))
            .map(|row| row.id)
            .collect();
        let mut wanting: Vec<_> = world
            .facts
            .iter()
            .filter_map(|(id, facts)| facts.repair.as_ref().map(|repair| (id, facts, repair)))
            .filter(|(_, _, repair)| repair.proposed.is_some())
            .filter(|(id, ..)| !only_observed.contains(*id))
            .map(|(id, facts, repair)| {
                // Of equal severity the oldest goes first; what was not noted yet is the newest.
                let opened_at = opened_at.get(id).map_or(world.now, |at| *at);
                (facts.branch.is_none(), !repair.breaking, opened_at, *id)
            })
            .collect();
        wanting.sort();
        Self { allowed: wanting.into_iter().take(world.limits.max_open).map(|(.., id)| id).collect() }
    }
}

fn plan_declared(
    world: &World<'_>,
    connection: &Connection,
    row: Option<&ConnectionRow>,
    open: &mut OpenRepairs,
) -> ConnectionPlan {
    let mut plan = ConnectionPlan {
        name: connection.name.clone(),
        id: row.map(|r| r.id).or(connection.lock.as_ref().map(|l| l.id)),
        standing: Standing::InSync,
        steps: Vec::new(),
    };
    let nothing = Facts::default();
    let facts = row.and_then(|r| world.facts.get(&r.id)).unwrap_or(&nothing);
    let manage = connection.mode == Mode::Manage;
    if let Some(row) = row
        && let Some(standing) = still_failed(world, connection, row, facts)
    {
        plan.standing = standing;
        return plan;
    }
    let Some(row) = row.filter(|row| is_onboarded(row)) else {
        if let Some(reason) = world.engine_down {
            plan.standing = Standing::Unseen { reason: reason.to_owned() };
        } else if connection.airbyte.id.is_some() && connection.lock.is_none() {
            let reason = "its spec adopts a connection of the engine and has no lock: `aam import airbyte` writes both";
            plan.standing = Standing::Blocked { reason: reason.into() };
        } else if connection.airbyte.id.is_some() && connection.lock.is_some() {
            plan.standing = Standing::Changing;
            plan.steps.push(Step::Adopt);
        } else if manage {
            plan.standing = Standing::Changing;
            plan.steps.push(Step::Onboard { lock: connection.lock.as_ref().map(|lock| lock.id) });
        } else {
            plan.standing = Standing::NeedsManage { what: "it does not exist in the engine yet".into() };
        }
        return plan;
    };
    if facts.unsettled && manage {
        plan.steps.push(Step::Settle);
    }
    if row.name != connection.name {
        plan.steps.push(Step::Rename { from: row.name.clone() });
    }
    if facts.look_asked || due(&connection.drift.check, row.look.as_ref().map(|look| look.at), world.now, row) {
        plan.steps.push(Step::Look);
    }
    plan_lifecycle(world, connection, row, facts, &mut plan);
    let commits = plan.steps.iter().any(|step| matches!(step, Step::CommitLock { .. }));
    let heals = plan.steps.iter().any(|step| matches!(step, Step::Heal { .. }));
    let settled = plan.standing == Standing::InSync && !commits && !heals;
    if settled {
        plan_drift(world, connection, row, facts, open, &mut plan);
    }
    plan_sync(world, connection, row, facts, settled, &mut plan);
    if plan.standing == Standing::InSync
        && let Some(what) = live_edit(&facts.live)
    {
        plan.standing = what;
    }
    if let Some(reason) = world.engine_down {
        wait_for_engine(reason, &mut plan);
    }
    if plan.standing == Standing::InSync && plan.steps.iter().any(|step| !step.is_routine()) {
        plan.standing = Standing::Changing;
    }
    plan
}

/// Whether onboarding came to its end: the engine has all of its objects and a catalog of it.
fn is_onboarded(row: &ConnectionRow) -> bool {
    row.status != ConnectionStatus::Pending && row.version > 0 && row.objects.contains_key(&ObjectKind::Connection)
}

/// What a try with a connection is made from: while it is the same, trying again before the time gives the same failure.
pub fn attempt(connection: &Connection, secrets: Option<&str>) -> String {
    let lock = connection.lock.as_ref().map_or("-", |lock| lock.fingerprint.as_str());
    format!("{} {} {lock}", connection.digest, secrets.unwrap_or("-"))
}

/// A failed connection rests until its retry time, until its spec, its lock or a secret changed, or until a person asks.
fn still_failed(world: &World<'_>, connection: &Connection, row: &ConnectionRow, facts: &Facts) -> Option<Standing> {
    let retry = row.retry_at.is_some_and(|at| at <= world.now);
    let secrets = facts.secrets.as_ref().and_then(|secrets| secrets.as_deref().ok());
    let changed = row.tried.as_ref() != Some(&attempt(connection, secrets));
    (row.status == ConnectionStatus::Failed && !retry && !changed && !facts.again).then(|| Standing::Failed {
        reason: row.reason.clone().unwrap_or_default(),
        retry_at: row.retry_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
    })
}

/// Approved catalog, settings, pause and lock file.
fn plan_lifecycle(
    world: &World<'_>,
    connection: &Connection,
    row: &ConnectionRow,
    facts: &Facts,
    plan: &mut ConnectionPlan,
) {
    let manage = connection.mode == Mode::Manage;
    // An engine that holds the settings needs none to be looked at.
    if let Some(Err(why)) = facts.secrets.as_ref().filter(|_| manage || !world.drives_itself) {
        plan.standing = Standing::Blocked { reason: why.clone() };
        return;
    }
    if let Some(why) = &facts.blocked {
        plan.standing = Standing::Blocked { reason: why.clone() };
        return;
    }
    let mut steps = Vec::new();
    let mut another_lock = false;
    let resumes = row.status == ConnectionStatus::Retired || row.paused;
    if resumes {
        steps.push(Step::Resume);
    }
    if let Some(lock) = &connection.lock {
        let approved = row.fingerprint.as_ref() == Some(&lock.fingerprint);
        another_lock = !approved;
        // A heal that was cut off, or failed and was taken back since: what the engine carries is uncertain.
        if !approved || row.status == ConnectionStatus::Healing {
            let version = if approved { row.version } else { row.version + 1 };
            steps.push(Step::Heal { from: row.fingerprint.clone(), to: lock.fingerprint.clone(), version });
        }
    }
    // Whatever else was mended, a connection that failed or was cut off while it healed runs again only by this step.
    let stuck = steps.is_empty() && !matches!(row.status, ConnectionStatus::Active);
    // Secrets of what was adopted without them are sent once it is managed.
    let rotated = |secrets: &String| {
        row.secrets.as_ref() != Some(secrets) && (manage || row.secrets.is_some() || !world.drives_itself)
    };
    let changed = stuck || row.applied_digest.as_ref() != Some(&connection.digest) || facts.live == Live::Free;
    // Without a lock there is nothing to apply them with: it is written first.
    if connection.lock.is_some()
        && let Some(Ok(secrets)) = &facts.secrets
        && (changed || rotated(secrets))
    {
        let (digest, secrets, writes) = (connection.digest.clone(), secrets.clone(), facts.writes.clone());
        steps.push(Step::ApplySettings { digest, secrets, writes });
    }
    if manage && steps.is_empty() && facts.lock.is_none() && facts.held != row.held {
        steps.push(Step::Hold { streams: facts.held.clone() });
    }
    if !manage && world.drives_itself && steps.is_empty() && connection.lock.is_some() && changed {
        let what = Step::ApplySettings { digest: String::new(), secrets: String::new(), writes: facts.writes.clone() };
        plan.standing = Standing::NeedsManage { what: what.describe() };
        return;
    }
    // A catalog is not brought to streams that a person changed in the engine.
    if let Live::Edited(properties) = &facts.live
        && steps.iter().any(|step| matches!(step, Step::Heal { .. }))
        && properties.iter().any(|name| name.starts_with("stream "))
    {
        plan.standing = Standing::LiveEdit { properties: properties.clone() };
        return;
    }
    if let Some((why, draft)) = &facts.lock {
        steps.push(Step::CommitLock { why: why.clone(), draft: draft.clone() });
    }
    let Some(first) = steps.first() else { return };
    if !manage {
        plan.standing = Standing::NeedsManage { what: first.describe() };
    } else if facts.is_moving() || (another_lock && facts.unnormalized.is_some()) {
        // The engine's connection is not changed under a running sync, and what landed is read by the lock and the mapping
        // that it landed under. But the sync of a paused one can only be followed once it is resumed.
        let now = if facts.is_moving() && resumes { 1 } else { 0 };
        let later = steps.split_off(now);
        plan.steps.extend(steps);
        if let Some(first) = later.first() {
            plan.standing = Standing::Finishing { syncing: facts.is_moving(), then: first.describe() };
        }
    } else {
        plan.steps.extend(steps);
    }
}

/// What asks nothing of an engine that does not answer goes on; the rest waits, and nothing is said to be in sync.
fn wait_for_engine(reason: &str, plan: &mut ConnectionPlan) {
    if plan.standing == Standing::InSync || plan.steps.iter().any(Step::asks_engine) {
        plan.standing = Standing::Unseen { reason: reason.to_owned() };
    }
    plan.steps.retain(|step| !step.asks_engine());
}

/// What a person is told of the engine's connection, if something is to be told.
fn live_edit(live: &Live) -> Option<Standing> {
    match live {
        Live::Unknown | Live::Same | Live::Free => None,
        Live::Edited(properties) => Some(Standing::LiveEdit { properties: properties.clone() }),
        Live::Unseen(why) => Some(Standing::Unseen { reason: why.clone() }),
        Live::Stopped(why) => Some(Standing::Stopped { reason: why.clone() }),
        Live::Gone => Some(Standing::Stopped { reason: "somebody deleted it there".into() }),
    }
}

/// What to do about the difference between lock and source.
fn plan_drift(
    world: &World<'_>,
    connection: &Connection,
    row: &ConnectionRow,
    facts: &Facts,
    open: &mut OpenRepairs,
    plan: &mut ConnectionPlan,
) {
    let pending = world.drifts.iter().find(|d| d.connection == row.id && d.status == DriftStatus::Pending);
    let noted = |target: &Fingerprint| world.drifts.iter().any(|d| d.connection == row.id && d.target == *target);
    // A branch that a person works on is theirs; in `observe` no branch is touched at all.
    let our_branch = facts.branch.as_ref().filter(|(_, edited)| !edited && connection.mode >= Mode::Propose);
    let our_branch = our_branch.map(|(name, _)| name.clone());
    close_taken_back(world, connection, row, plan);
    let Some(repair) = &facts.repair else {
        let unseen = row.look.as_ref().and_then(|look| look.seen.as_ref().err());
        if let Some(reason) = unseen {
            plan.standing = Standing::Unseen { reason: reason.clone() };
        } else if row.look.is_some() && (pending.is_some() || (our_branch.is_some() && !facts.branch_in_use)) {
            plan.steps.push(Step::CloseDrift {
                drift: pending.map(|d| d.id),
                branch: our_branch,
                why: Closing::Agreement,
            });
        }
        return;
    };
    if connection.mode == Mode::Manage {
        match &repair.taken_back {
            Ok(None) => {}
            Ok(Some((Rejection { by, reason, .. }, draft))) => {
                let (by, why) = (by.clone(), reason.clone());
                plan.steps.push(Step::CommitRejection { by, why, draft: draft.clone() });
                return;
            }
            Err(why) => {
                plan.standing = Standing::Blocked { reason: why.clone() };
                return;
            }
        }
    }
    if connection.mode == Mode::Manage
        && let Some((automatic, rule, commit)) = &repair.automatic
    {
        let step = Step::CommitRepair { target: automatic.clone(), rule: rule.clone(), draft: commit.clone() };
        if repair.automatic_breaking && (facts.syncing || facts.unnormalized.is_some()) {
            plan.standing = Standing::Finishing { syncing: facts.syncing, then: step.describe() };
        } else {
            plan.steps.push(step);
        }
        return;
    }
    let Some((target, draft)) = &repair.proposed else {
        plan_rejected(world, connection, repair, facts, (pending, our_branch), plan);
        return;
    };
    if let Some(pending) = pending.filter(|drift| drift.target != *target)
        && let Some(why) = rejects_all(world, connection, pending)
    {
        plan.steps.push(Step::CloseDrift { drift: Some(pending.id), branch: None, why });
    }
    let branch = &repair.branch;
    if connection.mode == Mode::Observe {
        plan.standing = Standing::Drifted { target: target.clone() };
        if !noted(target) {
            plan.steps.push(Step::NoteDrift { target: target.clone(), why: Noting::Observed });
        }
        return;
    }
    let edited = facts.branch.as_ref().is_some_and(|(_, edited)| *edited);
    if !open.allowed.contains(&row.id) {
        plan.standing = Standing::Waiting { target: target.clone() };
        if !noted(target) {
            plan.steps.push(Step::NoteDrift { target: target.clone(), why: Noting::Waiting });
        }
        return;
    }
    plan.standing = Standing::AwaitingReview { branch: branch.clone(), target: target.clone(), edited };
    let opened = pending.is_some_and(|d| d.target == *target && d.branch.as_deref() == Some(branch));
    if (!repair.branch_current && !edited) || !opened {
        plan.steps.push(Step::Propose { target: target.clone(), branch: branch.clone(), draft: draft.clone() });
    }
}

/// Closes what a rule approved and a person took back before it came into force: a kill left it open when the rejection was
/// committed.
fn close_taken_back(world: &World<'_>, connection: &Connection, row: &ConnectionRow, plan: &mut ConnectionPlan) {
    let Some(lock) = &connection.lock else { return };
    for drift in world.drifts.iter().filter(|drift| drift.connection == row.id && drift.is_unhealed(&lock.fingerprint))
    {
        if let Some(why) = rejection_of(world, connection, drift) {
            plan.steps.push(Step::CloseDrift { drift: Some(drift.id), branch: None, why });
        }
    }
}

/// The newest rejection of a change of this drift.
fn rejection_of(world: &World<'_>, connection: &Connection, drift: &DriftRow) -> Option<Closing> {
    let lines: Vec<String> = drift.changes.iter().map(line_of).collect();
    let rejections = world.desired.rejected.get(&connection.name)?;
    let Rejection { by, reason, .. } =
        rejections.iter().rfind(|r| lines.iter().any(|line| r.changes.contains(line)))?;
    Some(Closing::Rejection { by: by.clone(), reason: reason.clone() })
}

/// The newest rejection of this drift, if all of its changes are rejected.
fn rejects_all(world: &World<'_>, connection: &Connection, drift: &DriftRow) -> Option<Closing> {
    let rejections = world.desired.rejected.get(&connection.name)?;
    let is_rejected = |change: &Change| rejections.iter().any(|r| r.changes.contains(&line_of(change)));
    if drift.changes.iter().all(is_rejected) { rejection_of(world, connection, drift) } else { None }
}

/// What a person said no to stands, and nothing is asked.
fn plan_rejected(
    world: &World<'_>,
    connection: &Connection,
    repair: &RepairFacts,
    facts: &Facts,
    (pending, our_branch): (Option<&DriftRow>, Option<String>),
    plan: &mut ConnectionPlan,
) {
    let Some((target, Rejection { by, reason, .. })) = &repair.rejected else { return };
    let (by, reason) = (by.clone(), reason.clone());
    plan.standing = Standing::Rejected { target: target.clone(), by: by.clone(), reason: reason.clone() };
    if pending.is_some() || (our_branch.is_some() && !facts.branch_in_use) {
        let same = pending.is_none_or(|drift| drift.target == *target);
        let why = if same {
            Closing::Rejection { by, reason }
        } else {
            // What was asked besides is gone from the source, unless something else came beside what was asked.
            pending.and_then(|drift| rejects_all(world, connection, drift)).unwrap_or(Closing::Agreement)
        };
        plan.steps.push(Step::CloseDrift { drift: pending.map(|d| d.id), branch: our_branch, why });
    } else if !repair.rejection_noted && !plan.steps.iter().any(|step| matches!(step, Step::CloseDrift { .. })) {
        plan.steps.push(Step::NoteDrift { target: target.clone(), why: Noting::Rejected { by, reason } });
    }
}

/// `settled`: lock and settings are in force as far as they may be.
fn plan_sync(
    world: &World<'_>,
    connection: &Connection,
    row: &ConnectionRow,
    facts: &Facts,
    settled: bool,
    plan: &mut ConnectionPlan,
) {
    if facts.syncing {
        // Once begun it is followed to its end, whatever the mode is by now; without its secrets it cannot be asked for.
        let may = !world.drives_itself || connection.mode == Mode::Manage;
        if may && matches!(facts.secrets, Some(Ok(_))) {
            plan.steps.push(Step::FollowSync);
        }
        return;
    }
    if let Some(job) = facts.started.filter(|_| connection.mode == Mode::Manage) {
        plan.steps.push(Step::NoteSync { job });
        return;
    }
    let finishing = matches!(plan.standing, Standing::Finishing { .. });
    if connection.mode < Mode::Manage || !(settled || finishing) {
        return;
    }
    if let Some(job) = facts.unnormalized {
        plan.steps.push(Step::Normalize { job });
    } else if !plan.steps.iter().any(Step::holds_back)
        && (facts.sync_asked || !world.drives_itself && due(&connection.schedule, row.last_sync_at, world.now, row))
    {
        plan.steps.push(Step::Sync);
    }
}

/// Whether a schedule's next time after `last` has come; what never ran is due at once.
fn due(schedule: &crate::spec::Schedule, last: Option<DateTime<Utc>>, now: DateTime<Utc>, row: &ConnectionRow) -> bool {
    match (schedule, last) {
        (crate::spec::Schedule::Manual | crate::spec::Schedule::Quartz { .. }, _) => false,
        (_, None) => true,
        (schedule, Some(last)) => {
            next_after(schedule, Some(last), now, &row.id.to_string()).is_some_and(|at| at <= now)
        }
    }
}
