//! The loop's doing: gather what is desired and observed, plan, carry out, again. Effects only through doors.
//!
//! Level-triggered: [`Reconciler::gather`] reads everything afresh, and running a turn twice is harmless. Every outside
//! write has an intent row before it and a read-back after it, so a kill anywhere is mended by the next turn.
//!
//! `gather` reads the world, `resolved` the committed state of it; `drifted` works out repairs, `radius` what they reach; `execute` dispatches steps, of a plan that still holds (`fence`), to `onboard`, which makes new objects by `ask`, `heal`, `publish`
//! (commits and branches), `look`, `sample` (whose values are whose), `trial` (what a repair makes of landed records), `sync`, `normalize`, `retire` and `leftover` (what a crash cut off). `landed` knows by which mapping
//! landed rows are read, `live` what other people may change in the engine, `carried` what becomes of that, `reverted` which automatic repairs a person took back, `rollback` how to go back to an earlier version, `offers`, `requests` and `request` what people decide on a forge (`vain` what it does not take), `rejections` what of that git does not hold yet, `plans` what merging their own requests would do (of two states that `weighed` resolves), `survey` everything that
//! the engine holds, `trouble` what fails.

mod approval;
mod arrival;
mod ask;
mod by_name;
mod carried;
mod drifted;
mod ends;
mod error;
mod execute;
mod fence;
mod gather;
mod gathered;
mod heal;
mod landed;
mod leftover;
mod live;
mod look;
mod moved;
mod normalize;
mod offers;
mod onboard;
mod plans;
mod publish;
mod radius;
mod rejections;
mod relock;
mod report;
mod request;
mod requests;
mod resolved;
mod retire;
mod reverted;
mod rollback;
mod sample;
mod survey;
mod sync;
mod trial;
mod trouble;
mod vain;
mod weighed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

pub use by_name::carried;
pub use error::{StepError, TurnError};
pub use execute::{Outcome, OutcomeKind, WorkItem, work_items};
pub use gathered::Gathered;
pub use live::unlike;
pub use relock::Relock;
pub use requests::RequestPolicy;
pub use rollback::RolledBack;
pub use weighed::{State, notes_of};

use crate::model::{Catalog, CommitId, ConnectionId, ConnectionRef, Fingerprint, RepoPath, StreamName};
use crate::plan::approval::{ApprovalRule, Way};
use crate::plan::{Limits, Standing};
use crate::ports::{
    Cause, Clock, ConfiguredStream, EngineWrite, EventStore, Forge, Landing, NewestRows, Registry, Repo, Sampler,
    Secrets,
};
use crate::spec::{EngineKind, Mode, Schedule};

/// The doors that the loop works through.
#[derive(Clone)]
pub struct Doors {
    /// The execution plane.
    pub engine: Arc<dyn EngineWrite>,
    /// Landed rows.
    pub landing: Arc<dyn Landing>,
    /// Values at the source beside landed ones, where the engine can read a source without a sync.
    pub sampler: Option<Arc<dyn Sampler>>,
    /// The rows that landed last, where the engine cannot.
    pub newest: Option<Arc<dyn NewestRows>>,
    /// Everything that is not in git.
    pub registry: Arc<dyn Registry>,
    /// Canonical events.
    pub events: Arc<dyn EventStore>,
    /// The configuration repository.
    pub repo: Arc<dyn Repo>,
    /// Where people review, if that is a forge.
    pub forge: Option<Arc<dyn Forge>>,
    /// Secrets.
    pub secrets: Arc<dyn Secrets>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// What the settings say about the loop.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which execution plane.
    pub engine: EngineKind,
    /// Caps the mode of every connection.
    pub mode_cap: Mode,
    /// How often to look where a spec does not say.
    pub look: Schedule,
    /// Limits of the plan.
    pub limits: Limits,
    /// Who may approve what.
    pub approval: Vec<ApprovalRule>,
    /// How what a rule takes in gets to the tracked branch.
    pub automatic: Way,
    /// How long a lease holds without renewal.
    pub lease_ttl: Duration,
    /// How often an engine that other people use is looked at as a whole.
    pub survey: TimeDelta,
    /// How requests on a forge are made.
    pub requests: RequestPolicy,
}

