//! What to do about live edits: offered to git, written back, or told.

use super::{ConnectionPlan, Facts, Leaving, Live, MADE_ANEW, Standing, Step};
use crate::spec::{Connection, Mode};

/// What a person is told of the engine's connection, and what becomes of her edits. Nothing while something else is to be
/// settled: an update of ours whose answer is looked up looks like a person's until then.
pub(super) fn plan_live(connection: &Connection, facts: &Facts, plan: &mut ConnectionPlan) {
    if plan.steps.contains(&Step::Settle) {
        return;
    }
    let may_propose = connection.mode >= Mode::Propose;
    if let (Live::Same | Live::Free, Some((branch, false))) = (&facts.live, &facts.live_branch)
        && may_propose
    {
        plan.steps.push(Step::LeaveBranch { branch: branch.clone(), why: Leaving::Over });
    }
    if plan.standing != Standing::InSync {
        return;
    }
    let properties = match &facts.live {
        Live::Unknown | Live::Same | Live::Free => return,
        Live::Unseen(why) => return plan.standing = Standing::Unseen { reason: why.clone() },
        Live::Stopped(why) => return plan.standing = Standing::Stopped { reason: why.clone() },
        Live::Gone => {
            let reason = format!("somebody deleted it there; {MADE_ANEW}");
            return plan.standing = Standing::Stopped { reason };
        }
        Live::Edited(properties) => properties,
    };
    if connection.mode == Mode::Manage && !facts.reverts.is_empty() && !facts.is_moving() {
        plan.steps.push(Step::RevertLive { properties: facts.reverts.clone() });
        return;
    }
    let offer = facts.live_offer.as_ref().filter(|_| may_propose);
    if let Some(offer) = offer.filter(|offer| !offer.current && !offer.edited && !offer.declined) {
        let (branch, digest, draft) = (offer.branch.clone(), offer.digest.clone(), offer.draft.clone());
        plan.steps.push(Step::ProposeLive { branch, digest, draft });
    }
    plan.standing = Standing::LiveEdit {
        properties: properties.clone(),
        branch: offer.filter(|offer| !offer.declined).map(|offer| offer.branch.clone()),
        unsaid: offer.map(|offer| offer.unsaid.clone()).unwrap_or_default(),
        frozen: facts.frozen.iter().cloned().collect(),
        declined: offer.is_some_and(|offer| offer.declined),
    };
}
