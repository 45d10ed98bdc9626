//! From what is there to what there should be.

use super::{
    ByRule, Doing, ForgeRequest, Offer, RequestAction, RequestFacts, RequestRow, RequestStanding, RequestState, Review,
    Subject,
};
use crate::diag::escape;

/// Said where a person closed a request without a word.
const NO_REASON: &str = "the request was closed without a comment";

/// Everything to be done about requests now, connection by connection. Planning again after it was done gives nothing.
pub fn plan_requests(facts: &RequestFacts) -> Vec<RequestAction> {
    let mut actions = Vec::new();
    for row in &facts.rows {
        let offer = facts.offers.iter().find(|offer| offer.is_of(row));
        let Some(name) = facts.names.get(&row.connection) else { continue };
        let doings = match facts.open.iter().find(|shown| shown.number == row.number && shown.head == row.branch) {
            Some(shown) => of_open(facts, row, shown, offer),
            None => facts.ended.get(&row.number).map(|ended| of_ended(facts, row, ended.as_ref(), offer)),
        };
        actions.extend(doings.into_iter().flatten().map(|what| RequestAction {
            connection: name.clone(),
            id: row.connection,
            what,
        }));
    }
    let known = |offer: &&Offer| !facts.rows.iter().any(|row| offer.is_of(row));
    for offer in facts.offers.iter().filter(known) {
        let what = of_new(facts, offer);
        actions.extend(what.map(|what| RequestAction { connection: offer.connection.clone(), id: offer.id, what }));
    }
    actions
}

impl Offer {
    /// Whether this request is about the same.
    pub fn is_of(&self, row: &RequestRow) -> bool {
        self.id == row.connection && self.subject == row.subject
    }

    /// Whether a person closed the last request of it, which asked for the same.
    fn is_declined(&self, past: &[RequestRow]) -> bool {
        let same = |row: &&RequestRow| self.is_of(row) && self.target == row.target;
        // A drift that was rejected is offered no more.
        self.subject != Subject::Drift && past.iter().filter(same).any(|row| row.state == RequestStanding::Rejected)
    }
}

/// A branch without a request that we know: one that is there already is taken over, else one is opened.
fn of_new(facts: &RequestFacts, offer: &Offer) -> Option<Doing> {
    let ours = |shown: &&ForgeRequest| shown.head == offer.draft.head && shown.base == offer.draft.base;
    if let Some(shown) = facts.open.iter().filter(ours).min_by_key(|shown| shown.number) {
        return Some(Doing::Adopt { number: shown.number, url: shown.url.clone(), offer: Box::new(offer.clone()) });
    }
    if offer.is_declined(&facts.past) {
        return None;
    }
    Some(match facts.tips.get(&offer.draft.head) {
        Some(Some(tip)) if *tip == offer.tip && !offer.stale && !facts.merged.contains(&offer.draft.head) => {
            Doing::Open(Box::new(offer.clone()))
        }
        _ => Doing::Wait,
    })
}

/// A request that is open still.
fn of_open(facts: &RequestFacts, row: &RequestRow, shown: &ForgeRequest, offer: Option<&Offer>) -> Option<Vec<Doing>> {
    // Somebody pushed to what the forge is to merge: at once, and not when it is known here what that is.
    if let (Some(by_rule), Some(tip)) = (&row.by_rule, &shown.tip)
        && *tip != by_rule.tip
        && offer.is_none_or(|offer| *tip != offer.tip)
    {
        return Some(vec![Doing::LeaveToPeople { number: row.number }]);
    }
    let Some(offer) = offer else {
        // Nobody may know yet why it is over: then it stays until somebody does.
        let reason = facts.over.get(&(row.connection, row.subject))?.clone();
        return Some(vec![Doing::Close { number: row.number, reason }]);
    };
    if offer.draft.head != row.branch {
        return Some(vec![Doing::Close { number: row.number, reason: moved(offer) }]);
    }
    let by_rule = rule_of(facts, offer).map(|rule| ByRule { rule, tip: offer.tip.clone(), told: true });
    if by_rule.is_none() && row.by_rule.is_some() {
        return Some(vec![Doing::LeaveToPeople { number: row.number }]);
    }
    let mut doings = Vec::new();
    // What a person's own commits keep from being brought up to date says what it carries, and that this is old.
    let what = if offer.stale { Vec::new() } else { unlike(row, shown, offer) };
    if !what.is_empty() {
        doings.push(Doing::Update { number: row.number, what, offer: Box::new(offer.clone()) });
    }
    if row.changes != offer.changes {
        let text = told(&row.changes, &offer.changes);
        doings.push(Doing::Tell { number: row.number, text, offer: Box::new(offer.clone()) });
    }
    // Only what is there as it was judged is to be merged, and says so.
    let arrived = shown.tip.as_ref() == Some(&offer.tip);
    if let Some(by_rule) =
        by_rule.filter(|by_rule| arrived && doings.is_empty() && row.by_rule.as_ref() != Some(by_rule))
    {
        doings.push(Doing::Automate { number: row.number, by_rule });
    }
    Some(doings)
}

/// The rule for which the forge is to merge it; none where that was merged before and taken back since: people decide then.
fn rule_of(facts: &RequestFacts, offer: &Offer) -> Option<String> {
    let taken_back = |row: &RequestRow| {
        let came = row.state == RequestStanding::Merged && !facts.merged.contains(&row.branch);
        offer.is_of(row) && row.target == offer.target && came
    };
    offer.rule.clone().filter(|_| !facts.past.iter().any(taken_back))
}

/// Said of a request whose repair got another branch: its connection has another name, or no rule takes it in any more.
fn moved(offer: &Offer) -> String {
    format!("its repair is on {} now", offer.draft.head)
}

