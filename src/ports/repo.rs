//! The configuration repository: a git repository, or a plain folder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::RegistryError;
pub use crate::model::{CommitDraft, FileEdit, Unreadable};
use crate::model::{CommitId, RemoteInfo, RepoPath, TenantId};

/// All spec, lock, mapping and drift files of one state.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The commit; for a plain folder the hash over all contents.
    pub commit: Option<CommitId>,
    /// Contents by path. Only files below `connectors.d`, `mappings` and `drift`.
    pub files: BTreeMap<RepoPath, Arc<[u8]>>,
    /// Files that exist but could not or may not be read. Never the same as absent.
    pub unreadable: BTreeMap<String, Unreadable>,
}

/// The trailer that names the person who approved what a commit brings.
pub const APPROVED_BY: &str = "Aam-Approved-By";

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The tracked branch is now at this commit, which is ours; with a remote it was read back from there.
    Committed(CommitId),
    /// The branch moved on meanwhile and now differs in our paths: read again and plan again.
    Moved,
    /// Nothing moved: the work tree or the repository does not allow it now. A repair branch is offered instead.
    Refused(String),
}

/// Where the tracked branch stands in the person's work trees; shown by `aam doctor` and `aam status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoInfo {
    /// `git` or `folder`.
    pub kind: String,
    /// The tracked branch.
    pub branch: Option<String>,
    /// Its tip.
    pub head: Option<CommitId>,
    /// A state that keeps bot commits out (merge in progress, detached head, …), in words.
    pub blocked: Option<String>,
    /// How its remote stands, if it has one.
    pub remote: Option<RemoteInfo>,
}

/// A repair branch as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairBranch {
    /// Short name, `aam/drift/default/crm`.
    pub name: String,
    /// Its tip.
    pub tip: CommitId,
    /// Whether its whole change is in the tracked branch (merged, squashed or equal).
    pub merged: bool,
    /// Whether a person added commits of their own.
    pub edited: bool,
    /// Whether it cannot be removed now: a work tree has it checked out, or the remote refused. Told by the list of branches
    /// only.
    pub stays: bool,
}

/// One commit that touched a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its id.
    pub commit: CommitId,
    /// Committer as `Name <mail>`.
    pub by: String,
    /// When it was committed.
    pub at: DateTime<Utc>,
    /// Its subject.
    pub subject: String,
    /// Value of an [`APPROVED_BY`] trailer, if any.
    pub approved_by: Option<String>,
    /// What it says of itself in trailers; proves nothing by itself.
    pub trailers: BTreeMap<String, String>,
    /// Who moved the tracked branch to this commit, where the repository still knows (git's reflog): after a fast-forward
    /// the only trace of the person who merged.
    pub moved_by: Option<String>,
    /// Whether `aam` made it of its own accord: no person's approval is in it.
    pub own: bool,
    /// Whether `aam` made it by its own record, whatever the commit says of itself.
    pub recorded: bool,
}

impl LogEntry {
    /// Who approved it, as far as the repository knows.
    pub fn approver(self) -> String {
        self.approved_by.or(self.moved_by).unwrap_or(self.by)
    }

    /// Who approved it, by more than its own word: a trailer counts only in what `aam` committed.
    pub fn vouched_approver(self) -> String {
        let approver = self.approved_by.filter(|_| self.recorded);
        approver.or(self.moved_by).unwrap_or(self.by)
    }
}

/// What merging one commit into another would bring.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The files of `base`.
    pub before: Snapshot,
    /// The same with every file that `head` changed since the two parted.
    pub after: Snapshot,
    /// What is merged into.
    pub base: CommitId,
    /// What is merged.
    pub head: CommitId,
    /// Files that both changed since: `after` has those of `head`.
    pub both: Vec<String>,
    /// Whether the two have a common past, as far as this clone reaches; else `after` is `head` as it is.
    pub related: bool,
}

/// A failure of git or the file system.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}: {why}")]
pub struct RepoError {
    /// What was tried.
    pub what: String,
    /// What came back, escaped.
    pub why: String,
    /// Who can mend it.
    pub remedy: super::Remedy,
}

/// Which commits `aam` made, whoever of several daemons did: a trailer proves nothing.
#[async_trait]
pub trait OwnCommits: Send + Sync {
    /// Notes a commit as ours, before any branch moves to it.
    async fn note(&self, tenant: &TenantId, commit: &CommitId) -> Result<(), RegistryError>;
    /// Those of these commits that are ours.
    async fn among(&self, commits: &BTreeSet<String>) -> Result<BTreeSet<String>, RegistryError>;
}

/// The configuration repository.
#[async_trait]
pub trait Repo: Send + Sync {
    /// Kind, branch, tip and what blocks commits. Cheap: called each second.
    async fn info(&self) -> Result<RepoInfo, RepoError>;
    /// Takes over what the remote has; whether anything moved. `false` without a remote. One that cannot be looked at is an
    /// error that also stands in [`RepoInfo::remote`], and what was fetched before stays in force.
    async fn fetch(&self) -> Result<bool, RepoError>;
    /// The committed state of the tracked branch: what acts.
    async fn committed(&self) -> Result<Snapshot, RepoError>;
    /// The files as they lie in the work tree, edited or not: what is checked and shown. Equals `committed` for a folder.
    async fn worktree(&self) -> Result<Snapshot, RepoError>;
    /// Commits on the tracked branch, or says why not. Never touches a person's uncommitted work.
    async fn commit(&self, draft: &CommitDraft) -> Result<CommitOutcome, RepoError>;
    /// Makes the repair branch one commit on top of the tracked branch's tip, with these edits. Writes nothing if it is
    /// that already. A branch with a person's own commits is left alone and returned as `edited`.
    /// For a folder: a patch file below the state directory.
    async fn propose(&self, branch: &str, draft: &CommitDraft) -> Result<RepairBranch, RepoError>;
    /// Removes a repair branch (or patch) of ours; no error if it is gone.
    async fn withdraw(&self, branch: &str) -> Result<(), RepoError>;
    /// All branches below `aam/drift/`.
    async fn repair_branches(&self) -> Result<Vec<RepairBranch>, RepoError>;
    /// Merges a repair branch into the tracked branch with an `Aam-Approved-By` trailer: `aam drift approve`.
    async fn approve(&self, branch: &str, approver: &str) -> Result<CommitOutcome, RepoError>;
    /// The unified diff of a repair branch against the tracked branch.
    async fn branch_diff(&self, branch: &str) -> Result<String, RepoError>;
    /// The message of the first commit of a repair branch; empty where it has none, as a patch.
    async fn branch_message(&self, branch: &str) -> Result<String, RepoError>;
    /// Commits of the tracked branch that touched the path, newest first.
    async fn log(&self, path: &RepoPath, limit: u32) -> Result<Vec<LogEntry>, RepoError>;
    /// A file as it was at a commit.
    async fn file_at(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<String>, RepoError>;
    /// Whether a commit is another that is here, or comes after it.
    async fn holds(&self, commit: &CommitId, other: &CommitId) -> Result<bool, RepoError>;
    /// What merging a commit would bring, file by file; `None`: it is not here, nor at the remote. No ref moves, and nothing is
    /// written but what had to be fetched.
    async fn merge_of(&self, base: &CommitId, head: &CommitId) -> Result<Option<Merge>, RepoError>;
    /// Who works here, for approvals and rejections from the command line: `Name <mail>` from git's settings, else the
    /// system user.
    async fn person(&self) -> Result<String, RepoError>;
}
