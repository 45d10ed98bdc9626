//! Edits of files and the commits that carry them.

use serde::{Deserialize, Serialize};

use super::RepoPath;

/// One file's new content; `None` removes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEdit {
    /// Where.
    pub path: RepoPath,
    /// The content it was computed from; `None` if the file was absent. The edit is refused if the base differs.
    pub before: Option<String>,
    /// The new content.
    pub after: Option<String>,
}

/// A commit to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitDraft {
    /// One line.
    pub subject: String,
    /// Free text below the subject; may be empty.
    pub body: String,
    /// `Aam-Connection: crm` and so on, in order.
    pub trailers: Vec<(String, String)>,
    /// What changes.
    pub edits: Vec<FileEdit>,
}
