//! The words of a plan.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::drift::Radius;
use crate::model::{CommitDraft, CommitId, ConnectionId, ConnectionRef, Fingerprint, StreamName};
use crate::spec::{OnDelete, Rejection};

/// Everything that would be done, connection by connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The committed state it was made from.
    pub commit: Option<CommitId>,
    /// By name.
    pub connections: Vec<ConnectionPlan>,
    /// Why removals are withheld, if they are: the spec set shrank by more than the change budget.
    pub refused: Option<String>,
}

/// What would be done for one connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionPlan {
    /// Its name.
    pub name: ConnectionRef,
    /// Its identity, unless it has none yet.
    pub id: Option<ConnectionId>,
    /// Where it stands before the steps.
    pub standing: Standing,
    /// In order. A step that changes the committed state is the last: what follows from it is planned anew.
    pub steps: Vec<Step>,
    /// What its drift reaches: the one that a person decides, or rejected.
    #[serde(default)]
    pub radius: Option<Box<Radius>>,
}

/// Where a connection stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// Lock, source and engine agree.
    InSync,
    /// The steps bring it where it should be.
    Changing,
    /// A sync that runs, or the rows that it landed, are finished with first: under the lock and the mapping that it began
    /// with.
    Finishing {
        /// Whether it still runs; else its rows are being normalized.
        syncing: bool,
        /// What comes then.
        then: String,
    },
    /// A repair is open for review.
    AwaitingReview {
        /// The branch to merge.
        branch: String,
        /// What the source shows, short.
        target: Fingerprint,
        /// Whether a person added commits of their own to the branch.
        edited: bool,
    },
    /// The forge merges a repair by itself once everything that it asks of a merge is there.
    AwaitingMerge {
        /// The branch that it merges.
        branch: String,
        /// What the source shows, short.
        target: Fingerprint,
        /// The rule that takes it in.
        rule: String,
    },
    /// A drift waits because so many repairs are open already.
    Waiting {
        /// What the source shows.
        target: Fingerprint,
    },
    /// What the source shows is compared with what it showed before once a sync has landed it.
    AwaitingSync {
        /// What the source shows.
        target: Fingerprint,
    },
    /// A person rejected what the source shows now.
    Rejected {
        /// What the source shows.
        target: Fingerprint,
        /// By whom.
        by: String,
        /// Why.
        reason: String,
    },
    /// The approved schema stays as it is for a while, and the source shows something else.
    Pinned {
        /// What the source shows.
        target: Fingerprint,
        /// The catalog version that stays.
        version: u32,
        /// As the spec says it.
        until: String,
        /// Who wanted it.
        by: String,
        /// Why.
        reason: String,
    },
    /// Drift that may only be reported (`mode: observe`).
    Drifted {
        /// What the source shows.
        target: Fingerprint,
    },
    /// Something must be written, and the connection's mode forbids it.
    NeedsManage {
        /// What.
        what: String,
    },
    /// A person must act first.
    Blocked {
        /// On what.
        reason: String,
    },
    /// The source could not be looked at: says nothing about it.
    Unseen {
        /// Why.
        reason: String,
    },
    /// Stopped by an error; tried again at `retry_at`.
    Failed {
        /// Which.
        reason: String,
        /// RFC 3339; absent: when a person changed something.
        retry_at: Option<String>,
    },
    /// A person changed something in the engine that git owns: it is not written.
    LiveEdit {
        /// What: `schedule`, `stream public/accounts`, …
        properties: Vec<String>,
        /// The branch that carries it to git.
        #[serde(default)]
        branch: Option<String>,
        /// What of it no spec says.
        #[serde(default)]
        unsaid: Vec<String>,
        /// What of it is left alone because it comes again and again.
        #[serde(default)]
        frozen: Vec<String>,
        /// Whether a branch carried it and went unmerged.
        #[serde(default)]
        declined: bool,
    },
    /// The engine stopped it by itself, or somebody deleted it there; it is never silently started again.
    Stopped {
        /// Why.
        reason: String,
    },
    /// Its spec is gone.
    Retired,
    /// Its spec's file is there but cannot be used, and no earlier version is known.
    Broken,
}

