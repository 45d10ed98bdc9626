//! Works out the steps of every connection from what is desired and what is known.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::behind::wait_for_newer;
use super::drifts::{OpenRepairs, plan_drift};
use super::edits::plan_live;
use super::lifecycle::plan_lifecycle;
use super::schedule::next_after;
use super::{ConnectionPlan, ConnectionRow, ConnectionStatus, Facts, Leaving, ObjectKind, Plan, Standing, Step, World};
use crate::model::{ConnectionId, ConnectionRef};
use crate::spec::names::spec_path;
use crate::spec::{Connection, Desired, Mode, OnDelete};

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
        let mut plan = ConnectionPlan {
            name: row.name.clone(),
            id: Some(row.id),
            standing: Standing::Retired,
            steps: Vec::new(),
            radius: None,
        };
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
            radius: None,
        });
    }
    if let Some(behind) = world.behind {
        for plan in &mut connections {
            let row = plan.id.and_then(|id| by_id.get(&id).copied());
            wait_for_newer(behind, world.desired.connections.get(&plan.name), row, plan);
        }
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
        radius: None,
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
    let doubted = row.look.as_ref().is_some_and(|look| look.wants_second(world.now));
    if facts.look_asked || doubted || look_is_due(connection, row, world.now) {
        plan.steps.push(Step::Look);
    }
    plan_lifecycle(world, connection, row, facts, &mut plan);
    let commits = plan.steps.iter().any(|step| matches!(step, Step::CommitLock { .. }));
    let heals = plan.steps.iter().any(|step| matches!(step, Step::Heal { .. }));
    // What is rejected is known before anything is asked.
    let note = facts.unrecorded.as_ref().and_then(|unrecorded| unrecorded.note.clone());
    let settled = plan.standing == Standing::InSync && !commits && !heals && note.is_none();
    plan.steps.extend(note.map(|rejections| Step::NoteRejections { rejections }));
    if settled {
        plan_drift(world, connection, row, facts, open, &mut plan);
    }
    if connection.mode >= Mode::Propose {
        let merged = facts.merged.iter().map(|branch| (branch, Leaving::Merged));
        let left = merged.chain(facts.left.iter().map(|branch| (branch, Leaving::Left)));
        plan.steps.extend(left.map(|(branch, why)| Step::LeaveBranch { branch: branch.clone(), why }));
        let offer = facts.unrecorded.as_ref().and_then(|unrecorded| unrecorded.offer.clone());
        plan.steps.extend(offer.map(|(branch, draft)| Step::OfferRejection { branch, draft }));
    }
    plan_live(connection, facts, &mut plan);
    let withheld = world.remote_down.filter(|_| wait_for_remote(&mut plan));
    plan_sync(world, connection, row, facts, settled, &mut plan);
    if let Some(reason) = withheld.filter(|_| plan.standing == Standing::InSync) {
        plan.standing = Standing::Unseen { reason: reason.to_owned() };
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

/// What asks nothing of an engine that does not answer goes on; the rest waits, and nothing is said to be in sync.
fn wait_for_engine(reason: &str, plan: &mut ConnectionPlan) {
    if plan.standing == Standing::InSync || plan.steps.iter().any(Step::asks_engine) {
        plan.standing = Standing::Unseen { reason: reason.to_owned() };
    }
    plan.steps.retain(|step| !step.asks_engine());
}

/// Withholds what would be pushed to a remote that cannot be reached, and whether there was such; what is here goes on.
fn wait_for_remote(plan: &mut ConnectionPlan) -> bool {
    let before = plan.steps.len();
    plan.steps.retain(|step| !step.asks_remote());
    plan.steps.len() < before
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
    if settled && facts.to_replay > 0 && facts.unnormalized.is_none() {
        plan.steps.push(Step::Replay { letters: facts.to_replay });
    }
    if let Some(job) = facts.unnormalized {
        // dead letters come first there, too
        plan.steps.push(Step::Normalize { job });
    } else if !plan.steps.iter().any(|step| step.holds_back() || keeps(step, row))
        && (facts.sync_asked || !world.drives_itself && due(&connection.schedule, row.last_sync_at, world.now, row))
    {
        plan.steps.push(Step::Sync);
    }
}

/// Whether old values are kept now: a sync may replace them.
fn keeps(step: &Step, row: &ConnectionRow) -> bool {
    *step == Step::Keep && !row.troubles.contains_key(&step.describe())
}

/// A source is looked at once in a period, for all connections that share it: slots of each connection's own would be a
/// look for each.
fn look_is_due(connection: &Connection, row: &ConnectionRow, now: DateTime<Utc>) -> bool {
    let last = row.look.as_ref().map(|look| look.at);
    match (&connection.drift.check, last) {
        (crate::spec::Schedule::Every(period), Some(last)) => {
            TimeDelta::from_std(*period).is_ok_and(|period| now.signed_duration_since(last) >= period)
        }
        (schedule, last) => due(schedule, last, now, row),
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
