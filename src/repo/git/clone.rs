//! A bare clone of a remote: kept below the state folder, with no work tree and no branch of its own.
//!
//! Its refs are what the remote had when it was last looked at (`refs/remotes/origin/…`): the tracked branch, which is
//! the committed state, and the repair branches. Nothing but a fetch moves them, so what acts was read back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{TimeDelta, Utc};

use super::command::Call;
use super::remote::{Pushed, Remote, look, looking};
use super::{Cache, GitRepo, Identity, Remembered, TRACKED, escape, network, usable_branch, version};
use crate::model::{RemoteInfo, RemoteTrouble, Rewritten};
use crate::ports::{RepoError, applied, written};
use crate::repo::{REPAIR_PREFIX, io_error, lock_file, needs_person};

/// The clone's folder below the state folder.
const CLONE: &str = "repository.git";

/// A file in the state folder: how the remote stood when it was last looked at.
const STANDING: &str = "remote.json";

/// The first rest after a failure, doubled with each further one (10 s) …
const REST: TimeDelta = TimeDelta::seconds(10);

/// … up to this (5 min).
const LONGEST_REST: TimeDelta = TimeDelta::minutes(5);

/// A rewritten history is told for so long (1 day).
const TOLD: TimeDelta = TimeDelta::days(1);

impl GitRepo {
    /// Opens the clone of a remote in the state folder; makes it, if there is none, and fetches. `prefix` is the
    /// configuration root within the repository: empty, or ends with `/`. `desk` is a work tree of a person that is read to
    /// show what is not committed, and never written. Tracks `branch`, else the remote's default branch when it was first
    /// seen.
    pub async fn open_clone(
        remote: Remote,
        prefix: String,
        desk: Option<PathBuf>,
        branch: Option<&str>,
        state_dir: &Path,
    ) -> Result<Self, RepoError> {
        let what = || format!("opening the clone of {}", remote.access.url);
        std::fs::create_dir_all(state_dir).map_err(|e| io_error(what(), &e))?;
        let state_dir = std::fs::canonicalize(state_dir).map_err(|e| io_error(what(), &e))?;
        version(&state_dir).await?;
        network::sweep(&state_dir);
        let common = state_dir.join(CLONE);
        let known = std::fs::read_to_string(state_dir.join(TRACKED)).ok();
        let wanted = branch.map(str::to_owned).or(known);
        if let Some(branch) = &wanted {
            usable_branch(&state_dir, branch).await?;
        }
        let branch = match wanted.filter(|_| common.join("HEAD").is_file()) {
            Some(branch) => branch,
            None => make(&remote, branch, &state_dir, &common).await?,
        };
        let empty_tree = Call::objects(&common, what()).args(["hash-object", "-t", "tree", "--stdin"]).text().await?;
        let repo = Self {
            root: desk.unwrap_or_default(),
            top: common.clone(),
            prefix,
            git_dir: common.clone(),
            common,
            branch,
            state_dir,
            identity: Identity { name: "aam".to_owned(), mail: "aam@localhost".to_owned() },
            empty_tree,
            between: None,
            own: Arc::new(Remembered::default()),
            remote: Some(remote),
            cache: std::sync::Mutex::new(Cache::default()),
        };
        repo.remember_branch()?;
        if repo.tip(&repo.tracked_ref()).await?.is_none() {
            repo.take_over().await?;
        }
        Ok(repo)
    }

    /// Whether the remote would take a repair branch, as far as it says without one; in words why not. Without a remote there
    /// is nobody to refuse.
    pub async fn may_push(&self) -> Result<Result<(), String>, RepoError> {
        let Some(remote) = &self.remote else { return Ok(Ok(())) };
        Ok(match self.try_push(remote).await? {
            Pushed::Done | Pushed::Raced => Ok(()),
            Pushed::Refused(why) => Err(why),
        })
    }

    /// Takes over what the remote has, and notes how that went; whether anything moved.
    pub(super) async fn take_over(&self) -> Result<bool, RepoError> {
        let Some(remote) = &self.remote else { return Ok(false) };
        let _turn = remote.turn.lock().await;
        let _alone = lock_file(&self.state_dir.join("remote.lock")).await?;
        let before = self.standing_of_remote(remote);
        let taken = match self.take(remote).await {
            // Removed between look and fetch.
            Err(error) if error.why.contains("couldn't find remote ref") => self.take(remote).await,
            taken => taken,
        };
        match taken {
            Ok((moved, rewritten)) => {
                let now = Utc::now();
                self.note_remote(&RemoteInfo {
                    fetched_at: Some(now),
                    trouble: None,
                    rewritten,
                    next_at: TimeDelta::from_std(remote.interval).ok().and_then(|rest| now.checked_add_signed(rest)),
                    ..before
                })?;
                Ok(moved)
            }
            Err(error) => {
                self.forget_locks();
                self.note_unreachable(remote, &error)?;
                Err(error)
            }
        }
    }

