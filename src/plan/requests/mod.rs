//! Requests on a forge, one for each branch that is offered: what is there, what there should be, and the actions that lead
//! from the one to the other.
//!
//! At most one request is open for each [`Subject`] of a connection, ever. What a request became is read from the forge; what
//! its closing means is decided against the committed state, so that a merge by any way is no rejection.

mod actions;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{CommitId, ConnectionId, ConnectionRef, Fingerprint};

pub use actions::plan_requests;

/// A request as the forge shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeRequest {
    /// The forge's number for it within the project.
    pub number: u64,
    /// Where people see it.
    pub url: String,
    /// Its title, without the forge's mark of a draft.
    pub title: String,
    /// Its description.
    pub body: String,
    /// Names of its labels.
    pub labels: BTreeSet<String>,
    /// The branch it asks to merge into.
    pub base: String,
    /// The branch it asks to merge; of this project and no fork.
    pub head: String,
    /// The commit that is merged then, where the forge tells it.
    pub tip: Option<CommitId>,
    /// Where it stands.
    pub state: RequestState,
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestState {
    /// Waits for a decision.
    Open,
    /// The forge merged it.
    Merged {
        /// Login of who did.
        by: Option<String>,
        /// What the base branch got.
        commit: Option<CommitId>,
    },
    /// Closed without a merge.
    Closed {
        /// Login of who did.
        by: Option<String>,
        /// Whether its branch was deleted, which closes a request on some forges.
        branch_deleted: bool,
    },
}

/// What people said to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Review {
    /// Logins of those whose approval stands, sorted.
    pub approvals: Vec<String>,
    /// The newest comment that is not ours.
    pub last_comment: Option<Remark>,
    /// Our login, if we said that we close it.
    pub withdrawn: Option<String>,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Login.
    pub author: String,
    /// As written.
    pub text: String,
}

/// What a request should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestDraft {
    /// The branch to merge.
    pub head: String,
    /// The branch to merge into.
    pub base: String,
    /// One line.
    pub title: String,
    /// Markdown; its last line is a hidden [`mark`] of what title and text were made from.
    pub body: String,
    /// Labels that it has at least.
    pub labels: BTreeSet<String>,
    /// Whether it is opened as a draft.
    pub draft: bool,
}

/// Begins the hidden line at the end of whatever `aam` writes to a forge.
const MARK: &str = "<!-- aam:";

/// A hidden line that says from what a text was made.
pub fn mark(word: &str) -> String {
    format!("{MARK}{word} -->")
}

/// How a connection's troubles name what fails about its request.
pub const TROUBLE: &str = "bring its request on the forge up to date";

/// The mark of the comment that says why we close a request.
pub const WITHDRAWN: &str = "withdrawn";

/// Whether `aam` wrote the text.
pub fn is_marked(text: &str) -> bool {
    text.lines().any(|line| line.starts_with(MARK))
}

/// Whether the text carries this mark on a line of its own.
pub fn carries(text: &str, word: &str) -> bool {
    let mark = mark(word);
    text.lines().any(|line| line.trim_end() == mark)
}

/// What a branch, and its request, is about. A connection has at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The source shows something else than the lock.
    Drift,
    /// A person wants an earlier version of the schema.
    Rollback,
    /// A person changed something in the engine.
    LiveEdit,
    /// The lock is to be written, and the tracked branch does not take it.
    Lock,
    /// A rejection is to be written down, and the tracked branch does not take it.
    Rejection,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Drift, Self::Rollback, Self::LiveEdit, Self::Lock, Self::Rejection];
}

/// A rule that takes something in by a request, which the forge merges by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByRule {
    /// `additive`, `rename`
    pub rule: String,
    /// What it judged: nothing else on that branch is approved by it.
    pub tip: CommitId,
    /// Whether the forge was told to merge that.
    pub told: bool,
}

/// A request as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// Whose.
    pub connection: ConnectionId,
    /// Where: `github.com/acme/config`; requests of another forge or project are not looked at.
    pub project: String,
    /// The forge's number for it.
    pub number: u64,
    /// Where people see it.
    pub url: String,
    /// The branch it asks to merge.
    pub branch: String,
    /// What it is about.
    pub subject: Subject,
    /// The drift that it is about, if that is one.
    pub drift: Option<Uuid>,
    /// What it asks for: of a drift the fingerprint that the lock has once it is merged, of the rest a digest.
    pub target: String,
    /// The changes that people were last told of, one line each.
    pub changes: Vec<String>,
    /// The rule that takes it in, if one does.
    pub by_rule: Option<ByRule>,
    /// Where it stands.
    pub state: RequestStanding,
    /// Logins of those whose approval stood when it was last read.
    pub approvals: Vec<String>,
    /// Login of who merged or closed it.
    pub by: Option<String>,
    /// What the base branch got.
    pub commit: Option<CommitId>,
    /// Why it is over, in words.
    pub reason: Option<String>,
    /// When it was first seen.
    pub opened_at: DateTime<Utc>,
    /// When this row last changed.
    pub changed_at: DateTime<Utc>,
}

