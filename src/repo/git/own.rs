//! Which commits are ours. What a commit says of itself proves nothing, and this process may not be the one that made it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::GitRepo;
use crate::model::{CommitId, FileEdit, TenantId};
use crate::ports::{OwnCommits, RegistryError, RepoError};

/// Remembers for as long as it lives: for who makes no commit, or has nobody to share them with.
#[derive(Default)]
pub struct Remembered(Mutex<BTreeSet<String>>);

#[async_trait]
impl OwnCommits for Remembered {
    async fn note(&self, _: &TenantId, commit: &CommitId) -> Result<(), RegistryError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(commit.0.clone());
        Ok(())
    }

    async fn among(&self, commits: &BTreeSet<String>) -> Result<BTreeSet<String>, RegistryError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(commits.intersection(&known).cloned().collect())
    }
}

fn failed(error: &RegistryError) -> RepoError {
    RepoError { what: "telling our commits from others".to_owned(), why: error.to_string(), remedy: error.remedy() }
}

impl GitRepo {
    /// Keeps what commits are ours there, and not only in this process.
    #[must_use]
    pub fn with_own(mut self, own: Arc<dyn OwnCommits>) -> Self {
        self.own = own;
        self
    }

    /// Notes a commit as ours; before any ref points to it, so that nobody ever sees one of ours that is not known as such.
    pub(super) async fn note_own(&self, tenant: &TenantId, commit: &str) -> Result<(), RepoError> {
        self.own.note(tenant, &CommitId(commit.to_owned())).await.map_err(|e| failed(&e))?;
        self.cache().own.insert(commit.to_owned());
        Ok(())
    }

    /// Those of the commits that are ours. One of ours stays ours, so it is asked for once.
    pub(super) async fn own_among(&self, commits: BTreeSet<String>) -> Result<BTreeSet<String>, RepoError> {
        let unknown: BTreeSet<String> = commits.difference(&self.cache().own).cloned().collect();
        if !unknown.is_empty() {
            let found = self.own.among(&unknown).await.map_err(|e| failed(&e))?;
            self.cache().own.extend(found);
        }
        Ok(commits.intersection(&self.cache().own).cloned().collect())
    }
}

/// Whose files a commit changes: `connectors.d/acme/crm.lock.yaml` is acme's.
pub(super) fn tenant_of(edits: &[FileEdit]) -> TenantId {
    let tenant = |edit: &FileEdit| match edit.path.as_str().split('/').collect::<Vec<_>>()[..] {
        [_, tenant, _, ..] if tenant != "entities" => TenantId::new(tenant).ok(),
        _ => None,
    };
    edits.iter().find_map(tenant).unwrap_or_default()
}

/// Whose repair a branch holds: that of `aam/drift/acme/crm` is acme's.
pub(super) fn tenant_of_branch(branch: &str) -> TenantId {
    branch.rsplit('/').nth(1).and_then(|tenant| TenantId::new(tenant).ok()).unwrap_or_default()
}
