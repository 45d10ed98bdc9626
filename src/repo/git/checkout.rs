//! Moving a branch together with the work trees that have it checked out, or not at all.
//!
//! Order: look that nothing of a person's is in the way; write down what is about to happen; in each work tree a
//! two-tree merge of index and files (it keeps every other path as it is); then the ref, by compare-and-swap. If that
//! fails, the work trees are put back. `recover` does the same for what a crash left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::GitRepo;
use super::command::{Call, text_of};
use super::filters::Filters;
use super::recover::{PutBack, Unfinished};
use super::remote::Pushed;
use crate::model::TenantId;
use crate::ports::{RepoError, applied, written};
use crate::repo::names::escape;

/// A person's own short git command is waited for this long, in steps of 50 ms.
pub(super) const LOCK_STEPS: u32 = 20;

/// What became of moving a branch.
#[derive(Debug)]
pub(super) enum Move {
    /// Work trees and ref are at this commit.
    Done(String),
    /// The ref was moved by somebody else; work trees are as before.
    Raced,
    /// Nothing moved.
    Refused(String),
}

/// A work tree that uses a branch.
#[derive(Debug, Clone)]
pub(super) struct Checkout {
    pub path: PathBuf,
    pub git_dir: PathBuf,
}

impl Checkout {
    fn shown(&self) -> String {
        escape(self.path.as_os_str().as_encoded_bytes())
    }
}

/// Files of a work tree's git folder that stand for an operation under way.
const OPERATIONS: &[(&str, &str)] = &[
    ("MERGE_HEAD", "a merge"),
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("sequencer", "a cherry-pick or revert"),
    ("BISECT_LOG", "a bisect"),
];

/// Files of a detached work tree's git folder that name the branch to return to.
const RETURNS_TO: &[(&str, &str)] =
    &[("rebase-merge/head-name", "a rebase"), ("rebase-apply/head-name", "a rebase"), ("BISECT_START", "a bisect")];

impl GitRepo {
    /// The work trees that have the branch checked out; `Err` in words if one of them cannot be worked with now.
    pub(super) async fn checkouts(&self, name: &str) -> Result<Result<Vec<Checkout>, String>, RepoError> {
        let out = Call::objects(&self.common, "listing work trees")
            .args(["worktree", "list", "--porcelain", "-z"])
            .bytes()
            .await?;
        let mut found = Vec::new();
        let mut first = true;
        let mut record: Vec<&[u8]> = Vec::new();
        for line in out.split(|b| *b == 0) {
            if !line.is_empty() {
                record.push(line);
                continue;
            }
            let lines = std::mem::take(&mut record);
            let value = |key: &[u8]| lines.iter().find_map(|l| l.strip_prefix(key));
            let Some(path) = value(b"worktree ") else { continue };
            let main = std::mem::replace(&mut first, false);
            if lines.contains(&&b"bare"[..]) {
                continue;
            }
            let on_branch = value(b"branch ").is_some_and(|b| b == name.as_bytes());
            let detached = lines.contains(&&b"detached"[..]);
            if !on_branch && !detached {
                continue;
            }
            // git derives the main work tree's path from its folder's, which is wrong where that lies elsewhere.
            let path = match String::from_utf8(path.to_vec()) {
                Ok(_) if main && self.git_dir == self.common => self.top.clone(),
                Ok(path) => PathBuf::from(path),
                Err(_) if on_branch => return Ok(Err("a work tree's path is not UTF-8".to_owned())),
                Err(_) => continue,
            };
            let shown = escape(path.as_os_str().as_encoded_bytes());
            let git_dir = match self.git_dir_of(&path).await? {
                Some(git_dir) => git_dir,
                None if !on_branch || value(b"prunable").is_some() => continue,
                None => return Ok(Err(format!("the branch is checked out in {shown}, which cannot be reached"))),
            };
            if detached {
                for (file, operation) in RETURNS_TO {
                    let text = std::fs::read_to_string(git_dir.join(file)).unwrap_or_default();
                    let text = text.trim();
                    if text == name || Some(text) == name.strip_prefix("refs/heads/") {
                        return Ok(Err(format!("{operation} of the branch is in progress in {shown}")));
                    }
                }
                continue;
            }
            found.push(Checkout { path, git_dir });
        }
        Ok(Ok(found))
    }

    async fn git_dir_of(&self, path: &Path) -> Result<Option<PathBuf>, RepoError> {
        if path == self.top {
            return Ok(Some(self.git_dir.clone()));
        }
        let known = self.cache().git_dirs.get(path).cloned();
        if let Some(git_dir) = known.filter(|d| d.is_dir() && path.is_dir()) {
            return Ok(Some(git_dir));
        }
        if !path.is_dir() {
            return Ok(None);
        }
        let what = "looking at a work tree";
        let done = Call::within(path, what).args(["rev-parse", "--absolute-git-dir"]).done().await?;
        if done.code != 0 {
            return Ok(None);
        }
        let git_dir = PathBuf::from(text_of(what, done.out)?);
        self.cache().git_dirs.insert(path.to_owned(), git_dir.clone());
        Ok(Some(git_dir))
    }