/// Where a request stands, as far as the registry has noted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestStanding {
    /// Waits for a decision.
    Open,
    /// Merged on the forge.
    Merged,
    /// A person closed it, and that stands: a drift is rejected, the rest is not offered again.
    Rejected,
    /// We closed it: what it is about is over.
    Withdrawn,
    /// Closed without a meaning: its branch was deleted, or its content came in by another way.
    Closed,
}

/// A branch that is open for review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Whose.
    pub connection: ConnectionRef,
    /// Its id.
    pub id: ConnectionId,
    /// What it is about.
    pub subject: Subject,
    /// The drift, if it is about one.
    pub drift: Option<Uuid>,
    /// What it asks for, as [`RequestRow::target`].
    pub target: String,
    /// What changes, one line each.
    pub changes: Vec<String>,
    /// Tip of the branch here.
    pub tip: CommitId,
    /// Whether the branch still carries something older: a person committed to it before that moved on.
    pub stale: bool,
    /// The rule that judged all of it, where the forge is to merge it by itself.
    pub rule: Option<String>,
    /// What its request should say.
    pub draft: RequestDraft,
}

/// Everything that actions on requests are planned from.
#[derive(Debug, Clone, Default)]
pub struct RequestFacts {
    /// The branches that are open for review.
    pub offers: Vec<Offer>,
    /// What the registry knows as open.
    pub rows: Vec<RequestRow>,
    /// The newest request that is over of each offer without an open one.
    pub past: Vec<RequestRow>,
    /// Names of their connections.
    pub names: BTreeMap<ConnectionId, ConnectionRef>,
    /// Fingerprints of the committed locks.
    pub locks: BTreeMap<ConnectionId, Fingerprint>,
    /// Why what a request is about is over, where nothing is offered any more.
    pub over: BTreeMap<(ConnectionId, Subject), String>,
    /// Branches whose request was merged by a commit that has not come here yet.
    pub merged: BTreeSet<String>,
    /// Requests that are open on the forge.
    pub open: Vec<ForgeRequest>,
    /// Requests of `rows` that are open no more, as read one by one; `None`: the forge does not know it.
    pub ended: BTreeMap<u64, Option<(ForgeRequest, Review)>>,
    /// Tips on the forge of the branches of offers without a request.
    pub tips: BTreeMap<String, Option<CommitId>>,
}

/// One thing to do about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAction {
    /// Whose.
    pub connection: ConnectionRef,
    /// Its id.
    pub id: ConnectionId,
    /// What.
    pub what: Doing,
}

/// What is done about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    /// Opens one.
    Open(Box<Offer>),
    /// Notes one that is there: an open whose answer was lost, or a registry that was.
    Adopt {
        /// Which.
        number: u64,
        /// Where people see it.
        url: String,
        /// What it is about.
        offer: Box<Offer>,
    },
    /// Brings title, text, labels and base up to date.
    Update {
        /// Which.
        number: u64,
        /// What differs: `title`, `text`, `labels`, `base`, or only which `repair` it is.
        what: Vec<&'static str>,
        /// What it should say.
        offer: Box<Offer>,
    },
    /// Tells that what it is about changed.
    Tell {
        /// Which.
        number: u64,
        /// What came and went.
        text: String,
        /// What it is about now.
        offer: Box<Offer>,
    },
    /// Has the forge merge it by itself, once everything that it asks of a merge is there.
    Automate {
        /// Which.
        number: u64,
        /// For whom.
        by_rule: ByRule,
    },
    /// Has the forge leave the merge to people again.
    LeaveToPeople {
        /// Which.
        number: u64,
    },
    /// Closes it: what it is about is over.
    Close {
        /// Which.
        number: u64,
        /// Why.
        reason: String,
    },
    /// Notes that it was merged.
    NoteMerged {
        /// Which.
        number: u64,
        /// Login of who did.
        by: Option<String>,
        /// What the base branch got.
        commit: Option<CommitId>,
        /// Whose approval stood.
        approvals: Vec<String>,
    },
    /// A person closed the request of a drift: a rejection of what it showed.
    Reject {
        /// Which.
        number: u64,
        /// Login of who did.
        by: String,
        /// Their reason.
        reason: String,
        /// Whose approval stood.
        approvals: Vec<String>,
    },
    /// A person closed one of the others: what it offered is not wanted.
    Decline {
        /// Which.
        number: u64,
        /// Login of who did.
        by: String,
        /// Their reason.
        reason: String,
        /// Whose approval stood.
        approvals: Vec<String>,
    },
    /// Notes that it is closed without a meaning.
    NoteClosed {
        /// Which.
        number: u64,
        /// Login of who did.
        by: Option<String>,
        /// Why that means nothing.
        why: String,
    },
    /// Its branch is not on the forge yet as it should be, or what was merged there is not here yet.
    Wait,
}
