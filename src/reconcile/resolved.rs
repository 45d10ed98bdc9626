//! The committed state, checked and resolved; and the last good text of each file, kept for when a later one cannot be used.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Policy, Reconciler, TurnError};
use crate::diag::Diagnostic;
use crate::model::{CommitId, RepoPath};
use crate::ports::{ConnectionRow, ConnectionStatus, RepoInfo, Snapshot};
use crate::spec::{self, Desired};

/// Contents by path.
pub(super) type Files = BTreeMap<RepoPath, Arc<[u8]>>;

/// A committed state, checked and resolved.
#[derive(Clone)]
pub(super) struct Resolved {
    pub(super) commit: Option<CommitId>,
    /// What the settings said about specs.
    settings: (spec::EngineKind, spec::Mode, spec::Schedule),
    pub(super) files: Files,
    /// The text in force of each file; only of the committed state.
    pub(super) good: Arc<BTreeMap<String, String>>,
    pub(super) desired: Arc<Desired>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Reconciler {
    pub(super) async fn resolve_committed(
        &self,
        info: &RepoInfo,
        policy: &Policy,
        rows: &[ConnectionRow],
    ) -> Result<Arc<Resolved>, TurnError> {
        let cached = self.cache.lock().expect("no panic while held").resolution.clone();
        if let Some(cached) =
            cached.filter(|c| c.commit.is_some() && c.commit == info.head && c.settings == policy.specs())
        {
            return Ok(cached);
        }
        let snapshot = self.doors.repo.committed().await?;
        let known = self.cache.lock().expect("no panic while held").last_good.clone();
        let last_good = match known {
            Some(known) => known,
            None => Arc::new(self.doors.registry.last_good().await?),
        };
        let (mut resolved, mut good) = resolve(snapshot, &last_good, policy);
        // What a removed spec said about its removal is needed until that is done.
        for row in rows.iter().filter(|row| row.status != ConnectionStatus::Retired) {
            let path = spec::names::spec_path(&row.name);
            if let Some(text) = last_good.get(path.as_str()) {
                good.entry(path.to_string()).or_insert_with(|| text.clone());
            }
        }
        let good = Arc::new(good);
        resolved.good = good.clone();
        let resolved = Arc::new(resolved);
        let mut cache = self.cache.lock().expect("no panic while held");
        cache.unsaved |= good != last_good;
        cache.last_good = Some(good);
        cache.resolution = Some(resolved.clone());
        Ok(resolved)
    }

    /// Keeps the last good specs of what was gathered: before anything is carried out, so that no spec acts that would be
    /// forgotten. The first time it also removes stale leases.
    pub async fn begin_work(&self) -> Result<(), TurnError> {
        let (unsaved, tidied) = {
            let mut cache = self.cache.lock().expect("no panic while held");
            (cache.last_good.clone().filter(|_| cache.unsaved), std::mem::replace(&mut cache.tidied, true))
        };
        if !tidied {
            self.doors.registry.drop_stale_leases().await?;
        }
        if let Some(good) = unsaved {
            self.doors.registry.set_last_good(&good).await?;
            self.cache.lock().expect("no panic while held").unsaved = false;
        }
        Ok(())
    }

    /// What a removed connection's last good spec said about removal, and how far it let `aam` go.
    pub(super) fn removal(&self, row: &ConnectionRow) -> Option<(spec::OnDelete, spec::Mode)> {
        let cap = self.policy().mode_cap;
        let cache = self.cache.lock().expect("no panic while held");
        let path = spec::names::spec_path(&row.name);
        let text = cache.last_good.as_ref()?.get(path.as_str())?;
        spec::removal_of(&path, text).map(|(on_delete, mode)| (on_delete, mode.min(cap)))
    }
}

pub(super) fn resolve(
    snapshot: Snapshot,
    last_good: &BTreeMap<String, String>,
    policy: &Policy,
) -> (Resolved, BTreeMap<String, String>) {
    let input = spec::Input {
        files: &snapshot.files,
        unreadable: &snapshot.unreadable,
        last_good,
        engine: policy.engine,
        mode_cap: policy.mode_cap,
        look: policy.look.clone(),
    };
    let resolution = spec::resolve(&input);
    let mut diagnostics = resolution.diagnostics;
    diagnostics.extend(crate::mapping::check(&resolution.desired));
    diagnostics.sort();
    let desired = Arc::new(resolution.desired);
    let resolved = Resolved {
        commit: snapshot.commit,
        settings: policy.specs(),
        files: snapshot.files,
        good: Arc::default(),
        desired,
        diagnostics,
    };
    (resolved, resolution.good)
}