impl Policy {
    /// What the resolution of specs depends on.
    fn specs(&self) -> (EngineKind, Mode, Schedule) {
        (self.engine, self.mode_cap, self.look.clone())
    }
}

/// Carries the loop. Cheap to share; holds only caches and who it is.
pub struct Reconciler {
    doors: Doors,
    policy: Mutex<Policy>,
    /// `host:pid:random`: holder of leases.
    holder: String,
    cache: Mutex<Cache>,
    /// Whether somebody else calls [`Reconciler::survey`] and [`Reconciler::requests`], so that a turn does not wait for them.
    surveys_apart: AtomicBool,
}

/// What need not be worked out again while its inputs are the same.
#[derive(Default)]
struct Cache {
    resolution: Option<Arc<resolved::Resolved>>,
    /// The same with rejections that git does not hold yet.
    with_rejections: Option<rejections::Joined>,
    last_good: Option<Arc<BTreeMap<String, String>>>,
    /// Whether stale leases were removed.
    tidied: bool,
    /// Where the remote's tracked branch was when this process last agreed with the registry about that.
    agreed: Option<CommitId>,
    /// When the key of fingerprints was last agreed upon.
    key_shared: Option<Instant>,
    /// Whether the registry has other last good specs.
    unsaved: bool,
    /// Keyed fingerprints of the settings with secrets, or why there is none.
    secrets: BTreeMap<ConnectionRef, gather::KnownSecrets>,
    /// The source's catalog as last seen.
    observed: BTreeMap<ConnectionId, (Fingerprint, Arc<Catalog>)>,
    /// The drift worked out, with what it was worked out from.
    repairs: BTreeMap<ConnectionId, (gather::WorkedFrom, Option<Arc<drifted::Drifted>>)>,
    /// Commits that the repository refused.
    refused: BTreeMap<ConnectionId, Refusal>,
    asked: BTreeSet<(Ask, ConnectionRef)>,
    /// Streams that the next sync reads anew, because a person asked for it.
    refresh: BTreeMap<ConnectionRef, BTreeSet<StreamName>>,
    /// What the engine showed of everything it holds.
    surveyed: Arc<survey::Surveyed>,
    /// The connections that were written since the last survey began.
    written: BTreeSet<ConnectionId>,
    /// Since a person last asked to try again what failed: the connections that were.
    tried_again: Option<BTreeSet<ConnectionRef>>,
    /// When requests on the forge are looked at next.
    requests: requests::Rhythm,
    /// Updates of requests as they were last sent.
    sent: vain::Sent,
    /// What was told of the plan on people's requests.
    plans: plans::Plans,
}

/// A commit that the repository refused.
struct Refusal {
    /// Until when it rests while the tracked branch stays where it was.
    until: DateTime<Utc>,
    why: String,
    /// The committed state on which it was refused.
    commit: Option<CommitId>,
    offered: Offered,
    /// Refusals in a row.
    times: u32,
    /// Where the connection stands meanwhile; shown while the commit is tried again, too.
    standing: Option<Standing>,
}

/// What becomes of a refused commit meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offered {
    /// A repair branch holds the same.
    AsBranch,
    /// It only waits.
    Nowhere,
}

/// What a person may ask for out of turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// A look at the source.
    Look,
    /// A sync.
    Sync,
}

impl Reconciler {
    /// Joins doors and policy. `holder` names this process in leases.
    pub fn new(doors: Doors, policy: Policy, holder: String) -> Self {
        Self {
            doors,
            policy: Mutex::new(policy),
            holder,
            cache: Mutex::default(),
            surveys_apart: AtomicBool::new(false),
        }
    }

