//! A person's desk: a real git repository in a temporary folder, and `aam`'s state beside it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use aam::model::RepoPath;
use aam::ports::{CommitDraft, FileEdit, Snapshot};
use aam::repo::git::{GitRepo, Remembered};

pub struct Desk {
    pub dir: tempfile::TempDir,
    /// The person's work tree.
    pub top: PathBuf,
    pub state: PathBuf,
    /// What the registry would know of our commits.
    pub own: Arc<Remembered>,
}

/// Runs git as the person does, with their identity and nothing of this machine's settings.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let (ok, out) = try_git(dir, args);
    assert!(ok, "git {args:?} in {}: {out}", dir.display());
    out
}

pub fn try_git(dir: &Path, args: &[&str]) -> (bool, String) {
    let out = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Pat")
        .env("GIT_AUTHOR_EMAIL", "pat@example.org")
        .env("GIT_COMMITTER_NAME", "Pat")
        .env("GIT_COMMITTER_EMAIL", "pat@example.org")
        .env("GIT_EDITOR", "true")
        .output()
        .unwrap();
    let text = if out.status.success() { out.stdout } else { [out.stdout, out.stderr].concat() };
    (out.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned())
}

impl Desk {
    /// A repository with branch `main` and one commit: a spec, a lock and a file that is none of ours.
    pub fn new() -> Self {
        let desk = Self::empty();
        desk.write("connectors.d/crm.yaml", "kind: connection\n");
        desk.write("connectors.d/crm.lock.yaml", "version: 1\n");
        desk.write("notes.txt", "notes\n");
        desk.commit_all("first");
        desk
    }

    /// A repository without a commit.
    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir(&top).unwrap();
        git(&top, &["init", "--quiet", "--initial-branch=main"]);
        let state = dir.path().join("state");
        Self { top: top.canonicalize().unwrap(), state, dir, own: Arc::default() }
    }

    pub fn write(&self, path: &str, text: &str) {
        crate::support::write(&self.top, path, text);
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.top.join(path)).unwrap_or_else(|_| "(none)".to_owned())
    }

    pub fn git(&self, args: &[&str]) -> String {
        git(&self.top, args)
    }

    pub fn commit_all(&self, subject: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", subject]);
    }

    pub fn status(&self) -> String {
        git(&self.top, &["status", "--porcelain=v1", "--untracked-files=all"])
    }

    pub async fn open(&self) -> GitRepo {
        GitRepo::open(&self.top, None, &self.state).await.unwrap().with_own(self.own.clone())
    }

    /// What `main` points to.
    pub fn main(&self) -> String {
        self.git(&["rev-parse", "main"])
    }
}

pub fn path(path: &str) -> RepoPath {
    RepoPath::new(path).unwrap()
}

/// A draft from `(path, before, after)`.
pub fn draft(edits: &[(&str, Option<&str>, Option<&str>)]) -> CommitDraft {
    CommitDraft {
        subject: "drift: accept one field".to_owned(),
        body: "crm.accounts gains a field.".to_owned(),
        trailers: vec![("Aam-Connection".to_owned(), "crm".to_owned())],
        edits: edits
            .iter()
            .map(|(p, before, after)| FileEdit {
                path: path(p),
                before: before.map(str::to_owned),
                after: after.map(str::to_owned),
            })
            .collect(),
    }
}

/// The lock goes from version 1 to 2.
pub fn bump() -> CommitDraft {
    draft(&[("connectors.d/crm.lock.yaml", Some("version: 1\n"), Some("version: 2\n"))])
}

/// One line per file and per file that was not read.
pub fn shown(snapshot: &Snapshot) -> String {
    let files = snapshot.files.iter().map(|(p, c)| format!("{p}: {}", String::from_utf8_lossy(c).trim_end()));
    let bad = snapshot.unreadable.iter().map(|(p, why)| format!("{p}: {why:?}"));
    files.chain(bad).collect::<Vec<_>>().join("\n")
}
