//! The adapter for a folder without git: files act as they change, repairs are patch files, history is a journal of
//! what `aam` itself wrote.
//!
//! `write` puts one file in place, `journal` remembers commits. What people change by hand has no history here.

mod journal;
mod write;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use similar::TextDiff;

use self::journal::{Entry, Journal};
use super::names::escape;
use super::{check_repair_branch, io_error, lock_state, may_heal, needs_person, tree};
use crate::model::{CommitId, RepoPath};
use crate::ports::{
    APPROVED_BY, CommitDraft, CommitOutcome, FileEdit, LogEntry, Merge, RepairBranch, Repo, RepoError, RepoInfo,
    Snapshot, applied, written,
};

/// A plain folder of specs.
pub struct FolderRepo {
    root: PathBuf,
    state_dir: PathBuf,
    journal: Journal,
}

/// A repair as it lies below `repairs` in the state folder, beside its patch.
#[derive(Debug, Serialize, Deserialize)]
struct Repair {
    branch: String,
    draft: CommitDraft,
}

/// A commit that has begun: files act as they change, so half of it must not stay.
#[derive(Debug, Serialize, Deserialize)]
struct Unfinished {
    draft: CommitDraft,
    approver: Option<String>,
}

/// How the files stand to a draft's edits.
enum Standing {
    Ready,
    Already,
    Moved,
}

impl FolderRepo {
    /// Opens a folder; makes the state folder where it is missing.
    pub fn open(root: &Path, state_dir: &Path) -> Result<Self, RepoError> {
        let what = || format!("opening {}", escape(root.as_os_str().as_encoded_bytes()));
        let root = std::fs::canonicalize(root).map_err(|e| io_error(what(), &e))?;
        std::fs::create_dir_all(state_dir.join("repairs")).map_err(|e| io_error(what(), &e))?;
        Ok(Self { root, state_dir: state_dir.to_owned(), journal: Journal::new(state_dir) })
    }

    async fn read(&self) -> Result<Snapshot, RepoError> {
        let (root, what) = (self.root.clone(), "reading the folder");
        let read = move || {
            tree::read_tree(&root).map(|mut snapshot| {
                snapshot.commit = Some(content_id(&snapshot));
                snapshot
            })
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|e| may_heal(what, e.to_string()))?
            .map_err(|e| io_error(what, &e))
    }

    /// Where the files stand. An edit that is in place already counts as fitting, so that a commit that a crash cut
    /// short is finished by the next try.
    fn standing(&self, edits: &[FileEdit]) -> Result<Standing, RepoError> {
        let mut already = true;
        for edit in edits {
            let now = write::read(&self.root, &edit.path)?;
            if now.as_deref() == edit.after.as_deref().map(str::as_bytes) {
                continue;
            }
            already = false;
            if now.as_deref() != edit.before.as_deref().map(str::as_bytes) {
                return Ok(Standing::Moved);
            }
        }
        Ok(if already { Standing::Already } else { Standing::Ready })
    }

    async fn apply(&self, draft: &CommitDraft, approver: Option<&str>) -> Result<CommitOutcome, RepoError> {
        match self.standing(&draft.edits)? {
            Standing::Moved => return Ok(CommitOutcome::Moved),
            Standing::Already => {
                let id = match self.journal.last_with(&draft.edits)? {
                    Some(entry) => entry.commit,
                    None => self.record(draft, approver).await?,
                };
                return Ok(CommitOutcome::Committed(id));
            }
            Standing::Ready => {}
        }
        let begun = Unfinished { draft: draft.clone(), approver: approver.map(str::to_owned) };
        let what = || format!("writing {}", self.unfinished().display());
        let json = serde_json::to_vec(&begun).map_err(|e| needs_person(what(), e.to_string()))?;
        let begin = applied("begin_files", async { write::replace(&self.unfinished(), &json) });
        written("begin_files", begin).await.map_err(|e| io_error(what(), &e))?;
        Ok(CommitOutcome::Committed(self.finish(draft, approver, None).await?))
    }

    /// Puts what is not in place yet, notes the commit unless it is `noted`, and that nothing is under way any more.
    async fn finish(
        &self,
        draft: &CommitDraft,
        approver: Option<&str>,
        noted: Option<CommitId>,
    ) -> Result<CommitId, RepoError> {
        for edit in &draft.edits {
            written("put_file", async { write::put(&self.root, &edit.path, edit.after.as_deref()) }).await?;
        }
        let commit = match noted {
            Some(commit) => commit,
            None => self.record(draft, approver).await?,
        };
        self.forget_unfinished()?;
        Ok(commit)
    }

    fn unfinished(&self) -> PathBuf {
        self.state_dir.join("unfinished-files.json")
    }

