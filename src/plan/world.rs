//! Everything a plan is made from, gathered by the loop and handed in.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{ConnectionRow, DriftRow, Live};
use crate::drift::Radius;
use crate::model::{CommitDraft, CommitId, ConnectionId, Fingerprint, StreamName};
use crate::spec::{Desired, Mode, OnDelete, Rejection};

/// Everything a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The committed state.
    pub commit: Option<&'a CommitId>,
    /// Checked and resolved.
    pub desired: &'a Desired,
    /// What the registry remembers.
    pub rows: &'a [ConnectionRow],
    /// Open drifts.
    pub drifts: &'a [DriftRow],
    /// What was worked out for each connection that has a row.
    pub facts: &'a BTreeMap<ConnectionId, Facts>,
    /// Whether the engine starts syncs by its own schedule, and other people use it.
    pub drives_itself: bool,
    /// Why nothing can be said of the engine now, if it does not answer.
    pub engine_down: Option<&'a str>,
    /// Why nothing can be pushed now, if the repository's remote cannot be reached.
    pub remote_down: Option<&'a str>,
    /// That another state is in force, which is not here.
    pub behind: Option<&'a Behind>,
    /// What is allowed.
    pub limits: &'a Limits,
    /// Now.
    pub now: DateTime<Utc>,
}

/// That another daemon acted on a newer committed state, which cannot be fetched.
#[derive(Debug, Clone)]
pub struct Behind {
    /// Which, and why it is not here.
    pub why: String,
    /// Whether rows are read there as they are read here.
    pub maps_alike: bool,
}

/// What the settings allow.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// At most so many repairs are open at once.
    pub max_open: usize,
    /// So many connections may always go at once …
    pub budget_min: usize,
    /// … or this share of all, whichever is more. In percent.
    pub budget_percent: usize,
    /// Removals that may go however many they are.
    pub confirmed: Confirmed,
}

/// Removals that a person confirmed.
#[derive(Debug, Clone, Default)]
pub enum Confirmed {
    /// None.
    #[default]
    Nothing,
    /// All that are planned.
    All,
    /// These and no others.
    Only(BTreeSet<ConnectionId>),
}

impl Confirmed {
    pub(super) fn covers(&self, gone: &[&ConnectionRow]) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Only(ids) => gone.iter().all(|row| ids.contains(&row.id)),
        }
    }
}

/// What was worked out for one connection beyond its row.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Keyed fingerprint of source and destination settings, or why a secret is missing.
    pub secrets: Option<Result<String, String>>,
    /// The lock to be committed and why: it is missing, lags behind, or a spec edit extends it.
    pub lock: Option<(String, CommitDraft)>,
    /// A choice of the spec that the lock cannot serve.
    pub blocked: Option<String>,
    /// What answers the difference between lock and source, if there is one.
    pub repair: Option<RepairFacts>,
    /// Whether values of its changed fields could be compared and were not yet.
    pub unsampled: bool,
    /// Whether old values could be kept, to be compared once a sync has landed the new ones, and were not yet.
    pub unkept: bool,
    /// Whether such values wait for a sync.
    pub awaiting: bool,
    /// Whether a sync has landed something since.
    pub uncompared: bool,
    /// Whether a repair that changes how records are mapped was not tried on landed ones yet.
    pub untried: bool,
    /// The repair branch that exists, if any, and whether a person added commits.
    pub branch: Option<(String, bool)>,
    /// Whether that branch is checked out, so that it cannot be removed.
    pub branch_in_use: bool,
    /// Branches of ours that say nothing any more, though what they bring is not in the tracked branch: the repair is on
    /// another one, the lock is not due, no rejection is to be written down.
    pub left: Vec<String>,
    /// What becomes of rejections that git does not hold yet.
    pub unrecorded: Option<Unrecorded>,
    /// Branches of ours, beside the drift's, whose whole change is in the tracked branch.
    pub merged: Vec<String>,
    /// A person asked for a look.
    pub look_asked: bool,
    /// A person asked for a sync.
    pub sync_asked: bool,
    /// A person asks to try again what failed.
    pub again: bool,
    /// A sync is under way.
    pub syncing: bool,
    /// A crash left intents of other effects, whose outcome is to be looked up.
    pub unsettled: bool,
    /// The last finished job, if its rows are not normalized yet.
    pub unnormalized: Option<i64>,
    /// How many dead letters another mapping refused than the committed one.
    pub to_replay: u64,
    /// What its last good spec said about removal, and its mode; for connections without a spec.
    pub removal: Option<(OnDelete, Mode)>,
    /// How the engine's connection stands to what was agreed.
    pub live: Live,
    /// What carries a person's edits of it to git, where they can be said there.
    pub live_offer: Option<LiveOffer>,
    /// The branch that carried them, if it is there, and whether a person added commits.
    pub live_branch: Option<(String, bool)>,
    /// The edits that git's value is to be written over.
    pub reverts: BTreeSet<String>,
    /// The edits that are left alone because they come again and again.
    pub frozen: BTreeSet<String>,
    /// What of the engine's connection would be written to bring it to its spec and lock, where it was looked at.
    pub writes: Vec<String>,
    /// Whether the engine was seen to be just as the spec says.
    pub as_declared: bool,
    /// Streams that the engine's connection should leave out because a breaking drift waits.
    pub held: BTreeSet<StreamName>,
    /// A job that the engine started by itself and that is not followed yet.
    pub started: Option<i64>,
}

