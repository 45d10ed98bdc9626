//! `aam lock`: what a connection's lock becomes after an edit of its spec that is not committed yet.
//!
//! The loop does the same by itself once the edit is committed (`lock_to_commit`); this is for people who want spec and
//! lock in one commit. Writes nothing.

use std::sync::Arc;

use super::{Gathered, Reconciler, StepError, resolved, text_of};
use crate::model::{Catalog, ConnectionId, ConnectionRef, RepoPath};
use crate::ports::ConnectionRow;
use crate::spec::{self, Connection, Lock};

/// A lock before and after.
#[derive(Debug, Clone)]
pub struct Relock {
    /// Its file, relative to the configuration root.
    pub path: RepoPath,
    /// The text that lies in the work tree.
    pub before: Option<String>,
    /// The text it becomes; `None`: it holds what the spec selects already.
    pub after: Option<String>,
    /// What it holds now; empty without a lock.
    pub from: Catalog,
    /// What it holds then.
    pub to: Catalog,
}

impl Reconciler {
    /// Works out the lock that belongs to a spec of the work tree. Discovers the source, or with `offline` takes what was
    /// seen of it last; only what the edit adds comes from there.
    pub async fn relock(&self, gathered: &Gathered, name: &ConnectionRef, offline: bool) -> Result<Relock, StepError> {
        let snapshot = self.doors.repo.worktree().await?;
        let (edited, _) = resolved::resolve(snapshot, &std::collections::BTreeMap::new(), &self.policy());
        let connection = edited.desired.connections.get(name).ok_or_else(|| {
            let path = spec::names::spec_path(name);
            StepError::Spec(if edited.files.contains_key(&path) {
                format!("connection {name} cannot be used as it stands in {path}: `aam check` says why")
            } else {
                format!("there is no connection {name}: {path} does not exist")
            })
        })?;
        let path = connection.lock_path.clone();
        let before = text_of(&edited.files, &path);
        if before.is_some() && connection.lock.is_none() {
            return Err(StepError::Spec(format!("{path} is broken: `aam check` says why")));
        }
        let row = gathered.row_of(connection);
        let whole = self.whole_catalog(connection, row, offline).await?;
        let wrong = |problems: Vec<_>| StepError::Spec(spec::describe_problems(&problems));
        let (base, held) = match (&connection.lock, row) {
            (Some(lock), row) => {
                let next = row.map_or(lock.version, |row| row.version) + 1;
                (Lock { version: next, ..lock.clone() }, true)
            }
            (None, Some(row)) if row.version > 0 => (self.last_version(row).await?, false),
            (None, row) => {
                let id = row.map_or_else(|| ConnectionId(uuid::Uuid::now_v7()), |row| row.id);
                let catalog = spec::select(&whole, &connection.streams).map_err(wrong)?;
                (Lock { id, version: 1, fingerprint: catalog.fingerprint(), catalog }, false)
            }
        };
        let extended = spec::reselect(&base.catalog, Some(&whole), &connection.streams).map_err(wrong)?;
        let lock = match extended {
            None if held => {
                let same = base.catalog;
                return Ok(Relock { path, before, after: None, from: same.clone(), to: same });
            }
            None => base,
            Some(catalog) if held => Lock { catalog, ..base },
            Some(catalog) => Lock { catalog, version: base.version + 1, ..base },
        };
        let lock = spec::lock::sealed(lock);
        let from = connection.lock.as_ref().map(|lock| lock.catalog.clone()).unwrap_or_default();
        let after = Some(spec::lock::render(&lock, &name.to_string()));
        Ok(Relock { path, before, after, from, to: lock.catalog })
    }

    /// The source's whole catalog, now or as last seen.
    async fn whole_catalog(
        &self,
        connection: &Connection,
        row: Option<&ConnectionRow>,
        offline: bool,
    ) -> Result<Arc<Catalog>, StepError> {
        if !offline {
            let mut source = self.handle(&connection.source)?;
            source.id = row.and_then(|row| row.objects.get(&crate::ports::ObjectKind::Source).cloned());
            return Ok(Arc::new(self.doors.engine.discover(&source).await?.catalog));
        }
        let seen = match row {
            Some(row) => self.look_catalog(row).await?,
            None => None,
        };
        seen.ok_or_else(|| {
            let name = &connection.name;
            StepError::Spec(format!("the source of {name} was not seen yet: run `aam lock {name}` without --offline"))
        })
    }

    /// The lock of the newest catalog version that the registry holds.
    async fn last_version(&self, row: &ConnectionRow) -> Result<Lock, StepError> {
        let last = self.doors.registry.versions(row.id).await?.pop();
        let broken = || StepError::Spec(format!("the registry holds no usable catalog version of {}", row.name));
        let last = last.ok_or_else(broken)?;
        let catalog = Catalog::from_body(&last.body).map_err(|_| broken())?;
        Ok(Lock { id: row.id, version: row.version, fingerprint: last.fingerprint, catalog })
    }
}