    /// Removes locks of refs that a crash of the machine left: nobody but us works in the clone, one at a time.
    fn forget_locks(&self) {
        let files = |folder: &Path, depth| walkdir::WalkDir::new(folder).max_depth(depth).into_iter().flatten();
        for entry in files(&self.common, 1).chain(files(&self.common.join("refs"), usize::MAX)) {
            if entry.path().extension().is_some_and(|e| e == "lock") && network::is_over(entry.path()) {
                // What stays is tried again with the next failure.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    async fn take(&self, remote: &Remote) -> Result<(bool, Option<Rewritten>), RepoError> {
        let seen = look(self.reach(remote, looking(remote))?, remote, Some(&self.branch)).await?;
        let tracked = format!("refs/heads/{}", self.branch);
        let Some(tip) = seen.tips.get(&tracked) else {
            return Err(needs_person(looking(remote), gone(&self.branch, seen.default_branch.as_deref())));
        };
        let before = self.tip(&self.tracked_ref()).await?;
        let rewritten = self.standing_of_remote(remote).rewritten;
        let own = self.own_among(seen.tips.values().cloned().collect()).await?;
        let mut moved = false;
        let mut missing = Vec::new();
        // Those that are gone first: a name may come back as a folder of names.
        for (name, old) in self.remote_repairs().await? {
            if !seen.tips.contains_key(&format!("refs/heads/{name}")) {
                self.move_ref(&self.head_ref(&name), None, Some(&old)).await?;
                moved = true;
            }
        }
        for (name, tip) in &seen.tips {
            let Some(short) = name.strip_prefix("refs/heads/") else { continue };
            let old = self.tip(&self.head_ref(short)).await?;
            if old.as_ref() == Some(tip) {
                continue;
            }
            moved = true;
            // What we made is here already: that the remote shows it is enough.
            if own.contains(tip) && self.tip(tip).await?.is_some() {
                self.move_ref(&self.head_ref(short), Some(tip), old.as_deref()).await?;
            } else {
                missing.push(short.to_owned());
            }
        }
        if !missing.is_empty() {
            self.fetch_branches(remote, &missing).await?;
        }
        let now = self.tip(&self.tracked_ref()).await?.unwrap_or_else(|| tip.clone());
        Ok((moved, self.rewritten(before, &now, rewritten).await?))
    }

    /// What is to be told of a tracked branch that moved to a commit that does not follow from the one before: for a day, or
    /// until that one is back.
    async fn rewritten(
        &self,
        before: Option<String>,
        now: &str,
        known: Option<Rewritten>,
    ) -> Result<Option<Rewritten>, RepoError> {
        if let Some(before) = before
            && !self.is_ancestor(&before, now).await?
        {
            return Ok(Some(Rewritten { at: Utc::now(), from: before, to: now.to_owned() }));
        }
        let Some(known) = known.filter(|known| Utc::now() - known.at < TOLD) else { return Ok(None) };
        // A clone made anew does not have it.
        if self.tip(&known.from).await.unwrap_or(None).is_none() {
            return Ok(Some(known));
        }
        Ok(if self.is_ancestor(&known.from, now).await? { None } else { Some(known) })
    }

    /// Repair branches as they were last fetched: short name and tip.
    async fn remote_repairs(&self) -> Result<Vec<(String, String)>, RepoError> {
        let below = self.head_ref(REPAIR_PREFIX);
        let format = "--format=%(objectname) %(refname)";
        let listed = Call::objects(&self.common, "listing repair branches").args(["for-each-ref", format, &below]);
        let prefix = self.head_ref("");
        Ok(listed
            .text()
            .await?
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(tip, name)| Some((name.strip_prefix(&prefix)?.to_owned(), tip.to_owned())))
            .collect())
    }

    /// Moves a ref of the clone by compare-and-swap.
    async fn move_ref(&self, name: &str, to: Option<&str>, from: Option<&str>) -> Result<(), RepoError> {
        let what = format!("noting {name}");
        let zero = "0".repeat(self.empty_tree.len());
        let (to, from) = (to.unwrap_or(&zero), from.unwrap_or(&zero));
        Call::objects(&self.common, what).args(["update-ref", name, to, from]).bytes().await.map(drop)
    }

    /// Pushes a branch from `old` to `new` and reads back what the remote has then.
    pub(super) async fn push_and_fetch(
        &self,
        remote: &Remote,
        name: &str,
        old: Option<&str>,
        new: Option<&str>,
    ) -> Result<Pushed, RepoError> {
        let branch = name.strip_prefix(&self.head_ref("")).unwrap_or(name);
        let pushed = written("push", applied("push", self.push(remote, branch, old, new))).await;
        if let Some(between) = &self.between {
            between();
        }
        let pushed = match pushed {
            Ok(pushed) => pushed,
            Err(error) => {
                self.note_unreachable(remote, &error)?;
                return Err(error);
            }
        };
        if let Pushed::Refused(_) = pushed {
            return Ok(pushed);
        }
        self.take_over().await?;
        let here = self.tip(name).await?;
        let arrived = match (new, &here) {
            (None, here) => here.is_none(),
            (Some(new), Some(here)) => self.is_ancestor(new, here).await?,
            (Some(_), None) => false,
        };
        if !arrived && here.as_deref() == old {
            let why = "the remote says that somebody else moves the branch, and nobody does";
            return Ok(Pushed::Refused(why.to_owned()));
        }
        Ok(if arrived { Pushed::Done } else { Pushed::Raced })
    }

    /// How the remote stood when it was last looked at, by this process or another.
    pub(super) fn standing_of_remote(&self, remote: &Remote) -> RemoteInfo {
        let url = remote.access.url.to_string();
        let nothing = RemoteInfo { url: url.clone(), fetched_at: None, trouble: None, rewritten: None, next_at: None };
        let Ok(text) = std::fs::read(self.state_dir.join(STANDING)) else { return nothing };
        serde_json::from_slice::<RemoteInfo>(&text).ok().filter(|known| known.url == url).unwrap_or(nothing)
    }

    fn note_remote(&self, standing: &RemoteInfo) -> Result<(), RepoError> {
        let path = self.state_dir.join(STANDING);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.state_dir)?;
            serde_json::to_writer(&mut file, standing)?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|e| io_error(format!("writing {}", path.display()), &e))
    }

    fn note_unreachable(&self, remote: &Remote, error: &RepoError) -> Result<(), RepoError> {
        let before = self.standing_of_remote(remote);
        let now = Utc::now();
        let (since, failures) = before.trouble.as_ref().map_or((now, 0), |known| (known.since, known.failures));
        let rest = (REST * (1 << failures.min(5))).min(LONGEST_REST);
        self.note_remote(&RemoteInfo {
            trouble: Some(RemoteTrouble { since, why: error.why.clone(), failures: failures + 1 }),
            next_at: Some(now + rest),
            ..before
        })
    }
}

