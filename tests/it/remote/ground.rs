//! A remote on this machine, a person who works with it at a desk, and `aam`'s state.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aam::model::RemoteUrl;
use aam::ports::{Repo, RepoError};
use aam::repo::git::{Access, GitRepo, Remembered, Remote};

use crate::repo::desk::{git, try_git};
use crate::support::write;

/// A branch of a repair.
pub const BRANCH: &str = "aam/drift/default/crm";

pub struct Ground {
    pub dir: tempfile::TempDir,
    /// The bare repository that everybody pushes to.
    pub origin: PathBuf,
    /// The person's clone.
    pub desk: PathBuf,
    pub state: PathBuf,
    /// What the registry would know of our commits.
    pub own: Arc<Remembered>,
}

impl Ground {
    /// `main` with one commit: a spec, a lock and a file that is none of ours.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// The same, with options for `git init`.
    pub fn with(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let (origin, desk, state) = (top.join("origin.git"), top.join("desk"), top.join("state"));
        let bare = ["init", "--quiet", "--bare", "--initial-branch=main"];
        git(&top, &[&bare[..], options, &["origin.git"]].concat());
        git(&top, &["clone", "--quiet", "origin.git", "desk"]);
        let ground = Self { dir, origin, desk, state, own: Arc::default() };
        ground.git(&["switch", "--quiet", "--create", "main"]);
        write(&ground.desk, "connectors.d/crm.yaml", "kind: connection\n");
        write(&ground.desk, "connectors.d/crm.lock.yaml", "version: 1\n");
        ground.push("notes.txt", "notes\n");
        ground
    }

    /// Runs git at the person's desk.
    pub fn git(&self, args: &[&str]) -> String {
        git(&self.desk, args)
    }

    /// Writes a file, commits everything and pushes what is checked out.
    pub fn push(&self, path: &str, text: &str) -> String {
        write(&self.desk, path, text);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", path]);
        self.git(&["push", "--quiet", "origin", "HEAD"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// What the remote has under a name; `(none)` if it has no such thing.
    pub fn at_origin(&self, name: &str) -> String {
        let (there, text) = try_git(&self.origin, &["rev-parse", "--verify", "--quiet", name]);
        if there { text } else { "(none)".to_owned() }
    }

    /// A file of the remote's branch `main`.
    pub fn origin_file(&self, path: &str) -> String {
        git(&self.origin, &["show", &format!("main:{path}")])
    }

    /// Lets the remote decide by a script that gets a hook's input.
    pub fn hook(&self, name: &str, script: &str) {
        executable(&self.origin.join("hooks").join(name), script);
    }

    /// How `aam` reaches the remote at an address.
    pub fn access(url: &str) -> Access {
        let url = RemoteUrl::parse(url).unwrap();
        Access { url, ssh_key: None, known_hosts: None, login: Box::new(|| Ok(None)) }
    }

    pub async fn open_with(&self, access: Access) -> Result<GitRepo, RepoError> {
        let remote = Remote::new(access, Duration::from_secs(60));
        let opened = GitRepo::open_clone(remote, String::new(), None, None, &self.state).await;
        opened.map(|repo| repo.with_own(self.own.clone()))
    }

    pub async fn open(&self) -> GitRepo {
        self.open_with(Self::access(self.origin.to_str().unwrap())).await.unwrap()
    }
}

/// Writes a program.
pub fn executable(path: &Path, script: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The tip of the tracked branch as it was last fetched.
pub async fn head(repo: &GitRepo) -> String {
    repo.info().await.unwrap().head.unwrap().0
}