    fn forget_unfinished(&self) -> Result<(), RepoError> {
        match std::fs::remove_file(self.unfinished()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error(format!("removing {}", self.unfinished().display()), &e))
            }
            _ => Ok(()),
        }
    }

    /// Finishes a commit that a crash cut off between its files, unless a person went on from there.
    async fn recover(&self) -> Result<(), RepoError> {
        let Ok(json) = std::fs::read(self.unfinished()) else { return Ok(()) };
        let begun = serde_json::from_slice::<Unfinished>(&json).ok();
        let begun = match begun {
            Some(begun) if !matches!(self.standing(&begun.draft.edits)?, Standing::Moved) => begun,
            _ => return self.forget_unfinished(),
        };
        let noted = self.journal.last_with(&begun.draft.edits)?.map(|entry| entry.commit);
        self.finish(&begun.draft, begun.approver.as_deref(), noted).await.map(|_| ())
    }

    async fn record(&self, draft: &CommitDraft, approver: Option<&str>) -> Result<CommitId, RepoError> {
        let snapshot = self.read().await?;
        let commit = snapshot.commit.unwrap_or_else(|| CommitId(String::new()));
        let entry = Entry {
            commit: commit.clone(),
            by: "aam <aam@localhost>".to_owned(),
            at: Utc::now(),
            subject: escape(draft.subject.as_bytes()),
            trailers: draft.trailers.clone(),
            approved_by: approver.map(|a| escape(a.as_bytes())),
            edits: draft.edits.clone(),
        };
        written("journal", applied("journal", async { self.journal.append(&entry) })).await?;
        Ok(commit)
    }

    fn repair_file(&self, branch: &str, ending: &str) -> PathBuf {
        self.state_dir.join("repairs").join(format!("{}.{ending}", branch.replace('/', "__")))
    }

    fn load(&self, branch: &str) -> Result<Option<Repair>, RepoError> {
        let path = self.repair_file(branch, "json");
        let what = || format!("reading {}", path.display());
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| needs_person(what(), e.to_string())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(what(), &e)),
        }
    }

    /// The draft of the repair whose tip that is.
    fn proposed(&self, tip: &CommitId) -> Result<Option<CommitDraft>, RepoError> {
        for branch in self.names()? {
            if let Some(repair) = self.load(&branch)?
                && self.describe(&repair)?.tip == *tip
            {
                return Ok(Some(repair.draft));
            }
        }
        Ok(None)
    }

    /// The names of all repairs.
    fn names(&self) -> Result<Vec<String>, RepoError> {
        let folder = self.state_dir.join("repairs");
        let what = || format!("reading {}", folder.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(|e| io_error(what(), &e))? {
            let name = entry.map_err(|e| io_error(what(), &e))?.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".json").map(|n| n.replace("__", "/")));
        }
        names.sort();
        Ok(names)
    }

    /// The patch as it lies there; a person may have edited or removed it.
    fn patch(&self, branch: &str) -> Result<Option<String>, RepoError> {
        let path = self.repair_file(branch, "patch");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(format!("reading {}", path.display()), &e)),
        }
    }

    fn describe(&self, repair: &Repair) -> Result<RepairBranch, RepoError> {
        let patch = render_patch(&repair.draft);
        let edited = self.patch(&repair.branch)?.is_some_and(|p| p != patch);
        let merged = matches!(self.standing(&repair.draft.edits)?, Standing::Already);
        let tip = CommitId(hex::encode(Sha256::digest(patch.as_bytes())));
        Ok(RepairBranch { name: repair.branch.clone(), tip, merged, edited, stays: false })
    }
}