/// One effect, or a few that only make sense together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Check, create source and destination, discover, create the connection, record version 1, commit the lock. Goes on
    /// where a crash cut it off. With a lock at hand (a rebuilt registry) the lock decides instead of the source.
    Onboard {
        /// The identity in the lock, if there is one.
        lock: Option<ConnectionId>,
    },
    /// Take an existing connection of the engine over as its spec and lock say: nothing is written there.
    Adopt,
    /// The spec was moved with its lock.
    Rename {
        /// The old name.
        from: ConnectionRef,
    },
    /// A crash left effects without a known outcome: look them up and note what became of them.
    Settle,
    /// Its spec came back.
    Resume,
    /// Bring the approved catalog to the engine and record it as the next version.
    Heal {
        /// What the engine runs.
        from: Option<Fingerprint>,
        /// What was approved.
        to: Fingerprint,
        /// The version it becomes.
        version: u32,
        /// What of the engine's connection differs and what that does to its data, where it was looked at and no settings
        /// are updated beside.
        writes: Vec<String>,
    },
    /// The spec's settings differ from what the engine has.
    ApplySettings {
        /// [`crate::spec::Connection::digest`].
        digest: String,
        /// Keyed fingerprint of the settings with secrets.
        secrets: String,
        /// What of the engine's connection differs, where it was looked at.
        writes: Vec<String>,
    },
    /// Leave exactly these streams out of the engine's connection: a breaking drift of theirs waits.
    Hold {
        /// The streams; none: all sync again.
        streams: BTreeSet<StreamName>,
    },
    /// Write the lock: it is missing, was extended by a spec edit, or its version lags behind.
    CommitLock {
        /// Why.
        why: String,
        /// The commit.
        draft: CommitDraft,
    },
    /// Note a repair that a person took back as rejected, so that it is not made again.
    CommitRejection {
        /// Who took it back.
        by: String,
        /// How it was taken back.
        why: String,
        /// The commit.
        draft: CommitDraft,
    },
    /// Open the branch that writes down rejections which the tracked branch does not take, or bring it up to date.
    OfferRejection {
        /// The branch.
        branch: String,
        /// The commit.
        draft: CommitDraft,
    },
    /// Note which rejections are in force that git does not hold.
    NoteRejections {
        /// All of them.
        rejections: Vec<Rejection>,
    },
    /// Keep what landed of fields that went: what came is taken in then, and compared once a sync has landed it.
    Keep,
    /// Compare the values of fields that went with those of fields that are there, before a repair is offered.
    Sample,
    /// Try a repair on landed records, before it is offered.
    Try,
    /// Commit a repair that is automatic.
    CommitRepair {
        /// What the lock becomes.
        target: Fingerprint,
        /// The rule that allows it.
        rule: String,
        /// The commit.
        draft: CommitDraft,
    },
    /// Open a repair branch, or bring it up to date.
    Propose {
        /// What the lock would become.
        target: Fingerprint,
        /// The branch.
        branch: String,
        /// The commit.
        draft: CommitDraft,
    },
    /// Note a drift without a branch: `mode: observe`, waiting for a place, or rejected.
    NoteDrift {
        /// What the lock would become.
        target: Fingerprint,
        /// Why.
        why: Noting,
    },
    /// The drift is over: delete its branch and close it.
    CloseDrift {
        /// The drift, if the registry has one open.
        drift: Option<Uuid>,
        /// The branch, if it is there.
        branch: Option<String>,
        /// Why.
        why: Closing,
    },
    /// Open the branch that carries to git what a person changed in the engine, or bring it up to date.
    ProposeLive {
        /// The branch.
        branch: String,
        /// Names what is offered.
        digest: String,
        /// The commit.
        draft: CommitDraft,
    },
    /// Let git's values win over what a person changed in the engine.
    RevertLive {
        /// What.
        properties: BTreeSet<String>,
    },
    /// Remove a branch of ours that has nothing more to say.
    LeaveBranch {
        /// Which.
        branch: String,
        /// Why.
        why: Leaving,
    },
    /// Discover the source and compare.
    Look,
    /// See how a running sync is doing.
    FollowSync,
    /// Follow a job that the engine started by itself.
    NoteSync {
        /// Which.
        job: i64,
    },
    /// Start a sync.
    Sync,
    /// Turn landed rows into canonical events.
    Normalize {
        /// Up to this job.
        job: i64,
    },
    /// Map dead letters again: the mapping or the entity that refused them has changed.
    Replay {
        /// How many.
        letters: u64,
    },
    /// The spec is gone.
    Retire {
        /// What the spec said about that.
        on_delete: OnDelete,
    },
}

/// Why a branch of ours goes, though a drift may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// The tracked branch holds what it brings.
    Merged,
    /// The connection is pinned: nothing is asked.
    Pinned,
    /// The engine is as git says again.
    Over,
    /// What it brings is asked for no more, or on another branch.
    Left,
}

impl Leaving {
    /// The same for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Merged => "the tracked branch holds what it brings",
            Self::Pinned => "the connection is pinned",
            Self::Over => "the engine is as git says",
            Self::Left => "what it brings is due no more, or on another branch",
        }
    }
}