impl Facts {
    /// Whether rows are being moved, followed or not.
    pub(super) fn is_moving(&self) -> bool {
        self.syncing || self.started.is_some()
    }
}

/// A person's edits of the engine's connection, as an edit of the spec.
#[derive(Debug, Clone)]
pub struct LiveOffer {
    /// The branch's name.
    pub branch: String,
    /// Whether the branch carries exactly this already.
    pub current: bool,
    /// Whether a person added commits of their own to it.
    pub edited: bool,
    /// Whether the branch was made for something else.
    pub moved: bool,
    /// Whether the same was offered before and its branch is gone.
    pub declined: bool,
    /// Names what is offered.
    pub digest: String,
    /// Properties that no spec says.
    pub unsaid: Vec<String>,
    /// The commit.
    pub draft: CommitDraft,
}

/// Rejections that are in force and that git does not hold yet.
#[derive(Debug, Clone)]
pub struct Unrecorded {
    /// Whether nothing is left to be written down.
    pub over: bool,
    /// What the registry is to hold, where that differs: git holds some by now, or some changes are approved all the same.
    pub note: Option<Vec<Rejection>>,
    /// The branch and the commit that write them down, unless it carries that already.
    pub offer: Option<(String, CommitDraft)>,
}

/// The answer to a difference between lock and source.
#[derive(Debug, Clone)]
pub struct RepairFacts {
    /// What is committed without a person: the lock's fingerprint after it, the rule, the commit.
    pub automatic: Option<(Fingerprint, String, CommitDraft)>,
    /// What a person took back of what would be automatic, as a rejection, and the commit that notes it; or why that cannot
    /// be noted now.
    pub taken_back: Result<Option<(Rejection, CommitDraft)>, String>,
    /// What a person decides: the lock's fingerprint after it, and the commit.
    pub proposed: Option<(Fingerprint, CommitDraft)>,
    /// What a person rejected, where nothing else is to be decided: the lock's fingerprint if it were taken, who and why.
    pub rejected: Option<(Fingerprint, Rejection)>,
    /// Whether the registry holds a drift that was rejected for the same changes.
    pub rejection_noted: bool,
    /// The rule that takes all of that in by a request.
    pub by_rule: Option<String>,
    /// The repair branch's name.
    pub branch: String,
    /// Whether the branch carries exactly the proposal already.
    pub branch_current: bool,
    /// Whether syncs break without it.
    pub breaking: bool,
    /// Whether what is automatic is itself breaking: rows that landed before read differently after it.
    pub automatic_breaking: bool,
    /// Whether all of what a person would decide waits for a sync first.
    pub awaits_sync: bool,
    /// What is reached by what a person decides, or rejected.
    pub radius: Radius,
}
