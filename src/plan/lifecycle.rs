//! What brings approved catalog, settings, pause and lock file in force.

use super::{ConnectionPlan, ConnectionRow, ConnectionStatus, Facts, Live, Standing, Step, World};
use crate::spec::{Connection, Mode};

/// Approved catalog, settings, pause and lock file.
pub(super) fn plan_lifecycle(
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
            let (from, to) = (row.fingerprint.clone(), lock.fingerprint.clone());
            steps.push(Step::Heal { from, to, version, writes: Vec::new() });
        }
    }
    // Whatever else was mended, a connection that failed or was cut off while it healed runs again only by this step.
    let stuck = steps.is_empty() && !matches!(row.status, ConnectionStatus::Active);
    // Secrets of what was adopted without them are sent once it is managed.
    let rotated = |secrets: &String| {
        row.secrets.as_ref() != Some(secrets) && (manage || row.secrets.is_some() || !world.drives_itself)
    };
    let changed = stuck || row.applied_digest.as_ref() != Some(&connection.digest) || facts.live == Live::Free;
    if !manage
        && world.drives_itself
        && steps.is_empty()
        && changed
        && facts.as_declared
        && connection.airbyte.id.is_some()
    {
        // git followed what is live: nothing is to be written, only to be noted
        plan.steps.push(Step::Adopt);
        return;
    }
    // Without a lock there is nothing to apply them with: it is written first.
    if connection.lock.is_some()
        && let Some(Ok(secrets)) = &facts.secrets
        && (changed || rotated(secrets))
    {
        let (digest, secrets, writes) = (connection.digest.clone(), secrets.clone(), facts.writes.clone());
        steps.push(Step::ApplySettings { digest, secrets, writes });
    } else if let Some(Step::Heal { writes, .. }) = steps.last_mut() {
        writes.clone_from(&facts.writes);
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
        plan.standing = Standing::LiveEdit {
            properties: properties.clone(),
            branch: None,
            unsaid: Vec::new(),
            frozen: Vec::new(),
            declined: false,
        };
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