    /// What keeps commits of ours off a branch now, in words. Cheap; says nothing about single files. A held lock is
    /// waited for in `steps` of 50 ms.
    pub(super) async fn blocker(&self, name: &str, steps: u32) -> Result<Option<String>, RepoError> {
        let checkouts = match self.checkouts(name).await? {
            Ok(checkouts) => checkouts,
            Err(why) => return Ok(Some(why)),
        };
        for checkout in checkouts {
            for (file, operation) in OPERATIONS {
                if checkout.git_dir.join(file).exists() {
                    return Ok(Some(format!("{operation} is in progress in {}", checkout.shown())));
                }
            }
            if let Some(why) = held(&checkout.git_dir, steps).await {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// The work trees that a branch moves together with, from `old` (`None`: it does not exist) to `new`, a commit or a
    /// tree; in words what is in the way, if anything. Asked before a commit is made, a refusal leaves no object behind.
    pub(super) async fn may_move(
        &self,
        name: &str,
        old: Option<&str>,
        new: &str,
    ) -> Result<Result<Vec<Checkout>, String>, RepoError> {
        let checkouts = match self.checkouts(name).await? {
            Ok(checkouts) => checkouts,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(why) = self.blocker(name, LOCK_STEPS).await? {
            return Ok(Err(why));
        }
        if !checkouts.is_empty() {
            let paths = self.changed_paths(old.unwrap_or(&self.empty_tree), new).await?;
            for checkout in &checkouts {
                let drivers = Filters::of(&checkout.path).await?;
                if let Some(why) = in_the_way(checkout, &paths, &drivers).await? {
                    return Ok(Err(why));
                }
            }
        }
        Ok(Ok(checkouts))
    }

    /// Makes a commit, with whose it is and its message, and moves a branch to it from `old` (`None`: it does not exist).
    pub(super) async fn commit_to(
        &self,
        name: &str,
        old: Option<&str>,
        tree: &str,
        parents: &[&str],
        made: (TenantId, String),
    ) -> Result<Move, RepoError> {
        if let Err(why) = self.may_move(name, old, tree).await? {
            return Ok(Move::Refused(why));
        }
        let commit = self.write_commit(tree, parents, made).await?;
        self.move_branch(name, old, &commit).await
    }

    /// Moves a branch from `old` (`None`: it does not exist) to `new`.
    pub(super) async fn move_branch(&self, name: &str, old: Option<&str>, new: &str) -> Result<Move, RepoError> {
        if let Some(remote) = &self.remote {
            return Ok(match self.push_and_fetch(remote, name, old, Some(new)).await? {
                Pushed::Done => Move::Done(new.to_owned()),
                Pushed::Raced => Move::Raced,
                Pushed::Refused(why) => Move::Refused(why),
            });
        }
        let checkouts = match self.may_move(name, old, new).await? {
            Ok(checkouts) => checkouts,
            Err(why) => return Ok(Move::Refused(why)),
        };
        let from = old.unwrap_or(&self.empty_tree);
        let unfinished = Unfinished {
            name: name.to_owned(),
            old: from.to_owned(),
            new: new.to_owned(),
            work_trees: checkouts.iter().map(|c| c.path.clone()).collect(),
        };
        if !checkouts.is_empty() {
            self.begin(&unfinished)?;
        }
        for checkout in &checkouts {
            if let Some(why) =
                written("update_work_tree", applied("update_work_tree", self.merge_in(checkout, from, new))).await?
            {
                self.put_all_back(&unfinished).await?;
                return Ok(Move::Refused(why));
            }
        }
        if let Some(between) = &self.between {
            between();
        }
        let zero = "0".repeat(self.empty_tree.len());
        let swap = Call::objects(&self.common, "moving a branch").identity(&self.identity).args([
            "update-ref",
            "-m",
            "aam: commit",
            name,
            new,
            old.unwrap_or(&zero),
        ]);
        let swapped = written("move_ref", applied("move_ref", swap.done())).await;
        let failed = match swapped {
            Ok(done) if done.code == 0 => None,
            Ok(done) => Some(Ok(done)),
            Err(e) => Some(Err(e)),
        };
        let Some(failed) = failed else {
            self.end()?;
            return Ok(Move::Done(new.to_owned()));
        };
        // An unknown outcome: look first.
        if self.tip(name).await?.as_deref() == Some(new) {
            self.end()?;
            return Ok(Move::Done(new.to_owned()));
        }
        self.put_all_back(&unfinished).await?;
        if self.tip(name).await?.as_deref() != old {
            return Ok(Move::Raced);
        }
        Ok(Move::Refused(format!("git does not move the branch: {}", failed?.err)))
    }

    async fn put_all_back(&self, unfinished: &Unfinished) -> Result<(), RepoError> {
        for path in &unfinished.work_trees {
            // Held by somebody's git: what was begun stays written down, and is put back before the next commit.
            if let PutBack::Held(_) = self.put_back(path, unfinished).await? {
                return Ok(());
            }
        }
        self.end()
    }

    /// Paths from the top that differ between two commits or trees.
    pub(super) async fn changed_paths(&self, from: &str, to: &str) -> Result<Vec<Vec<u8>>, RepoError> {
        let out = Call::objects(&self.common, "comparing two commits")
            .args(["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", from, to])
            .bytes()
            .await?;
        Ok(out.split(|b| *b == 0).filter(|p| !p.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// The two-tree merge. Refused in words if git finds something of a person's in the way; then nothing was written.
    async fn merge_in(&self, checkout: &Checkout, old: &str, new: &str) -> Result<Option<String>, RepoError> {
        let filters = Filters::of(&checkout.path).await?;
        let merge = || {
            let call = Call::within(&checkout.path, "updating a work tree").settings(&filters.off());
            call.args(["read-tree", "-m", "-u", old, new])
        };
        if merge().done().await?.code == 0 {
            return Ok(None);
        }
        // Touched but unchanged files count as changed until their times are read again.
        refresh(&checkout.path, &filters).await?;
        let done = merge().done().await?;
        Ok((done.code != 0).then(|| format!("git does not update {}: {}", checkout.shown(), done.err)))
    }
}

/// A person's uncommitted work on one of the paths, or what else keeps us from writing there, in words.
async fn in_the_way(checkout: &Checkout, paths: &[Vec<u8>], filters: &Filters) -> Result<Option<String>, RepoError> {
    let paths: Vec<&std::ffi::OsStr> = paths.iter().map(|p| os(p)).collect();
    let call = |what: &str| Call::within(&checkout.path, what).settings(&filters.off());
    let shown = checkout.shown();
    for some in paths.chunks(500) {
        let status = call("looking for uncommitted work")
            .args(["status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignored=traditional"])
            .args(["--no-renames", "--ignore-submodules=all", "--"])
            .args(some)
            .bytes()
            .await?;
        if let Some(line) = status.split(|b| *b == 0).find(|l| l.len() > 3) {
            let state = match &line[..2] {
                b"??" => "is untracked",
                b"!!" => "is ignored by git",
                b"UU" | b"AA" | b"DD" | b"AU" | b"UA" | b"DU" | b"UD" => "has a conflict",
                _ => "has uncommitted changes",
            };
            return Ok(Some(format!("{} {state} in {shown}", escape(&line[3..]))));
        }
        // Paths that git is told not to look at: its status is silent about edits there.
        let flags = call("looking for hidden work").args(["ls-files", "-v", "-z", "--"]).args(some).bytes().await?;
        for line in flags.split(|b| *b == 0).filter(|l| l.len() > 2) {
            let hidden = line[0].is_ascii_lowercase()
                || (line[0] == b'S' && checkout.path.join(os(&line[2..])).symlink_metadata().is_ok());
            if hidden {
                return Ok(Some(format!("git is told to overlook {} in {shown}", escape(&line[2..]))));
            }
        }
        if let Some((path, name)) = filters.on(&checkout.path, some).await? {
            return Ok(Some(format!(
                "{path} goes through the git filter `{name}`, which aam does not run, in {shown}"
            )));
        }
    }
    Ok(None)
}

/// Reads the times of all files again, as `git status` does.
pub(super) async fn refresh(path: &Path, filters: &Filters) -> Result<(), RepoError> {
    let call = Call::within(path, "refreshing an index").settings(&filters.off());
    call.args(["update-index", "-q", "--refresh"]).done().await.map(drop)
}

/// Waits a moment for a lock on index or HEAD to go; in words if it stays.
pub(super) async fn held(git_dir: &Path, steps: u32) -> Option<String> {
    for file in ["index.lock", "HEAD.lock"] {
        let lock = git_dir.join(file);
        let mut waited = 0;
        while lock.symlink_metadata().is_ok() {
            if waited >= steps {
                let shown = escape(lock.as_os_str().as_encoded_bytes());
                return Some(format!("{shown} is held; if no git is at work there, remove it"));
            }
            waited += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    None
}

/// Bytes as an argument.
pub(super) fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}