/// Makes the clone, empty, in the remote's hash algorithm; the branch to track.
async fn make(remote: &Remote, branch: Option<&str>, state_dir: &Path, common: &Path) -> Result<String, RepoError> {
    let what = looking(remote);
    let call = Call::within(state_dir, &*what).env("GIT_CEILING_DIRECTORIES", state_dir.parent().unwrap_or(state_dir));
    let seen = look(remote.access.open(call, state_dir)?, remote, branch).await?;
    let branch = match branch.map(str::to_owned).or(seen.default_branch.clone()) {
        Some(branch) => branch,
        None => return Err(needs_person(what, "it names no default branch: set [repository] branch")),
    };
    usable_branch(state_dir, &branch).await?;
    let tracked = format!("refs/heads/{branch}");
    // What `HEAD` shows is the default branch's.
    let shown = seen
        .tips
        .get(&tracked)
        .or_else(|| seen.tips.get("HEAD").filter(|_| seen.default_branch.as_ref() == Some(&branch)));
    let Some(tip) = shown else { return Err(needs_person(what, gone(&branch, seen.default_branch.as_deref()))) };
    let format = if tip.len() == 64 { "sha256" } else { "sha1" };
    let folder = tempfile::Builder::new().prefix(network::MAKING).tempdir_in(state_dir);
    let folder = folder.map_err(|e| io_error(&*what, &e))?.keep();
    let made = Call::within(&folder, &*what)
        .args(["init", "--quiet", "--bare", "--template=", &format!("--object-format={format}"), "."])
        .bytes()
        .await;
    let renamed = made.map(|_| std::fs::rename(&folder, common).map_err(|e| io_error(&*what, &e)));
    match renamed {
        Ok(Ok(())) => Ok(branch),
        // Another process was quicker.
        Ok(Err(_)) if common.join("HEAD").is_file() => {
            std::fs::remove_dir_all(&folder).map_err(|e| io_error(&*what, &e))?;
            Ok(branch)
        }
        Ok(Err(error)) | Err(error) => Err(error),
    }
}

fn gone(branch: &str, default: Option<&str>) -> String {
    let branch = escape(branch.as_bytes());
    match default {
        Some(default) if default != branch => format!(
            "the branch {branch} is not there; its default branch is {}: was it renamed? Set [repository] branch",
            escape(default.as_bytes())
        ),
        _ => format!("the branch {branch} is not there: push it, or set [repository] branch"),
    }
}