/// Why a drift is noted without a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Noting {
    /// `mode: observe`.
    Observed,
    /// As many repairs as may be are open.
    Waiting,
    /// A sync has to land what came first.
    AwaitingSync,
    /// The connection is pinned.
    Pinned,
    /// A person said no before it was noted.
    Rejected {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

impl Noting {
    /// The same for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Observed => "observed".into(),
            Self::Waiting => "waiting".into(),
            Self::AwaitingSync => "waits for one sync to compare values".into(),
            Self::Pinned => "pinned".into(),
            Self::Rejected { by, reason } => format!("rejected by {by}: {reason}"),
        }
    }
}

/// Why a drift is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Closing {
    /// The source and the lock agree.
    Agreement,
    /// A person said no.
    Rejection {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The connection has no spec any more.
    Removal,
}

impl Closing {
    /// The same for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Agreement => "the source and the lock agree".into(),
            Self::Rejection { by, reason } => format!("rejected by {by}: {reason}"),
            Self::Removal => "its spec is gone".into(),
        }
    }
}

impl Step {
    /// Whether it only keeps watch (looks, syncs, normalization): due by time, never a pending change.
    pub fn is_routine(&self) -> bool {
        matches!(
            self,
            Self::Settle
                | Self::Look
                | Self::FollowSync
                | Self::NoteSync { .. }
                | Self::Sync
                | Self::Normalize { .. }
                | Self::NoteDrift { .. }
                | Self::NoteRejections { .. }
        )
    }

    /// Whether looks and syncs come after it, however often it fails: it changes the engine, or the lock and the spec of the
    /// tracked branch.
    pub fn holds_back(&self) -> bool {
        match self {
            Self::Onboard { .. }
            | Self::Adopt
            | Self::Hold { .. }
            | Self::Resume
            | Self::Heal { .. }
            | Self::ApplySettings { .. }
            | Self::CommitLock { .. }
            | Self::CommitRepair { .. }
            | Self::Retire { .. } => true,
            Self::Rename { .. }
            | Self::Settle
            | Self::CommitRejection { .. }
            | Self::OfferRejection { .. }
            | Self::NoteRejections { .. }
            | Self::Propose { .. }
            | Self::NoteDrift { .. }
            | Self::CloseDrift { .. }
            | Self::LeaveBranch { .. }
            | Self::ProposeLive { .. }
            | Self::RevertLive { .. }
            | Self::Look
            | Self::Keep
            | Self::Sample
            | Self::Try
            | Self::FollowSync
            | Self::NoteSync { .. }
            | Self::Sync
            | Self::Normalize { .. }
            | Self::Replay { .. } => false,
        }
    }

    /// Whether it only goes on with rows, as the engine's connection is: nothing of a drift or of a person's edits is decided.
    pub fn carries_rows(&self) -> bool {
        matches!(self, Self::FollowSync | Self::NoteSync { .. } | Self::Sync | Self::Normalize { .. })
    }

    /// Whether it cannot be done without the engine.
    pub fn asks_engine(&self) -> bool {
        match self {
            Self::Onboard { .. }
            | Self::Adopt
            | Self::Resume
            | Self::Heal { .. }
            | Self::ApplySettings { .. }
            | Self::Hold { .. }
            | Self::Look
            | Self::Sample
            | Self::FollowSync
            | Self::NoteSync { .. }
            | Self::Sync
            | Self::Retire { .. } => true,
            Self::Rename { .. }
            | Self::Settle
            | Self::CommitLock { .. }
            | Self::CommitRejection { .. }
            | Self::OfferRejection { .. }
            | Self::NoteRejections { .. }
            | Self::Keep
            | Self::Try
            | Self::CommitRepair { .. }
            | Self::Propose { .. }
            | Self::NoteDrift { .. }
            | Self::CloseDrift { .. }
            | Self::LeaveBranch { .. }
            | Self::ProposeLive { .. }
            | Self::RevertLive { .. }
            | Self::Normalize { .. }
            | Self::Replay { .. } => false,
        }
    }

    /// Whether it cannot be done without the repository's remote, where there is one.
    pub fn asks_remote(&self) -> bool {
        match self {
            Self::CommitLock { .. }
            | Self::CommitRejection { .. }
            | Self::OfferRejection { .. }
            | Self::CommitRepair { .. }
            | Self::Propose { .. }
            | Self::LeaveBranch { .. }
            | Self::ProposeLive { .. }
            | Self::CloseDrift { branch: Some(_), .. } => true,
            Self::Onboard { .. }
            | Self::Adopt
            | Self::Rename { .. }
            | Self::Settle
            | Self::Resume
            | Self::Heal { .. }
            | Self::ApplySettings { .. }
            | Self::Hold { .. }
            | Self::RevertLive { .. }
            | Self::NoteRejections { .. }
            | Self::Look
            | Self::Keep
            | Self::Sample
            | Self::Try
            | Self::NoteDrift { .. }
            | Self::CloseDrift { branch: None, .. }
            | Self::FollowSync
            | Self::NoteSync { .. }
            | Self::Sync
            | Self::Normalize { .. }
            | Self::Replay { .. }
            | Self::Retire { .. } => false,
        }
    }

