//! What `aam` wrote to a plain folder, one JSON line per commit, with who approved it.

use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{CommitId, RepoPath};
use crate::ports::{FileEdit, LogEntry, RepoError};
use crate::repo::{io_error, needs_person};

/// One commit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub commit: CommitId,
    pub by: String,
    pub at: DateTime<Utc>,
    pub subject: String,
    pub trailers: Vec<(String, String)>,
    pub approved_by: Option<String>,
    pub edits: Vec<FileEdit>,
}

/// The file of commits; a last line that a crash cut short is passed over.
pub(super) struct Journal {
    path: PathBuf,
}

impl Journal {
    pub fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("folder-journal.jsonl") }
    }

    fn what(&self) -> String {
        format!("the journal {}", self.path.display())
    }

    pub fn append(&self, entry: &Entry) -> Result<(), RepoError> {
        let mut line = serde_json::to_vec(entry).map_err(|e| needs_person(self.what(), e.to_string()))?;
        line.push(b'\n');
        // After a line that was cut short, ours begins on its own.
        let cut = std::fs::read(&self.path).is_ok_and(|b| b.last().is_some_and(|l| *l != b'\n'));
        if cut {
            line.insert(0, b'\n');
        }
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .map_err(|e| io_error(self.what(), &e))?;
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(|e| io_error(self.what(), &e))
    }

    /// Newest first.
    fn entries(&self) -> Result<Vec<Entry>, RepoError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(io_error(self.what(), &e)),
        };
        Ok(text.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// The newest commit of these files, if it made exactly these edits: a second try after an unknown outcome.
    pub fn last_with(&self, edits: &[FileEdit]) -> Result<Option<Entry>, RepoError> {
        let touches = |e: &Entry| e.edits.iter().any(|a| edits.iter().any(|b| a.path == b.path));
        Ok(self.entries()?.into_iter().find(touches).filter(|e| e.edits == edits))
    }

    pub fn of(&self, path: &RepoPath, limit: u32) -> Result<Vec<LogEntry>, RepoError> {
        let touched = |e: &Entry| e.edits.iter().any(|edit| edit.path == *path);
        Ok(self
            .entries()?
            .into_iter()
            .filter(touched)
            .take(limit as usize)
            .map(|e| LogEntry {
                commit: e.commit,
                own: e.approved_by.is_none(),
                recorded: true,
                by: e.by,
                at: e.at,
                subject: e.subject,
                approved_by: e.approved_by,
                trailers: e.trailers.into_iter().collect(),
                moved_by: None,
            })
            .collect())
    }

    /// What a commit made of a file; `None` if it did not touch it.
    pub fn content(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Option<String>>, RepoError> {
        let entries = self.entries()?;
        let edit = entries.into_iter().filter(|e| e.commit == *commit).flat_map(|e| e.edits).find(|e| e.path == *path);
        Ok(edit.map(|e| e.after))
    }
}
