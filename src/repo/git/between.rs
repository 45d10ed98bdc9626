//! Two states of a repository and what merging one into the other brings, read without a tracked branch and without writing.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::command::{Call, Identity};
use super::{Cache, GitRepo, Remembered, escape, io_error};
use crate::model::CommitId;
use crate::ports::{Merge, RepoError};
use crate::repo::needs_person;

/// Works out the merge of two revisions, file by file.
pub async fn merge_of(root: &Path, base: &str, head: &str) -> Result<Merge, RepoError> {
    let repo = GitRepo::reader(root).await?;
    let (base, head) = (repo.commit_of(base).await?, repo.commit_of(head).await?);
    repo.merged(base, head).await
}

impl GitRepo {
    /// The merge of a commit that a forge names: its words are only ever taken as an id.
    pub(super) async fn merge_with(&self, base: &CommitId, head: &CommitId) -> Result<Option<Merge>, RepoError> {
        if !is_id(&base.0) || !is_id(&head.0) {
            return Err(needs_person("reading a commit", format!("`{}` is no id of one", escape(head.0.as_bytes()))));
        }
        if self.tip(&head.0).await?.is_none() && !self.fetch_commit(&head.0).await? {
            return Ok(None);
        }
        self.unwritten().merged(base.0.clone(), head.0.clone()).await.map(Some)
    }

    async fn merged(&self, base: String, head: String) -> Result<Merge, RepoError> {
        let parted = Call::objects(&self.common, "looking for where two revisions parted")
            .args(["merge-base", &base, &head])
            .done()
            .await?;
        let before = self.snapshot_of(&base).await?;
        let mut after = self.snapshot_of(&head).await?;
        let mut both = Vec::new();
        let related = parted.code == 0;
        if related {
            let parted = super::command::text_of("looking for where two revisions parted", parted.out)?;
            let common = self.snapshot_of(&parted).await?;
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

    /// The same repository for reading commits of others, which are not to be taken for the committed state.
    fn unwritten(&self) -> Self {
        Self {
            root: self.root.clone(),
            top: self.top.clone(),
            prefix: self.prefix.clone(),
            git_dir: self.git_dir.clone(),
            common: self.common.clone(),
            branch: self.branch.clone(),
            state_dir: self.state_dir.clone(),
            identity: Identity { name: String::new(), mail: String::new() },
            empty_tree: self.empty_tree.clone(),
            between: None,
            remote: None,
            own: Arc::clone(&self.own),
            cache: Mutex::new(Cache { blobs: self.cache().blobs.clone(), ..Cache::default() }),
        }
    }

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

/// Whether a text can only be the id of an object.
fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
