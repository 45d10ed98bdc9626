//! The configuration repository behind [`crate::ports::Repo`]: [`git::GitRepo`], and [`folder::FolderRepo`] where there
//! is no git.
//!
//! `tree` reads a folder without following links, `git` calls the `git` program, `folder` writes files and patches.

mod beneath;
pub mod folder;
pub mod git;
mod names;
pub mod tree;

pub use beneath::put_new;
pub use names::FOLDERS;

use std::path::Path;
use std::sync::Arc;

use crate::ports::{OwnCommits, Remedy, Repo, RepoError};

/// Repair branches lie below this; nothing else is ever moved or deleted but the tracked branch.
pub const REPAIR_PREFIX: &str = "aam/drift/";

/// A repository that was opened.
pub enum Opened {
    /// Git's.
    Git(Box<git::GitRepo>),
    /// A plain folder, whose journal lies beside it.
    Folder(folder::FolderRepo),
}

impl Opened {
    /// The repository as its users see it. `own` knows which commits are ours; absent: only those of this process are.
    pub fn repo(self, own: Option<Arc<dyn OwnCommits>>) -> Arc<dyn Repo> {
        match (self, own) {
            (Self::Git(repo), Some(own)) => Arc::new(repo.with_own(own)),
            (Self::Git(repo), None) => Arc::new(*repo),
            (Self::Folder(repo), _) => Arc::new(repo),
        }
    }
}

/// Opens the repository that holds `root`: git's if a work tree of git holds it, else a plain folder.
///
/// `branch` names the tracked branch, where git is used and `HEAD` should not decide.
pub async fn open(root: &Path, branch: Option<&str>, state_dir: &Path) -> Result<Opened, RepoError> {
    if git::common_dir(root).await?.is_some() {
        Ok(Opened::Git(Box::new(git::GitRepo::open(root, branch, state_dir).await?)))
    } else {
        Ok(Opened::Folder(folder::FolderRepo::open(root, state_dir)?))
    }
}

/// An error that a person must mend.
fn needs_person(what: impl Into<String>, why: impl Into<String>) -> RepoError {
    RepoError { what: what.into(), why: why.into(), remedy: Remedy::Person }
}

/// An error that time may heal.
fn may_heal(what: impl Into<String>, why: impl Into<String>) -> RepoError {
    RepoError { what: what.into(), why: why.into(), remedy: Remedy::Retry }
}

/// Wraps an error of the file system.
fn io_error(what: impl Into<String>, error: &std::io::Error) -> RepoError {
    may_heal(what, names::escape(error.to_string().as_bytes()))
}

/// Refuses names that are no repair branch of ours.
fn check_repair_branch(branch: &str) -> Result<(), RepoError> {
    let part = |p: &str| {
        p.starts_with(|c: char| c.is_ascii_alphanumeric())
            && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !p.contains("..")
            && !p.ends_with('.')
            && !p.ends_with(".lock")
    };
    let ok = branch.strip_prefix(REPAIR_PREFIX).is_some_and(|rest| rest.split('/').all(part));
    if ok {
        return Ok(());
    }
    Err(needs_person(
        format!("repair branch {}", names::escape(branch.as_bytes())),
        format!("is not a name below {REPAIR_PREFIX}"),
    ))
}

/// Takes the lock that keeps two processes of ours from changing the repository at once; it ends with the value.
async fn lock_state(state_dir: &Path) -> Result<std::fs::File, RepoError> {
    lock_file(&state_dir.join("repo.lock")).await
}

async fn lock_file(path: &Path) -> Result<std::fs::File, RepoError> {
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| io_error(format!("opening {}", path.display()), &e))?;
    for _ in 0..600 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            Err(std::fs::TryLockError::Error(e)) => return Err(io_error(format!("locking {}", path.display()), &e)),
        }
    }
    Err(may_heal(format!("locking {}", path.display()), "another aam has held it for 30 s"))
}