    /// From now on engine and forge are looked at by whoever calls [`Reconciler::survey`] and [`Reconciler::requests`], and not
    /// within a turn.
    pub fn survey_apart(&self) {
        self.surveys_apart.store(true, Ordering::Relaxed);
    }

    /// Takes new settings over; in force from the next turn. The engine stays the one that this process opened.
    pub fn set_policy(&self, policy: Policy) {
        let mut held = self.policy.lock().expect("no panic while held");
        *held = Policy { engine: held.engine, ..policy };
        // who may approve decides what is automatic
        self.cache.lock().expect("no panic while held").repairs.clear();
    }

    fn policy(&self) -> Policy {
        self.policy.lock().expect("no panic while held").clone()
    }

    /// Puts a look or a sync on the next plan. Asking again before it was done changes nothing.
    pub fn ask(&self, ask: Ask, connection: &ConnectionRef) {
        self.cache.lock().expect("no panic while held").asked.insert((ask, connection.clone()));
    }

    /// Asks for a sync that reads these streams anew.
    pub fn ask_refresh(&self, connection: &ConnectionRef, streams: BTreeSet<StreamName>) {
        self.cache.lock().expect("no panic while held").refresh.insert(connection.clone(), streams);
        self.ask(Ask::Sync, connection);
    }

    /// A sync is no longer asked for; the streams that it was to read anew.
    fn take_asked_sync(&self, connection: &ConnectionRef) -> BTreeSet<StreamName> {
        self.answered(Ask::Sync, connection);
        self.cache.lock().expect("no panic while held").refresh.remove(connection).unwrap_or_default()
    }

    /// Reads secrets anew at the next turn, of one connection or of all.
    pub fn forget_secrets(&self, connection: Option<&ConnectionRef>) {
        let secrets = &mut self.cache.lock().expect("no panic while held").secrets;
        match connection {
            Some(name) => drop(secrets.remove(name)),
            None => secrets.clear(),
        }
    }

    /// What rests after a failure is tried again, once, at the next turn: a person asks, who may have mended the cause.
    pub fn try_again(&self) {
        let now = self.doors.clock.now();
        let mut cache = self.cache.lock().expect("no panic while held");
        cache.refused.values_mut().for_each(|refusal| refusal.until = now);
        cache.tried_again = Some(BTreeSet::new());
        cache.requests = requests::Rhythm::again();
    }

    /// Whether a failed connection is to be tried before its time.
    fn is_tried_again(&self, connection: &ConnectionRef) -> bool {
        let cache = self.cache.lock().expect("no panic while held");
        cache.tried_again.as_ref().is_some_and(|tried| !tried.contains(connection))
    }

    /// A connection's item begins: that was its try.
    fn tried(&self, connection: &ConnectionRef) {
        if let Some(tried) = &mut self.cache.lock().expect("no panic while held").tried_again {
            tried.insert(connection.clone());
        }
    }

    fn is_asked(&self, ask: Ask, connection: &ConnectionRef) -> bool {
        self.cache.lock().expect("no panic while held").asked.contains(&(ask, connection.clone()))
    }

    fn answered(&self, ask: Ask, connection: &ConnectionRef) {
        self.cache.lock().expect("no panic while held").asked.remove(&(ask, connection.clone()));
    }

    /// The doors, for commands that only read.
    pub fn doors(&self) -> &Doors {
        &self.doors
    }
}

/// A cause with `aam` as actor.
fn by_aam(summary: impl Into<String>, detail: serde_json::Value) -> Cause {
    Cause { actor: "aam".into(), summary: summary.into(), detail }
}

/// The text of a file in a snapshot.
fn text_of(files: &BTreeMap<RepoPath, Arc<[u8]>>, path: &RepoPath) -> Option<String> {
    files.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// One configured stream for the engine: a person's choices joined with the facts of the lock.
fn configured(plan: crate::spec::StreamPlan) -> ConfiguredStream {
    ConfiguredStream { name: plan.name, mode: plan.mode, cursor: plan.cursor, key: plan.key, schema: plan.schema }
}
