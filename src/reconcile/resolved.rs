//! The committed state, checked and resolved; and the last good text of each file, kept for when a later one cannot be used.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::{Gathered, Policy, Reconciler, TurnError};
use crate::diag::Diagnostic;
use crate::model::{CommitId, ConnectionId, RemoteInfo, RepoPath, TenantId};
use crate::plan::{Behind, Limits};
use crate::ports::{ConnectionRow, ConnectionStatus, RepoInfo, Snapshot};
use crate::spec::{self, Desired};

/// How often everything is read anew when another daemon acted on another state meanwhile.
const TRIES: u32 = 3;

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

/// How a committed state stands to the one that somebody acted on last.
enum Footing {
    /// It is that one, or follows from it.
    Newest,
    /// There is a newer one here by now.
    Outrun,
    /// The other one cannot be fetched, and why.
    Behind(String),
}

/// What says how rows are read, of the last good texts.
fn mappings(good: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    good.iter().filter(|(path, _)| path.starts_with("mappings/"))
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

    /// [`Self::gather`] for who carries it out: from an older state of the remote's branch than another daemon acted on only
    /// what hangs on none. The rest would undo what the other did.
    pub async fn gather_to_act(&self, limits: Option<&Limits>) -> Result<Gathered, TurnError> {
        for _ in 0..TRIES {
            let mut gathered = self.gather(limits).await?;
            match self.footing(&gathered.info).await? {
                Footing::Newest => {
                    self.begin_work().await?;
                    return Ok(gathered);
                }
                Footing::Behind(why) => {
                    let maps_alike =
                        mappings(&gathered.resolved.good).eq(mappings(&self.doors.registry.last_good().await?));
                    gathered.behind = Some(Behind { why, maps_alike });
                    return Ok(gathered);
                }
                Footing::Outrun => {}
            }
        }
        Err(TurnError::Outrun)
    }

    /// How this state of the tracked branch stands to the one that somebody acted on last. Asked after the registry's rows were
    /// read, so that they are not those of a newer state.
    async fn footing(&self, info: &RepoInfo) -> Result<Footing, TurnError> {
        let (Some(remote), Some(branch), Some(head)) = (&info.remote, &info.branch, &info.head) else {
            return Ok(Footing::Newest);
        };
        let known = self.doors.registry.tracked(branch).await?;
        if known.as_ref() == Some(head) {
            self.cache.lock().expect("no panic while held").agreed = known;
            return Ok(Footing::Newest);
        }
        let by_us = self.cache.lock().expect("no panic while held").agreed == known;
        if !by_us {
            match (self.fetch_unless_down(remote).await, &known) {
                (Ok(()), _) if self.doors.repo.info().await?.head.as_ref() != Some(head) => return Ok(Footing::Outrun),
                (Err(why), Some(known)) if !self.doors.repo.holds(head, known).await? => {
                    let known = known.0.get(..12).unwrap_or(&known.0);
                    return Ok(Footing::Behind(format!(
                        "another daemon acted on commit {known}, which cannot be fetched: {why}"
                    )));
                }
                _ => {}
            }
        }
        let noted = self.doors.registry.track(branch, known.as_ref(), head).await?;
        if noted {
            self.cache.lock().expect("no panic while held").agreed = Some(head.clone());
        }
        Ok(if noted { Footing::Newest } else { Footing::Outrun })
    }

    /// Takes over what the remote has, or says why that cannot be; one that could not be looked at rests.
    async fn fetch_unless_down(&self, remote: &RemoteInfo) -> Result<(), String> {
        match &remote.trouble {
            Some(trouble) if remote.next_at.is_some_and(|at| at > self.doors.clock.now()) => Err(trouble.why.clone()),
            _ => self.doors.repo.fetch().await.map(drop).map_err(|error| error.why),
        }
    }

    /// Keeps daemons apart that know secrets by another key: each would take what the other noted for a rotated secret, for
    /// ever. Those with one key hold this lease together.
    pub async fn share_key(&self) -> Result<(), TurnError> {
        let ttl = self.policy().lease_ttl;
        let due = |at: &Instant| at.elapsed() > ttl / 3;
        if !self.cache.lock().expect("no panic while held").key_shared.as_ref().is_none_or(due) {
            return Ok(());
        }
        let Ok(key) = self.doors.secrets.resolve(&spec::Config::new()) else { return Ok(()) };
        let id = ConnectionId(Uuid::new_v5(&Uuid::NAMESPACE_OID, b"fingerprint.key"));
        let tenant = TenantId::default();
        match self.doors.registry.lease(&tenant, id, key.fingerprint(), ttl).await? {
            Some(_) => self.cache.lock().expect("no panic while held").key_shared = Some(Instant::now()),
            None => return Err(TurnError::OtherKey(ttl)),
        }
        Ok(())
    }

    /// Keeps the last good specs of what was gathered: before anything is carried out, so that no spec acts that would be
    /// forgotten. The first time it also removes stale leases.
    async fn begin_work(&self) -> Result<(), TurnError> {
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
