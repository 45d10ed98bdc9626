//! What a crash between the update of a work tree and that of the ref leaves, and how it is put back.
//!
//! Before the first work tree is touched, [`Unfinished`] is written down. If the ref never moved, the work trees go
//! back to the old commit; only files that hold exactly the bytes that we put there are touched.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::GitRepo;
use super::checkout::{LOCK_STEPS, held, os, refresh};
use super::command::Call;
use super::filters::Filters;
use crate::ports::RepoError;
use crate::repo::io_error;

/// A move of a branch that has begun.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Unfinished {
    pub name: String,
    /// A commit, or the empty tree.
    pub old: String,
    pub new: String,
    pub work_trees: Vec<PathBuf>,
}

/// What became of putting a work tree back.
pub(super) enum PutBack {
    /// It is as before, or a person has gone on from there.
    Done,
    /// Somebody's git holds its index, in words.
    Held(String),
}

/// A changed path with both sides: mode and object.
struct Side {
    path: Vec<u8>,
    old: (String, String),
    new: (String, String),
}

impl GitRepo {
    fn unfinished_path(&self) -> PathBuf {
        self.state_dir.join("unfinished.json")
    }

    /// Writes down what is about to happen.
    pub(super) fn begin(&self, unfinished: &Unfinished) -> Result<(), RepoError> {
        let path = self.unfinished_path();
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.state_dir)?;
            serde_json::to_writer(&mut file, unfinished)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            std::fs::File::open(&self.state_dir)?.sync_all()
        };
        write().map_err(|e| io_error(format!("writing {}", path.display()), &e))
    }

    /// Notes that nothing is under way any more.
    pub(super) fn end(&self) -> Result<(), RepoError> {
        let path = self.unfinished_path();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error(format!("removing {}", path.display()), &e))
            }
            _ => Ok(()),
        }
    }

    /// Puts back what a crash left half-done; in words if that has to wait.
    pub(super) async fn recover(&self) -> Result<Option<String>, RepoError> {
        let path = self.unfinished_path();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error(format!("reading {}", path.display()), &e)),
        };
        let Ok(unfinished) = serde_json::from_slice::<Unfinished>(&bytes) else {
            tracing::warn!("{} cannot be read and is dropped", path.display());
            self.end()?;
            return Ok(None);
        };
        // Another clone in the same place, or a pruned commit: what was begun is not here.
        let known = self.tip(&unfinished.new).await.unwrap_or(None).is_some();
        let landed = match self.tip(&unfinished.name).await? {
            Some(tip) if known => self.is_ancestor(&unfinished.new, &tip).await?,
            _ => !known,
        };
        if !landed {
            for work_tree in &unfinished.work_trees {
                if let PutBack::Held(why) = self.put_back(work_tree, &unfinished).await? {
                    return Ok(Some(why));
                }
            }
        }
        self.end()?;
        Ok(None)
    }

    /// Takes one work tree back from `new` to `old`.
    pub(super) async fn put_back(&self, path: &Path, unfinished: &Unfinished) -> Result<PutBack, RepoError> {
        let what = "putting a work tree back";
        if !path.is_dir() {
            return Ok(PutBack::Done);
        }
        let git_dir = PathBuf::from(Call::within(path, what).args(["rev-parse", "--absolute-git-dir"]).text().await?);
        if let Some(why) = held(&git_dir, LOCK_STEPS).await {
            return Ok(PutBack::Held(why));
        }
        let sides = self.sides(&unfinished.old, &unfinished.new).await?;
        let head = Call::within(path, what).args(["rev-parse", "--verify", "--quiet", "HEAD^{tree}"]).done().await?;
        let head = if head.code == 0 { super::command::text_of(what, head.out)? } else { self.empty_tree.clone() };
        // A person committed on from there: what the index holds is theirs now.
        let differs = self.changed_paths(&unfinished.old, &head).await?;
        if sides.iter().any(|s| differs.contains(&s.path)) {
            return Ok(PutBack::Done);
        }
        let filters = Filters::of(path).await?;
        adopt(path, &sides, &filters).await?;
        refresh(path, &filters).await?;
        let back = ["read-tree", "-m", "-u", &unfinished.new, &unfinished.old];
        let done = Call::within(path, what).settings(&filters.off()).args(back).done().await?;
        if done.code != 0 {
            tracing::warn!(repo.work_tree = %path.display(), "a work tree was not put back, a person works there: {}", done.err);
        }
        Ok(PutBack::Done)
    }

    async fn sides(&self, old: &str, new: &str) -> Result<Vec<Side>, RepoError> {
        let out = Call::objects(&self.common, "comparing two commits")
            .args(["diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", old, new])
            .bytes()
            .await?;
        let fields: Vec<&[u8]> = out.split(|b| *b == 0).collect();
        Ok(fields
            .chunks_exact(2)
            .filter_map(|pair| {
                let head = String::from_utf8_lossy(pair[0]).into_owned();
                let words: Vec<&str> = head.trim_start_matches(':').split(' ').collect();
                let [old_mode, new_mode, old_oid, new_oid, ..] = words[..] else { return None };
                let side = |mode: &str, oid: &str| (mode.to_owned(), oid.to_owned());
                Some(Side { path: pair[1].to_vec(), old: side(old_mode, old_oid), new: side(new_mode, new_oid) })
            })
            .collect())
    }

    /// Whether a commit is in another's history.
    pub(super) async fn is_ancestor(&self, commit: &str, of: &str) -> Result<bool, RepoError> {
        let what = "comparing histories";
        let done = Call::objects(&self.common, what).args(["merge-base", "--is-ancestor", commit, of]).done().await?;
        match done.code {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(done.error(what)),
        }
    }
}