    /// What it does, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Onboard { lock: None } => "onboard: check, create, discover, write its lock".into(),
            Self::Onboard { lock: Some(_) } => "onboard from its lock: check, create".into(),
            Self::Adopt => "adopt: it is in the engine already, nothing is written there".into(),
            Self::Rename { from } => format!("take the new name (was {from})"),
            Self::Settle => "look up what became of interrupted effects".into(),
            Self::Resume => "resume: its spec is back".into(),
            Self::Heal { to, version, writes, .. } => {
                let what = format!("update catalog to version {version} ({})", to.short());
                if writes.is_empty() { what } else { format!("{what}: {}", writes.join("; ")) }
            }
            Self::ApplySettings { writes, .. } if writes.is_empty() => "update settings from its spec".into(),
            Self::ApplySettings { writes, .. } => format!("update settings from its spec: {}", writes.join("; ")),
            Self::Hold { streams } if streams.is_empty() => "let every stream sync again".into(),
            Self::Hold { streams } => {
                let names: Vec<_> = streams.iter().map(ToString::to_string).collect();
                format!("leave out {} until their drift is decided; no data is cleared", names.join(", "))
            }
            Self::CommitLock { why, .. } => format!("commit lock: {why}"),
            Self::CommitRejection { why, .. } => format!("commit rejection: the automatic repair was {why}"),
            Self::OfferRejection { branch, .. } => format!("offer the rejection on {branch}"),
            Self::NoteRejections { rejections } => format!("note that git lacks {} rejections", rejections.len()),
            Self::Keep => "keep what landed of the fields that went, to compare it with the next sync".into(),
            Self::Sample => "compare values of the fields that changed".into(),
            Self::Try => "try the repair on landed records".into(),
            Self::CommitRepair { target, rule, .. } => format!("commit repair {} (rule:{rule})", target.short()),
            Self::Propose { target, branch, .. } => format!("open repair {} on {branch}", target.short()),
            Self::NoteDrift { target, why } => format!("note drift {} ({})", target.short(), why.describe()),
            Self::CloseDrift { why, .. } => format!("close drift: {}", why.describe()),
            Self::ProposeLive { branch, .. } => format!("offer what changed in the engine on {branch}"),
            Self::RevertLive { properties } => {
                let names: Vec<&str> = properties.iter().map(String::as_str).collect();
                format!("take back what changed in the engine: {}", names.join(", "))
            }
            Self::LeaveBranch { branch, why } => format!("remove branch {branch}: {}", why.describe()),
            Self::Look => "look at the source".into(),
            Self::FollowSync => "follow the running sync".into(),
            Self::NoteSync { job } => format!("follow job {job}, which the engine started"),
            Self::Sync => "sync".into(),
            Self::Normalize { job } => format!("normalize rows of job {job}"),
            Self::Replay { letters: 1 } => "map 1 dead letter again: its mapping has changed".into(),
            Self::Replay { letters } => format!("map {letters} dead letters again: their mapping has changed"),
            Self::Retire { on_delete: OnDelete::Pause } => "pause: its spec is gone".into(),
            Self::Retire { on_delete: OnDelete::Delete } => "delete from the engine: its spec is gone".into(),
        }
    }
}

impl Plan {
    /// SHA-256 (hex) over the plan without what only time changes: two plans with the same digest do the same.
    pub fn digest(&self) -> String {
        let mut timeless = self.clone();
        for connection in &mut timeless.connections {
            connection.steps.retain(|step| !step.is_routine());
            connection.radius = None;
            if let Standing::Failed { retry_at, .. } = &mut connection.standing {
                *retry_at = None;
            }
        }
        let json = serde_json::to_vec(&timeless).expect("a plan is plain data");
        hex::encode(Sha256::digest(&json))
    }

    /// Connections that it pauses or deletes because their spec is gone.
    pub fn removals(&self) -> BTreeSet<ConnectionId> {
        let retires = |c: &&ConnectionPlan| c.steps.iter().any(|step| matches!(step, Step::Retire { .. }));
        self.connections.iter().filter(retires).filter_map(|c| c.id).collect()
    }

    /// Whether no step would be done at all.
    pub fn is_empty(&self) -> bool {
        self.connections.iter().all(|c| c.steps.is_empty())
    }
}