/// SHA-256 over all paths and contents.
fn content_id(snapshot: &Snapshot) -> CommitId {
    let mut hash = Sha256::new();
    for (path, content) in &snapshot.files {
        hash.update(path.as_str().as_bytes());
        hash.update([0]);
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    CommitId(hex::encode(hash.finalize()))
}

/// A unified diff that `patch -p1` and `git apply` take.
fn render_patch(draft: &CommitDraft) -> String {
    let mut out = format!("{}\n\n", escape(draft.subject.as_bytes()));
    for (key, value) in &draft.trailers {
        out.push_str(&format!("{}: {}\n", escape(key.as_bytes()), escape(value.as_bytes())));
    }
    for edit in &draft.edits {
        let (before, after) = (edit.before.as_deref().unwrap_or_default(), edit.after.as_deref().unwrap_or_default());
        let name = |side: &str, there: bool| match there {
            true => format!("{side}/{}", edit.path),
            false => "/dev/null".to_owned(),
        };
        let (old, new) = (name("a", edit.before.is_some()), name("b", edit.after.is_some()));
        out.push('\n');
        out.push_str(&TextDiff::from_lines(before, after).unified_diff().header(&old, &new).to_string());
    }
    out
}

#[async_trait]
impl Repo for FolderRepo {
    async fn info(&self) -> Result<RepoInfo, RepoError> {
        if self.unfinished().exists() {
            let _lock = lock_state(&self.state_dir).await?;
            self.recover().await?;
        }
        let head = self.read().await?.commit;
        Ok(RepoInfo { kind: "folder".to_owned(), branch: None, head, blocked: None, remote: None })
    }

    async fn fetch(&self) -> Result<bool, RepoError> {
        Ok(false)
    }

    async fn follows(&self, _commit: &CommitId, _earlier: &CommitId) -> Result<bool, RepoError> {
        Ok(false)
    }

    async fn merge_of(&self, _base: &CommitId, _head: &CommitId) -> Result<Option<Merge>, RepoError> {
        Ok(None)
    }

    async fn committed(&self) -> Result<Snapshot, RepoError> {
        self.read().await
    }

    async fn worktree(&self) -> Result<Snapshot, RepoError> {
        self.read().await
    }

    async fn commit(&self, draft: &CommitDraft) -> Result<CommitOutcome, RepoError> {
        let _lock = lock_state(&self.state_dir).await?;
        self.recover().await?;
        let approver = draft.trailers.iter().find(|(key, _)| key == APPROVED_BY).map(|(_, value)| value.as_str());
        self.apply(draft, approver).await
    }

    async fn propose(&self, branch: &str, draft: &CommitDraft) -> Result<RepairBranch, RepoError> {
        check_repair_branch(branch)?;
        let _lock = lock_state(&self.state_dir).await?;
        if let Some(there) = self.load(branch)? {
            let described = self.describe(&there)?;
            let complete = self.patch(branch)?.is_some();
            if described.edited || (there.draft == *draft && complete) {
                return Ok(described);
            }
        }
        if !matches!(self.standing(&draft.edits)?, Standing::Ready) {
            return Err(may_heal(format!("proposing {branch}"), "the files have changed since the repair was drafted"));
        }
        let repair = Repair { branch: branch.to_owned(), draft: draft.clone() };
        let what = || format!("writing the repair {branch}");
        let json = serde_json::to_vec_pretty(&repair).map_err(|e| needs_person(what(), e.to_string()))?;
        // The patch first: a repair without one counts as not written.
        for (ending, bytes) in [("patch", render_patch(draft).into_bytes()), ("json", json)] {
            let path = self.repair_file(branch, ending);
            let write = applied("put_repair", async { write::replace(&path, &bytes) });
            written("put_repair", write).await.map_err(|e| io_error(what(), &e))?;
        }
        self.describe(&repair)
    }

    async fn withdraw(&self, branch: &str) -> Result<(), RepoError> {
        check_repair_branch(branch)?;
        let _lock = lock_state(&self.state_dir).await?;
        if let Some(repair) = self.load(branch)?
            && self.describe(&repair)?.edited
        {
            return Err(needs_person(format!("withdrawing {branch}"), "its patch was edited and is left alone"));
        }
        for ending in ["json", "patch"] {
            let path = self.repair_file(branch, ending);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error(format!("removing {}", path.display()), &e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn repair_branches(&self) -> Result<Vec<RepairBranch>, RepoError> {
        let mut found = Vec::new();
        for name in self.names()? {
            if let Some(repair) = self.load(&name)? {
                found.push(self.describe(&repair)?);
            }
        }
        Ok(found)
    }

    async fn approve(&self, branch: &str, approver: &str) -> Result<CommitOutcome, RepoError> {
        check_repair_branch(branch)?;
        let _lock = lock_state(&self.state_dir).await?;
        self.recover().await?;
        let Some(repair) = self.load(branch)? else {
            return Ok(CommitOutcome::Refused(format!("there is no repair {branch}")));
        };
        if self.describe(&repair)?.edited {
            let path = self.repair_file(branch, "patch");
            let why = format!("{} was edited; apply it by hand with `patch -p1`", path.display());
            return Ok(CommitOutcome::Refused(why));
        }
        self.apply(&repair.draft, Some(approver)).await
    }

    async fn branch_diff(&self, branch: &str) -> Result<String, RepoError> {
        check_repair_branch(branch)?;
        self.patch(branch)?.ok_or_else(|| needs_person(format!("comparing {branch}"), "there is no such repair"))
    }

    async fn branch_message(&self, branch: &str) -> Result<String, RepoError> {
        check_repair_branch(branch).map(|()| String::new())
    }

    async fn log(&self, path: &RepoPath, limit: u32) -> Result<Vec<LogEntry>, RepoError> {
        self.journal.of(path, limit)
    }

    async fn file_at(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<String>, RepoError> {
        let shown = escape(path.as_str().as_bytes());
        let what = || format!("reading {shown} at {}", escape(commit.short().as_bytes()));
        let now = self.read().await?;
        if now.commit.as_ref() == Some(commit) {
            let content = now.files.get(path).map(|c| String::from_utf8(c.to_vec()));
            return content.transpose().map_err(|_| needs_person(what(), "it is not UTF-8"));
        }
        if let Some(edit) =
            self.proposed(commit)?.and_then(|draft| draft.edits.into_iter().find(|edit| edit.path == *path))
        {
            return Ok(edit.after);
        }
        match self.journal.content(commit, path)? {
            Some(content) => Ok(content),
            None => Err(needs_person(what(), "a folder without git keeps no history of what people changed")),
        }
    }

    async fn person(&self) -> Result<String, RepoError> {
        Ok(super::git::person(None, None))
    }
}
