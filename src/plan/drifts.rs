//! What to do about the difference between lock and source: which repair is committed, offered, noted or over.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Closing, ConnectionPlan, ConnectionRow, DriftRow, DriftStatus, Facts, Leaving, Noting, RepairFacts, Standing, Step,
    World,
};
use crate::drift::{Change, line_of};
use crate::model::{ConnectionId, Fingerprint};
use crate::spec::{Connection, Mode, Rejection};

/// Which connections hold one of the `max_open` places: those with a branch first, the rest by severity.
pub(super) struct OpenRepairs {
    allowed: BTreeSet<ConnectionId>,
}

impl OpenRepairs {
    pub(super) fn count(world: &World<'_>) -> Self {
        let opened_at: BTreeMap<_, _> = world
            .drifts
            .iter()
            .filter(|drift| drift.status == DriftStatus::Pending)
            .map(|drift| (drift.connection, drift.opened_at))
            .collect();
        // In `observe`, and while it is pinned, a drift is reported and takes no place.
        let quiet = |c: &Connection| c.mode == Mode::Observe || c.pin.as_ref().is_some_and(|pin| pin.holds(world.now));
        let only_reported: BTreeSet<ConnectionId> = world
            .rows
            .iter()
            .filter(|row| world.desired.connections.get(&row.name).is_some_and(quiet))
            .map(|row| row.id)
            .collect();
        let mut wanting: Vec<_> = world
            .facts
            .iter()
            .filter_map(|(id, facts)| facts.repair.as_ref().map(|repair| (id, facts, repair)))
            .filter(|(_, _, repair)| repair.proposed.is_some() && repair.by_rule.is_none())
            .filter(|(id, ..)| !only_reported.contains(*id))
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

/// What to do about the difference between lock and source.
pub(super) fn plan_drift(
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
    if let Some(pin) = connection.pin.as_ref().filter(|pin| pin.holds(world.now))
        && let Some((target, _)) = &repair.proposed
    {
        plan.radius = Some(Box::new(repair.radius.clone()));
        plan.standing = Standing::Pinned {
            target: target.clone(),
            version: pin.version,
            until: pin.until.clone(),
            by: pin.by.clone(),
            reason: pin.reason.clone(),
        };
        let branch = our_branch.filter(|_| !facts.branch_in_use);
        let leaves = branch.map(|branch| Step::LeaveBranch { branch, why: Leaving::Pinned });
        plan.steps.extend(leaves);
        if !noted(target) || pending.is_some_and(|drift| drift.branch.is_some()) {
            plan.steps.push(Step::NoteDrift { target: target.clone(), why: Noting::Pinned });
        }
        return;
    }
    let landed = facts.uncompared && !facts.is_moving();
    if facts.unsampled || landed {
        plan.steps.push(Step::Sample);
        if !row.troubles.contains_key(&Step::Sample.describe()) {
            return; // what values tell comes first; where they cannot be had for now, the rest goes on
        }
    }
    if facts.unkept {
        if facts.is_moving() || facts.unnormalized.is_some() {
            plan.standing = Standing::Finishing { syncing: facts.is_moving(), then: Step::Keep.describe() };
            return;
        }
        plan.steps.push(Step::Keep);
        if !row.troubles.contains_key(&Step::Keep.describe()) {
            return;
        }
    }
    if facts.untried {
        plan.steps.push(Step::Try);
        if !row.troubles.contains_key(&Step::Try.describe()) {
            return;
        }
    }
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
        let disturbs = repair.automatic_breaking || facts.awaiting;
        if disturbs && (facts.syncing || facts.unnormalized.is_some()) {
            plan.standing = Standing::Finishing { syncing: facts.syncing, then: step.describe() };
        } else {
            plan.steps.push(step);
        }
        return;
    }
    plan.radius = Some(Box::new(repair.radius.clone()));
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
    if repair.awaits_sync {
        plan.standing = Standing::AwaitingSync { target: target.clone() };
        if !noted(target) {
            plan.steps.push(Step::NoteDrift { target: target.clone(), why: Noting::AwaitingSync });
        }
        return;
    }
    let edited = facts.branch.as_ref().is_some_and(|(_, edited)| *edited);
    if repair.by_rule.is_none() && !open.allowed.contains(&row.id) {
        plan.standing = Standing::Waiting { target: target.clone() };
        if !noted(target) {
            plan.steps.push(Step::NoteDrift { target: target.clone(), why: Noting::Waiting });
        }
        return;
    }
    plan.standing = match &repair.by_rule {
        Some(rule) if !edited => {
            Standing::AwaitingMerge { branch: branch.clone(), target: target.clone(), rule: rule.clone() }
        }
        _ => Standing::AwaitingReview { branch: branch.clone(), target: target.clone(), edited },
    };
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
