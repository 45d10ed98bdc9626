//! Two states of a repository and what merging one into the other brings, read without a tracked branch and without writing.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::command::{Call, Identity};
use super::{GitRepo, Remembered, escape, io_error};
use crate::model::CommitId;
use crate::ports::{RepoError, Snapshot};
use crate::repo::needs_person;

/// What merging `head` into `base` would bring.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The files of `base`.
    pub before: Snapshot,
    /// The same with every file that `head` changed since the two parted.
    pub after: Snapshot,
    /// The commit of `base`.
    pub base: CommitId,
    /// The commit of `head`.
    pub head: CommitId,
    /// Files that both changed since: `after` has those of `head`.
    pub both: Vec<String>,
    /// Whether the two have a common past, as far as this clone reaches; else `after` is `head` as it is.
    pub related: bool,
}

/// Works out the merge of two revisions, file by file.
pub async fn merge_of(root: &Path, base: &str, head: &str) -> Result<Merge, RepoError> {
    let repo = GitRepo::reader(root).await?;
    let (base, head) = (repo.commit_of(base).await?, repo.commit_of(head).await?);
    let parted = Call::objects(&repo.common, "looking for where two revisions parted")
        .args(["merge-base", &base, &head])
        .done()
        .await?;
    let before = repo.snapshot_of(&base).await?;
    let mut after = repo.snapshot_of(&head).await?;
    let mut both = Vec::new();
    let related = parted.code == 0;
    if related {
        let parted = super::command::text_of("looking for where two revisions parted", parted.out)?;
        let common = repo.snapshot_of(&parted).await?;
        let mut merged = before.clone();
        let paths: BTreeSet<_> = after.files.keys().chain(common.files.keys()).collect();
        for path in paths {
            let (was, is, other) = (common.files.get(path), after.files.get(path), before.files.get(path));
            if is == was || is == other {
                continue;
            }
            if other != was {
                both.push(path.to_string());
            }
            match is {
                Some(content) => drop(merged.files.insert(path.clone(), content.clone())),
                None => drop(merged.files.remove(path)),
            }
        }
        merged.unreadable.extend(after.unreadable.clone());
        after = merged;
    }
    after.commit = Some(CommitId(head.clone()));
    Ok(Merge { before, after, base: CommitId(base), head: CommitId(head), both, related })
}

impl GitRepo {
    /// The repository around `root` as far as its objects can be read; nothing is made ready for writing.
    async fn reader(root: &Path) -> Result<Self, RepoError> {
        let what = "reading the git repository";
        let root = std::fs::canonicalize(root).map_err(|e| io_error(what, &e))?;
        let ask = async |args: &[&str]| Call::within(&root, what).arg("rev-parse").args(args).text().await;
        Ok(Self {
            top: PathBuf::from(ask(&["--path-format=absolute", "--show-toplevel"]).await?),
            prefix: ask(&["--show-prefix"]).await?,
            git_dir: PathBuf::from(ask(&["--path-format=absolute", "--git-dir"]).await?),
            common: PathBuf::from(ask(&["--path-format=absolute", "--git-common-dir"]).await?),
            branch: String::new(),
            state_dir: PathBuf::new(),
            identity: Identity { name: String::new(), mail: String::new() },
            empty_tree: String::new(),
            remote: None,
            between: None,
            own: Arc::new(Remembered::default()),
            cache: Mutex::default(),
            root,
        })
    }

    /// The commit that a person's words name.
    async fn commit_of(&self, revision: &str) -> Result<String, RepoError> {
        let shown = escape(revision.as_bytes());
        let what = format!("reading revision `{shown}`");
        let found = Call::objects(&self.common, &*what)
            .args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")])
            .done()
            .await?;
        match found.code {
            0 => super::command::text_of(what, found.out),
            _ => Err(needs_person(
                what,
                "this clone has no such commit: fetch it (`git fetch origin REF`), or correct the name",
            )),
        }
    }
}
