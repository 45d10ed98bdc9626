//! A bare repository with a base branch and a repair branch, a stand-in over it, and the adapter that speaks with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aam::forge::{self, Access, Credentials, Kind, Manners};
use aam::ports::{Forge, RequestDraft, mark};

use crate::forge_standin::{self as standin, Standin};

/// The repair branch.
pub const BRANCH: &str = "aam/drift/default/crm";

/// All three.
pub const KINDS: [Kind; 3] = [Kind::GitHub, Kind::GitLab, Kind::Gitea];

/// A forge with its repository.
pub struct Bed {
    pub forge: Arc<dyn Forge>,
    pub standin: Standin,
    dir: tempfile::TempDir,
}

impl Bed {
    pub async fn new(kind: Kind) -> Self {
        Self::with(kind, standin::TOKEN).await
    }

    /// Signed in with this token.
    pub async fn with(kind: Kind, token: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bare = bare(dir.path());
        let standin = Standin::start(played(kind), &bare).await;
        let forge = adapter(kind, &standin.url, Credentials::Token(token.to_owned().into()));
        Self { forge, standin, dir }
    }

    /// Makes a branch like another.
    pub fn branch(&self, name: &str, like: &str) {
        git(&self.dir.path().join("config.git"), &["branch", "-q", name, like]);
    }
}

/// Who plays it.
pub fn played(kind: Kind) -> standin::Kind {
    match kind {
        Kind::GitHub => standin::Kind::GitHub,
        Kind::GitLab => standin::Kind::GitLab,
        Kind::Gitea => standin::Kind::Gitea,
    }
}

/// The adapter, with short deadlines.
pub fn adapter(kind: Kind, url: &str, credentials: Credentials) -> Arc<dyn Forge> {
    aam::wiring::install_tls();
    let manners = Manners { deadline: Duration::from_secs(20), pause: Duration::from_millis(10) };
    let (url, project) = (url.parse().unwrap(), standin::PROJECT.to_owned());
    let state = std::env::temp_dir();
    forge::open(Access { kind, url, project, prefix: "deploy/".to_owned(), state, credentials, manners }).unwrap()
}

/// Runs git.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(dir).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
    }
    let out = git.output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A bare repository with `main` and a repair branch: made once, copied for each test.
fn bare(dir: &Path) -> PathBuf {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let made = tempfile::tempdir().unwrap();
        git(made.path(), &["init", "-q", "--bare", "-b", "main", "config.git"]);
        git(made.path(), &["init", "-q", "-b", "main", "work"]);
        let work = made.path().join("work");
        for (branch, file) in [("main", "README"), (BRANCH, "lock")] {
            git(&work, &["checkout", "-q", "-B", branch]);
            std::fs::write(work.join(file), "one\n").unwrap();
            git(&work, &["add", "-A"]);
            git(&work, &["commit", "-q", "-m", file]);
            git(&work, &["push", "-q", "../config.git", branch]);
        }
        made
    });
    let bare = dir.join("config.git");
    let copied = Command::new("cp").arg("-r").arg(made.path().join("config.git")).arg(&bare).status().unwrap();
    assert!(copied.success());
    bare
}

/// What a request should say.
pub fn draft(word: &str) -> RequestDraft {
    RequestDraft {
        head: BRANCH.to_owned(),
        base: "main".to_owned(),
        title: format!("Drift of crm: {word}"),
        body: format!("# {word}\n\n{}", mark(word)),
        labels: BTreeSet::from(["aam".to_owned(), "drift".to_owned()]),
        draft: false,
    }
}
