//! The bare repository behind a forge.

use std::path::PathBuf;
use std::process::Command;

/// A bare repository.
pub struct Bare {
    path: PathBuf,
}

impl Bare {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn git(&self, args: &[&str]) -> Option<String> {
        self.git_for(("Forge", "forge@example.org"), args)
    }

    /// Runs git with the forge as the committer of what somebody wrote: name and mail.
    fn git_for(&self, (name, mail): (&str, &str), args: &[&str]) -> Option<String> {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.path).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null");
        git.env("GIT_AUTHOR_NAME", name).env("GIT_AUTHOR_EMAIL", mail);
        git.env("GIT_COMMITTER_NAME", "Forge").env("GIT_COMMITTER_EMAIL", "forge@example.org");
        let out = git.output().expect("git runs");
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    /// Tip of a branch.
    pub fn tip(&self, branch: &str) -> Option<String> {
        self.git(&["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")])
    }

    /// Whether a commit is known.
    pub fn knows(&self, commit: &str) -> bool {
        self.git(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_some()
    }

    /// Whether the one commit holds the other.
    pub fn holds(&self, commit: &str, other: &str) -> bool {
        self.git(&["merge-base", "--is-ancestor", other, commit]).is_some()
    }

    /// Whether there is anything to merge.
    pub fn differs(&self, base: &str, head: &str) -> bool {
        self.git(&["rev-list", "--max-count=1", &format!("refs/heads/{base}..refs/heads/{head}")])
            .is_some_and(|commits| !commits.is_empty())
    }

    /// Merges a branch into another; `None` if there are conflicts.
    pub fn merge(&self, base: &str, head: &str, title: &str, squash: bool) -> Option<String> {
        let (into, from) = (self.tip(base)?, self.tip(head)?);
        let tree = self.git(&["merge-tree", "--write-tree", &into, &from])?;
        let mut args = vec!["commit-tree", &tree, "-m", title, "-p", &into];
        if !squash {
            args.extend(["-p", &from]);
        }
        let commit = self.git(&args)?;
        self.git(&["update-ref", &format!("refs/heads/{base}"), &commit, &into])?;
        Some(commit)
    }

    /// Puts a branch's own commits on top of another, each with its author; `None` if there are conflicts.
    pub fn rebase(&self, base: &str, head: &str) -> Option<String> {
        let (into, from) = (self.tip(base)?, self.tip(head)?);
        let own = self.git(&["rev-list", "--reverse", "--no-merges", &format!("{into}..{from}")])?;
        let mut top = into.clone();
        for commit in own.lines() {
            let parent = format!("--merge-base={commit}^");
            let tree = self.git(&["merge-tree", "--write-tree", &parent, &top, commit])?;
            let told = self.git(&["log", "-1", "--format=%an%n%ae%n%B", commit])?;
            let (name, rest) = told.split_once('\n')?;
            let (mail, message) = rest.split_once('\n')?;
            top = self.git_for((name, mail), &["commit-tree", &tree, "-m", message, "-p", &top])?;
        }
        self.git(&["update-ref", &format!("refs/heads/{base}"), &top, &into])?;
        Some(top)
    }

    /// Deletes a branch.
    pub fn delete(&self, branch: &str) {
        self.git(&["update-ref", "-d", &format!("refs/heads/{branch}")]);
    }
}