/// A crash in the midst of the merge leaves files written and the index as it was. What holds exactly the bytes
/// that we were writing is taken into the index, so that it can be taken back with the rest.
async fn adopt(path: &Path, sides: &[Side], filters: &Filters) -> Result<(), RepoError> {
    let what = "comparing a work tree";
    let staged = Call::within(path, what)
        .args(["ls-files", "--stage", "-z", "--"])
        .args(sides.iter().map(|s| os(&s.path)))
        .bytes()
        .await?;
    let mut index: HashMap<&[u8], (String, String)> = HashMap::new();
    for record in staged.split(|b| *b == 0) {
        let Some(tab) = record.iter().position(|b| *b == b'\t') else { continue };
        let head = String::from_utf8_lossy(&record[..tab]).into_owned();
        let mut words = head.split(' ');
        if let (Some(mode), Some(oid)) = (words.next(), words.next()) {
            index.insert(&record[tab + 1..], (mode.to_owned(), oid.to_owned()));
        }
    }
    let absent = |side: &(String, String)| side.0 == "000000";
    let mut info = Vec::new();
    for side in sides {
        let now = index.get(&side.path[..]);
        let is_old = if absent(&side.old) { now.is_none() } else { now == Some(&side.old) };
        if !is_old {
            continue;
        }
        let hash = Call::within(path, what)
            .settings(&filters.off())
            .args(["hash-object", "--"])
            .arg(os(&side.path))
            .done()
            .await?;
        let exists = path.join(os(&side.path)).symlink_metadata().is_ok();
        let is_new = if absent(&side.new) {
            !exists
        } else {
            exists && hash.code == 0 && hash.out.trim_ascii() == side.new.1.as_bytes()
        };
        if is_new {
            let mode = if absent(&side.new) { "0" } else { &side.new.0 };
            info.extend_from_slice(format!("{mode} {}\t", side.new.1).as_bytes());
            info.extend_from_slice(&side.path);
            info.push(0);
        }
    }
    if info.is_empty() {
        return Ok(());
    }
    Call::within(path, what).args(["update-index", "-z", "--index-info"]).stdin(info).bytes().await.map(drop)
}
