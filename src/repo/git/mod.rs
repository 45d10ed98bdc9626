//! The git adapter. It calls the `git` program, so that what a person configured holds, and moves refs only by
//! compare-and-swap.
//!
//! `command` runs one call, `objects` reads and builds trees and commits, `checkout` moves a branch together with the
//! work trees that have it checked out, `repairs` holds the repair branches, `history` answers questions about the past,
//! `own` tells our commits from others.
//! Where there is a remote, `clone` keeps what it has, `remote` fetches and pushes, `network` lets a call reach it.

mod asked;
mod between;
mod checkout;
mod clone;
mod command;
mod filters;
mod history;
mod network;
mod objects;
mod own;
mod recover;
mod remote;
mod repairs;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

pub use self::asked::{Below, below, prefix, version};
pub use self::between::merge_of;
pub(in crate::repo) use self::history::person;
pub use self::network::{Access, Login};
pub use self::own::Remembered;
pub use self::remote::Remote;

use self::checkout::Move;
use self::command::{Call, Identity};
use self::objects::{Edited, message};
use super::names::{self, FOLDERS, Verdict, escape};
use super::{REPAIR_PREFIX, beneath, io_error, lock_state, needs_person, tree};
use crate::model::{CommitId, RepoPath};
use crate::ports::{
    CommitDraft, CommitOutcome, LogEntry, Merge, OwnCommits, RepairBranch, Repo, RepoError, RepoInfo, Snapshot,
    Unreadable,
};

/// Folders below the state folder that hold an index of our own while a tree is written.
const PRIVATE_INDEX: &str = "index-";

/// How often a commit is made anew when somebody else was quicker at the remote.
const TRIES: u32 = 3;

/// A file in the state folder: the branch that is tracked where no setting names one.
const TRACKED: &str = "tracked-branch";

/// Called between the update of the work trees and that of the ref, or between push and fetch; tests put a racing commit here.
type Between = Arc<dyn Fn() + Send + Sync>;

/// A git repository with a tracked branch; the configuration may lie below its top. A person's, with work trees, or the
/// bare clone of a remote.
pub struct GitRepo {
    /// Where the files of the work tree are read; empty: of a clone that no work tree of a person goes with.
    root: PathBuf,
    /// The work tree that holds `root`; the clone itself.
    top: PathBuf,
    /// From `top` to `root`: empty, or ends with `/`.
    prefix: String,
    /// Of the work tree that holds `root`.
    git_dir: PathBuf,
    /// Shared by all work trees.
    common: PathBuf,
    branch: String,
    state_dir: PathBuf,
    identity: Identity,
    /// The id of a tree without files, in the repository's hash algorithm.
    empty_tree: String,
    between: Option<Between>,
    own: Arc<dyn OwnCommits>,
    /// Of a clone.
    remote: Option<Remote>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    last: Option<Snapshot>,
    blobs: HashMap<String, Arc<[u8]>>,
    git_dirs: HashMap<PathBuf, PathBuf>,
    /// By tracked tip and branch tip: whether it is merged, and which commits are its own.
    standing: HashMap<(String, String), repairs::Standing>,
    /// Commits of ours that were asked for or made.
    own: BTreeSet<String>,
    /// Repair branches, with their tips, that the remote refused to remove.
    kept: BTreeSet<(String, String)>,
}

/// The folder that all work trees of the git repository around `root` share (the watcher looks at its refs); `None`
/// if no work tree of git holds `root`.
pub async fn common_dir(root: &Path) -> Result<Option<PathBuf>, RepoError> {
    let what = "looking for a git repository";
    let root = std::fs::canonicalize(root).map_err(|e| io_error(what, &e))?;
    // Asked of the disk first: a plain folder needs no git program.
    if !root.ancestors().any(|dir| dir.join(".git").symlink_metadata().is_ok()) {
        return Ok(None);
    }
    let ask = |arg: &str| Call::within(&root, what).args(["rev-parse", "--path-format=absolute", arg]);
    if ask("--show-toplevel").done().await?.code != 0 {
        return Ok(None);
    }
    ask("--git-common-dir").text().await.map(|dir| Some(PathBuf::from(dir)))
}