/// What of a request is not as it should be. Its text counts by its mark alone: what a person adds to it stays until there
/// is something new to say.
fn unlike(row: &RequestRow, shown: &ForgeRequest, offer: &Offer) -> Vec<&'static str> {
    let draft = &offer.draft;
    let mark = draft.body.lines().last().unwrap_or_default();
    let is_old = !shown.body.lines().any(|line| line.trim_end() == mark);
    let parts = [
        ("title", is_old && shown.title != draft.title),
        ("text", is_old),
        ("labels", !draft.labels.iter().all(|label| shown.labels.iter().any(|one| is_same_label(label, one)))),
        ("base", shown.base != draft.base),
        ("repair", row.target != offer.target || row.drift != offer.drift),
    ];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect()
}

/// Forges keep the case that a label was made with, and no space around it.
fn is_same_label(wanted: &str, shown: &str) -> bool {
    wanted.trim().to_lowercase() == shown.trim().to_lowercase()
}

/// What came and what went.
fn told(before: &[String], now: &[String]) -> String {
    let gone = before.iter().filter(|line| !now.contains(line)).map(|line| format!("no longer: {line}"));
    let came = now.iter().filter(|line| !before.contains(line)).map(|line| format!("new: {line}"));
    gone.chain(came).collect::<Vec<_>>().join("\n")
}

/// A request that is open no more.
fn of_ended(
    facts: &RequestFacts,
    row: &RequestRow,
    ended: Option<&(ForgeRequest, Review)>,
    offer: Option<&Offer>,
) -> Vec<Doing> {
    let number = row.number;
    let Some((request, review)) = ended else {
        let why = "the forge does not know it any more".to_owned();
        return vec![Doing::NoteClosed { number, by: None, why }];
    };
    let (by, branch_deleted) = match &request.state {
        // It was opened again since the list was read: the next look takes it as it is then.
        RequestState::Open => return Vec::new(),
        RequestState::Merged { by, commit } => {
            return vec![Doing::NoteMerged {
                number,
                by: by.clone(),
                commit: commit.clone(),
                approvals: review.approvals.clone(),
            }];
        }
        RequestState::Closed { by, branch_deleted } => (by.clone(), *branch_deleted),
    };
    let means_nothing = |why: &str| vec![Doing::NoteClosed { number, by: by.clone(), why: why.to_owned() }];
    let is_drift = row.subject == Subject::Drift;
    if is_drift && facts.locks.get(&row.connection).is_some_and(|lock| lock.as_str() == row.target) {
        return means_nothing("what it asks for is committed");
    }
    let Some(offer) = offer else {
        return means_nothing(if is_drift { "its drift is over" } else { "what it offers is committed or over" });
    };
    if offer.draft.head != row.branch {
        return means_nothing(&moved(offer));
    }
    // A crash, or an answer that was lost, kept that from being noted.
    if review.withdrawn.is_some() && by.as_ref().is_none_or(|by| review.withdrawn.as_ref() == Some(by)) {
        return means_nothing("it was withdrawn");
    }
    // Only who closed it says why; others talk below it, too.
    let said = review.last_comment.as_ref().filter(|remark| Some(&remark.author) == by.as_ref());
    // Whoever removes a branch may only be tidying up. Whether it is there now tells nothing: it may have been pushed anew.
    if branch_deleted && said.is_none() {
        return means_nothing("its branch was deleted, which is no rejection");
    }
    let reason = said.map_or_else(|| NO_REASON.to_owned(), |remark| remark.text.trim().to_owned());
    let (by, approvals) = (by.unwrap_or_else(|| "somebody".to_owned()), review.approvals.clone());
    vec![match row.subject {
        Subject::Drift => Doing::Reject { number, by, reason, approvals },
        Subject::Rollback | Subject::LiveEdit | Subject::Lock | Subject::Rejection => {
            Doing::Decline { number, by, reason, approvals }
        }
    }]
}

impl RequestAction {
    /// One line for people and logs.
    pub fn describe(&self) -> String {
        let people = |names: &[String]| match names {
            [] => String::new(),
            names => format!(", approved by {}", names.join(", ")),
        };
        let who = |by: &Option<String>| by.as_deref().unwrap_or("somebody").to_owned();
        let text = match &self.what {
            Doing::Open(offer) => format!("open a request to merge {}", offer.draft.head),
            Doing::Adopt { number, .. } => format!("take over request {number}"),
            Doing::Update { number, what, .. } => format!("update request {number}: {}", what.join(", ")),
            Doing::Tell { number, offer, .. } if offer.stale => {
                format!("comment on request {number}: its branch is out of date")
            }
            Doing::Tell { number, .. } => format!("comment on request {number}: its changes changed"),
            Doing::Automate { number, by_rule } => {
                format!("have the forge merge request {number} by itself (rule:{})", by_rule.rule)
            }
            Doing::LeaveToPeople { number } => format!("leave the merge of request {number} to people"),
            Doing::Close { number, reason } => format!("close request {number}: {reason}"),
            Doing::NoteMerged { number, by, approvals, .. } => {
                format!("note that {} merged request {number}{}", who(by), people(approvals))
            }
            Doing::Reject { number, by, reason, .. } => {
                format!("reject, since {by} closed request {number}: {}", reason.lines().next().unwrap_or_default())
            }
            Doing::Decline { number, by, reason, .. } => {
                format!("note that {by} declined request {number}: {}", reason.lines().next().unwrap_or_default())
            }
            Doing::NoteClosed { number, by, why } => {
                format!("note that {} closed request {number}: {why}", who(by))
            }
            Doing::Wait => "wait: the repair branch is not on the forge yet, or its merge not here".to_owned(),
        };
        escape(&text).into_owned()
    }
}