impl GitRepo {
    /// Opens the repository whose work tree holds `root`. Tracks `branch`, else what the last start tracked, else the branch
    /// that `HEAD` points to now; never a repair.
    /// Finishes what a crash left half-done.
    pub async fn open(root: &Path, branch: Option<&str>, state_dir: &Path) -> Result<Self, RepoError> {
        let what = || format!("opening the git repository at {}", escape(root.as_os_str().as_encoded_bytes()));
        let root = std::fs::canonicalize(root).map_err(|e| io_error(what(), &e))?;
        std::fs::create_dir_all(state_dir).map_err(|e| io_error(what(), &e))?;
        let state_dir = std::fs::canonicalize(state_dir).map_err(|e| io_error(what(), &e))?;
        version(&root).await?;
        let ask = async |args: &[&str]| Call::within(&root, what()).arg("rev-parse").args(args).text().await;
        let top = PathBuf::from(ask(&["--path-format=absolute", "--show-toplevel"]).await?);
        let prefix = ask(&["--show-prefix"]).await?;
        let git_dir = PathBuf::from(ask(&["--path-format=absolute", "--git-dir"]).await?);
        let common = PathBuf::from(ask(&["--path-format=absolute", "--git-common-dir"]).await?);
        let configured = branch.is_some();
        let branch = match branch {
            Some(branch) => branch.to_owned(),
            None => match remembered_branch(&common, &state_dir).await? {
                Some(branch) => branch,
                None => head_branch(&root).await?.ok_or_else(|| {
                    needs_person(what(), "HEAD is detached; check a branch out, or set `branch` in [repository]")
                })?,
            },
        };
        usable_branch(&common, &branch).await?;
        let empty_tree = Call::objects(&common, what()).args(["hash-object", "-t", "tree", "--stdin"]).text().await?;
        let repo = Self {
            root,
            top,
            prefix,
            git_dir,
            common,
            branch,
            state_dir,
            identity: Identity { name: "aam".to_owned(), mail: "aam@localhost".to_owned() },
            empty_tree,
            between: None,
            own: Arc::new(Remembered::default()),
            remote: None,
            cache: Mutex::default(),
        };
        let _lock = lock_state(&repo.state_dir).await?;
        if !configured {
            repo.remember_branch()?;
        }
        repo.recover().await?;
        repo.sweep();
        Ok(repo)
    }

    /// Keeps the tracked branch for the next start, which may find a repair or another branch checked out.
    fn remember_branch(&self) -> Result<(), RepoError> {
        let path = self.state_dir.join(TRACKED);
        if std::fs::read_to_string(&path).is_ok_and(|known| known == self.branch) {
            return Ok(());
        }
        std::fs::write(&path, &self.branch).map_err(|e| io_error(format!("writing {}", path.display()), &e))
    }

    /// Removes private indexes that a crash left; whoever uses one holds the lock on the state folder.
    fn sweep(&self) {
        for entry in std::fs::read_dir(&self.state_dir).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(PRIVATE_INDEX.as_bytes()) {
                // What stays is swept at the next start.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Commits under another name and mail than `aam <aam@localhost>`.
    #[must_use]
    pub fn with_identity(mut self, name: &str, mail: &str) -> Self {
        self.identity = Identity { name: name.to_owned(), mail: mail.to_owned() };
        self
    }

    /// Calls `between` when work trees are updated and the ref is not: for tests of races and crashes.
    #[doc(hidden)]
    #[must_use]
    pub fn with_between(mut self, between: impl Fn() + Send + Sync + 'static) -> Self {
        self.between = Some(Arc::new(between));
        self
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tracked_ref(&self) -> String {
        self.head_ref(&self.branch)
    }

    /// The full name of a branch: of a clone, as it was last fetched.
    fn head_ref(&self, branch: &str) -> String {
        let heads = if self.remote.is_some() { "refs/remotes/origin/" } else { "refs/heads/" };
        format!("{heads}{branch}")
    }

    /// The commit a ref points to.
    async fn tip(&self, name: &str) -> Result<Option<String>, RepoError> {
        let what = format!("reading {name}");
        let done = Call::objects(&self.common, &*what)
            .args(["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])
            .done()
            .await?;
        match done.code {
            0 => Ok(Some(command::text_of(what, done.out)?)),
            1 if done.err.is_empty() => Ok(None),
            _ => Err(done.error(what)),
        }
    }

    /// Whether somebody else was quicker at the remote, so that the same is to be done on the new tip. A work tree's branch
    /// moves on by people who look at it: that is planned anew.
    async fn is_outrun(&self, outcome: &CommitOutcome, before: Option<&str>) -> Result<bool, RepoError> {
        let moved = *outcome == CommitOutcome::Moved && self.remote.is_some();
        Ok(moved && self.tip(&self.tracked_ref()).await?.as_deref() != before)
    }

    async fn commit_once(&self, draft: &CommitDraft) -> Result<CommitOutcome, RepoError> {
        let _lock = lock_state(&self.state_dir).await?;
        if let Some(why) = self.recover().await? {
            return Ok(CommitOutcome::Refused(why));
        }
        let name = self.tracked_ref();
        let tip = self.tip(&name).await?;
        let tree = match self.edit_tree(tip.as_deref(), &draft.edits).await? {
            Edited::Tree(tree) => tree,
            Edited::Differs(_) => return Ok(CommitOutcome::Moved),
            Edited::Odd(why) => return Ok(CommitOutcome::Refused(why)),
            Edited::Already => {
                return match tip {
                    Some(tip) => Ok(CommitOutcome::Committed(self.last_touch(&tip, draft).await?)),
                    None => Ok(CommitOutcome::Refused("there is nothing to commit".to_owned())),
                };
            }
        };
        let parents: Vec<&str> = tip.iter().map(String::as_str).collect();
        let made = (own::tenant_of(&draft.edits), message(draft));
        Ok(match self.commit_to(&name, tip.as_deref(), &tree, &parents, made).await? {
            Move::Done(commit) => CommitOutcome::Committed(CommitId(commit)),
            Move::Raced => CommitOutcome::Moved,
            Move::Refused(why) => CommitOutcome::Refused(why),
        })
    }

    async fn snapshot_of(&self, commit: &str) -> Result<Snapshot, RepoError> {
        let paths: Vec<String> = FOLDERS.iter().map(|f| format!("{}{f}", self.prefix)).collect();
        let mut snapshot = Snapshot { commit: Some(CommitId(commit.to_owned())), ..Snapshot::default() };
        let mut wanted: Vec<(RepoPath, String)> = Vec::new();
        let mut total = 0;
        for entry in self.list(commit, &paths, true).await? {
            let Some(path) = entry.path.strip_prefix(self.prefix.as_bytes()) else { continue };
            let verdict = names::judge_file(path);
            let not_file = match &*entry.mode {
                "120000" => Some(Unreadable::Link),
                "160000" => Some(Unreadable::NotAFile),
                _ => None,
            };
            let bad = match (verdict, not_file) {
                // A link without a spec's name may stand for a folder of specs, but no hidden one does.
                (Verdict::Ignore, Some(why)) if !path.split(|b| *b == b'/').any(names::is_leftover) => {
                    (escape(path), why)
                }
                (Verdict::Ignore, _) => continue,
                (Verdict::Bad(shown, why), _) => (shown, why),
                (Verdict::Take(path), Some(why)) => (path.as_str().to_owned(), why),
                (Verdict::Take(path), None) => {
                    let size = entry.size.unwrap_or(0);
                    if size > beneath::MAX_FILE {
                        (path.as_str().to_owned(), Unreadable::TooLarge(size))
                    } else if total + size > tree::MAX_TOTAL {
                        (path.as_str().to_owned(), tree::over_total())
                    } else {
                        total += size;
                        wanted.push((path, entry.oid));
                        continue;
                    }
                }
            };
            snapshot.unreadable.insert(bad.0, bad.1);
        }
        let known = self.cache().blobs.clone();
        let new: BTreeSet<String> =
            wanted.iter().filter(|(_, oid)| !known.contains_key(oid)).map(|(_, oid)| oid.clone()).collect();
        let fetched: HashMap<String, Arc<[u8]>> =
            self.blobs(&new).await?.into_iter().map(|(oid, content)| (oid, Arc::from(content))).collect();
        let mut kept = HashMap::new();
        for (path, oid) in wanted {
            match known.get(&oid).or_else(|| fetched.get(&oid)) {
                Some(content) => {
                    snapshot.files.insert(path, content.clone());
                    kept.insert(oid, content.clone());
                }
                None => {
                    let why = Unreadable::Io(format!("git lacks the object {oid}"));
                    snapshot.unreadable.insert(path.as_str().to_owned(), why);
                }
            }
        }
        let mut cache = self.cache();
        cache.blobs = kept;
        cache.last = Some(snapshot.clone());
        Ok(snapshot)
    }
}

/// Refuses a name that cannot be a tracked branch.
async fn usable_branch(dir: &Path, branch: &str) -> Result<(), RepoError> {
    let what = "choosing the branch to track";
    let name = format!("refs/heads/{branch}");
    let checked = Call::within(dir, what).args(["check-ref-format", &name]).done().await?.code == 0;
    if !checked || branch.starts_with('-') {
        let shown = escape(branch.as_bytes());
        return Err(needs_person(what, format!("`{shown}` cannot be the name of a branch")));
    }
    if branch.starts_with(REPAIR_PREFIX) {
        let why =
            format!("{branch} is a repair, which acts only once it is merged; switch to the branch that it is for");
        return Err(needs_person(what, why));
    }
    Ok(())
}

/// The branch that was tracked at the last start, if it is still there. What a person has checked out at the moment of a
/// start must not decide what acts.
async fn remembered_branch(common: &Path, state_dir: &Path) -> Result<Option<String>, RepoError> {
    let Ok(branch) = std::fs::read_to_string(state_dir.join(TRACKED)) else { return Ok(None) };
    let name = format!("refs/heads/{branch}");
    let done = Call::objects(common, "looking for the tracked branch").args(["show-ref", "--verify", "--quiet", &name]);
    Ok((done.done().await?.code == 0).then_some(branch))
}

/// The branch that `HEAD` of the work tree points to; `None` if it is detached.
async fn head_branch(dir: &Path) -> Result<Option<String>, RepoError> {
    let what = "reading HEAD";
    let done = Call::within(dir, what).args(["symbolic-ref", "--quiet", "HEAD"]).done().await?;
    match done.code {
        0 => Ok(command::text_of(what, done.out)?.strip_prefix("refs/heads/").map(str::to_owned)),
        1 => Ok(None),
        _ => Err(done.error(what)),
    }
}

#[async_trait]
impl Repo for GitRepo {
    async fn info(&self) -> Result<RepoInfo, RepoError> {
        let head = self.tip(&self.tracked_ref()).await?.map(CommitId);
        let blocked = self.blocker(&self.tracked_ref(), 0).await?;
        let remote = self.remote.as_ref().map(|remote| self.standing_of_remote(remote));
        Ok(RepoInfo { kind: "git".to_owned(), branch: Some(self.branch.clone()), head, blocked, remote })
    }

    async fn fetch(&self) -> Result<bool, RepoError> {
        self.take_over().await
    }

    async fn committed(&self) -> Result<Snapshot, RepoError> {
        let Some(tip) = self.tip(&self.tracked_ref()).await? else { return Ok(Snapshot::default()) };
        let last = self.cache().last.clone();
        match last.filter(|s| s.commit.as_ref().is_some_and(|c| c.0 == tip)) {
            Some(snapshot) => Ok(snapshot),
            None => self.snapshot_of(&tip).await,
        }
    }

    async fn worktree(&self) -> Result<Snapshot, RepoError> {
        if self.root.as_os_str().is_empty() {
            return self.committed().await;
        }
        let root = self.root.clone();
        let what = "reading the work tree";
        tokio::task::spawn_blocking(move || tree::read_tree(&root))
            .await
            .map_err(|e| super::may_heal(what, e.to_string()))?
            .map_err(|e| io_error(what, &e))
    }

    async fn commit(&self, draft: &CommitDraft) -> Result<CommitOutcome, RepoError> {
        for _ in 1..TRIES {
            let before = self.tip(&self.tracked_ref()).await?;
            let outcome = self.commit_once(draft).await?;
            if !self.is_outrun(&outcome, before.as_deref()).await? {
                return Ok(outcome);
            }
        }
        self.commit_once(draft).await
    }

    async fn propose(&self, branch: &str, draft: &CommitDraft) -> Result<RepairBranch, RepoError> {
        for _ in 1..TRIES {
            if let Some(proposed) = self.propose_branch(branch, draft).await? {
                return Ok(proposed);
            }
            if self.remote.is_none() {
                break;
            }
        }
        let raced =
            || super::may_heal(format!("proposing {branch}"), "somebody else moved the branch at the same time");
        self.propose_branch(branch, draft).await?.ok_or_else(raced)
    }

    async fn withdraw(&self, branch: &str) -> Result<(), RepoError> {
        self.withdraw_branch(branch).await
    }

    async fn repair_branches(&self) -> Result<Vec<RepairBranch>, RepoError> {
        self.list_branches().await
    }

    async fn approve(&self, branch: &str, approver: &str) -> Result<CommitOutcome, RepoError> {
        // What is merged is what the remote has now, a person's newest commit included.
        self.take_over().await?;
        for _ in 1..TRIES {
            let before = self.tip(&self.tracked_ref()).await?;
            let outcome = self.approve_branch(branch, approver).await?;
            if !self.is_outrun(&outcome, before.as_deref()).await? {
                return Ok(outcome);
            }
        }
        self.approve_branch(branch, approver).await
    }

    async fn branch_diff(&self, branch: &str) -> Result<String, RepoError> {
        self.diff_branch(branch).await
    }

    async fn branch_message(&self, branch: &str) -> Result<String, RepoError> {
        self.message_of_branch(branch).await
    }

    async fn log(&self, path: &RepoPath, limit: u32) -> Result<Vec<LogEntry>, RepoError> {
        self.read_log(path, limit).await
    }

    async fn file_at(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<String>, RepoError> {
        self.read_file_at(commit, path).await
    }

    async fn holds(&self, commit: &CommitId, other: &CommitId) -> Result<bool, RepoError> {
        Ok(self.tip(&other.0).await?.is_some() && self.is_ancestor(&other.0, &commit.0).await?)
    }

    async fn merge_of(&self, base: &CommitId, head: &CommitId) -> Result<Option<Merge>, RepoError> {
        self.merge_with(base, head).await
    }

    async fn person(&self) -> Result<String, RepoError> {
        self.read_person().await
    }
}
