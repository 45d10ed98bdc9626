//! The registry: the authority for everything that is not in git.
//!
//! Every function is one transaction. Those that write for a connection take the [`Lease`]: the adapter checks, in the
//! same transaction, that its fencing number is still the current one, so a holder that slept has no effect.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Remedy, RequestRow};
use crate::drift::radius::{Asked, Counted, Usage};
use crate::drift::rename::{Arrivals, Values};
use crate::model::{Catalog, CommitId, ConnectionId, ConnectionRef, Fingerprint, StreamName, TenantId};
pub use crate::plan::{Agreed, ConnectionRow, ConnectionStatus, DriftRow, DriftStatus, Look, Trouble};
use crate::plan::{EngineId, Job, ObjectKind};
use crate::repair::Trials;
use crate::spec::Rejection;

/// A failure of the registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database did not answer or refused for a while.
    #[error("registry: {what}: {why}")]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// What came back.
        why: String,
    },
    /// Another holder has the lease: nothing was written.
    #[error("registry: the lease of connection {0} went to another holder")]
    LeaseLost(ConnectionId),
    /// The database says something that must not be.
    #[error("registry: {what}: {why}")]
    Broken {
        /// What was tried.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl RegistryError {
    /// Who can mend it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unavailable { .. } | Self::LeaseLost(_) => Remedy::Retry,
            Self::Broken { .. } => Remedy::Person,
        }
    }
}

/// Proof that this process alone works on a connection for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose connection.
    pub tenant: TenantId,
    /// Which connection.
    pub connection: ConnectionId,
    /// Who holds it: `host:pid:random`.
    pub holder: String,
    /// Grows with each change of holder.
    pub fence: i64,
}

/// A catalog version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogVersion {
    /// From 1, without gaps.
    pub version: u32,
    /// Of `body`.
    pub fingerprint: Fingerprint,
    /// The lock's `streams`.
    pub body: Value,
    /// When the engine ran it first.
    pub at: DateTime<Utc>,
    /// The commit that approved it.
    pub commit: Option<CommitId>,
    /// Who approved it: `Name <mail>`, or the rule that did (`rule:additive`).
    pub approved_by: String,
    /// The drift that it answers.
    pub drift: Option<Uuid>,
}

/// An effect that is about to be sent, or whose outcome is not yet known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub connection: ConnectionId,
    /// What is done: `create_source`, `commit_lock`, …
    pub effect: String,
    /// What finds the outcome again: an owner key, a commit id, a request id.
    pub key: String,
    /// What the effect needs to be finished after a crash; never a secret.
    pub detail: Value,
    /// When it was written.
    pub at: DateTime<Utc>,
}

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Position in the tenant's chain, from 1, without gaps. 0 in an entry that is not stored yet.
    pub position: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: `Name <mail>`, `aam`, or `rule:<name>`.
    pub actor: String,
    /// What: `connection.status`, `drift.opened`, `repair.committed`, `catalog.version`, `sync.started`, …
    pub action: String,
    /// Whose connection, if one.
    pub connection: Option<ConnectionId>,
    /// One readable sentence.
    pub summary: String,
    /// The facts.
    pub detail: Value,
    /// SHA-256 (hex) over the previous entry's hash and this entry's canonical form.
    pub hash: String,
}

/// Cause of a write that becomes an audit line in the same transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// Who.
    pub actor: String,
    /// One readable sentence.
    pub summary: String,
    /// The facts.
    pub detail: Value,
}

/// The registry.
#[async_trait]
pub trait Registry: Send + Sync {
    // --- leases
    /// Takes the connection's lease, or renews it if `holder` has it; `None` while another holder's runs.
    async fn lease(
        &self,
        tenant: &TenantId,
        connection: ConnectionId,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, RegistryError>;
    /// Lets a lease go on that is still held; an error if it went to another holder. Never takes it anew.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), RegistryError>;
    /// Removes what is left of leases of connections that were never declared: their holder was killed before.
    async fn drop_stale_leases(&self) -> Result<(), RegistryError>;
    /// Gives it back; no error if it is lost already.
    async fn release(&self, lease: &Lease) -> Result<(), RegistryError>;

    // --- connections
    /// All connections of all tenants.
    async fn connections(&self) -> Result<Vec<ConnectionRow>, RegistryError>;
    /// One connection.
    async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionRow>, RegistryError>;
    /// The connections with that name, retired ones included.
    async fn connections_named(&self, name: &ConnectionRef) -> Result<Vec<ConnectionRow>, RegistryError>;
    /// Makes the row (status `PENDING`), or gives an existing one the new name.
    async fn declare(&self, lease: &Lease, name: &ConnectionRef, cause: &Cause) -> Result<(), RegistryError>;
    /// Changes the status; writes nothing if status, reason and pause are as they were.
    async fn set_status(
        &self,
        lease: &Lease,
        status: ConnectionStatus,
        reason: Option<&str>,
        retry_at: Option<DateTime<Utc>>,
        paused: bool,
        cause: &Cause,
    ) -> Result<(), RegistryError>;
    /// Records an engine object's id, or forgets it.
    async fn set_object(
        &self,
        lease: &Lease,
        kind: ObjectKind,
        id: Option<&EngineId>,
        cause: &Cause,
    ) -> Result<(), RegistryError>;
    /// Records what the engine's settings were made from; without secrets where nobody knows which it has.
    async fn set_applied(
        &self,
        lease: &Lease,
        digest: &str,
        secrets: Option<&str>,
        cause: &Cause,
    ) -> Result<(), RegistryError>;
    /// Records what a failed try was made from; the next one waits for its time, or until that is something else.
    async fn set_tried(&self, lease: &Lease, tried: &str) -> Result<(), RegistryError>;
    /// Replaces what fails while the rest of the connection runs.
    async fn set_troubles(&self, lease: &Lease, troubles: &BTreeMap<String, Trouble>) -> Result<(), RegistryError>;
    /// What was agreed with the engine, of each connection that has something agreed, or of one of them.
    async fn agreed(&self, connection: Option<ConnectionId>) -> Result<BTreeMap<ConnectionId, Agreed>, RegistryError>;
    /// Records what was agreed with the engine, and which streams it leaves out; writes nothing if it is so already.
    async fn set_agreed(
        &self,
        lease: &Lease,
        agreed: &Agreed,
        held: &BTreeSet<StreamName>,
    ) -> Result<(), RegistryError>;
    /// The keyed fingerprint of the settings that the engine's source or destination was sent last; `None` if none were.
    async fn sent_settings(
        &self,
        tenant: &TenantId,
        kind: ObjectKind,
        id: &EngineId,
    ) -> Result<Option<String>, RegistryError>;
    /// Records that these settings were sent.
    async fn set_sent_settings(
        &self,
        lease: &Lease,
        kind: ObjectKind,
        id: &EngineId,
        fingerprint: &str,
    ) -> Result<(), RegistryError>;
    /// Records when the schedule last started a sync.
    async fn set_last_sync(&self, lease: &Lease, at: DateTime<Utc>) -> Result<(), RegistryError>;

    /// Records the last job whose landed rows became canonical events.
    async fn set_normalized(&self, lease: &Lease, job: i64) -> Result<(), RegistryError>;

    // --- looks and catalogs
    /// Notes a look; a catalog not seen before is kept whole.
    async fn record_look(
        &self,
        lease: &Lease,
        look: &Look,
        catalog: Option<(&Catalog, &Value)>,
    ) -> Result<(), RegistryError>;
    /// Takes over the look of another connection of the same source, with its catalog.
    async fn copy_look(&self, lease: &Lease, from: ConnectionId) -> Result<(), RegistryError>;
    /// The catalog last seen with that fingerprint, as body with places and descriptions where known.
    async fn observed(
        &self,
        connection: ConnectionId,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Catalog>, RegistryError>;
    /// The catalogs last seen, the newest first, with places and descriptions where known.
    async fn past_catalogs(&self, connection: ConnectionId, limit: u32) -> Result<Vec<Catalog>, RegistryError>;
    /// What was sampled when the source showed that catalog; empty if nothing was.
    async fn sampled(&self, connection: ConnectionId, fingerprint: &Fingerprint) -> Result<Values, RegistryError>;
    /// What repairs made of landed records when the source showed that catalog; empty if none was tried.
    async fn trials(&self, connection: ConnectionId, fingerprint: &Fingerprint) -> Result<Trials, RegistryError>;
    /// Keeps what repairs made of landed records beside a catalog that is on record.
    async fn set_trials(&self, lease: &Lease, fingerprint: &Fingerprint, trials: &Trials) -> Result<(), RegistryError>;
    /// Keeps what was sampled beside a catalog that is on record.
    async fn set_sampled(&self, lease: &Lease, fingerprint: &Fingerprint, values: &Values)
    -> Result<(), RegistryError>;
    /// What is, or was, taken in of a connection before it is known whose values it holds; by stream.
    async fn arrivals(&self, connection: ConnectionId) -> Result<Arrivals, RegistryError>;
    /// Replaces it.
    async fn set_arrivals(&self, lease: &Lease, arrivals: &Arrivals) -> Result<(), RegistryError>;
    /// Adds version n+1 (recording the same fingerprint for the current version again changes nothing), makes it the
    /// connection's current one, and closes the drift as repaired.
    async fn record_version(&self, lease: &Lease, version: &CatalogVersion, cause: &Cause)
    -> Result<(), RegistryError>;
    /// All versions, oldest first.
    async fn versions(&self, connection: ConnectionId) -> Result<Vec<CatalogVersion>, RegistryError>;

    // --- drift
    /// Opens a drift, or updates the one with the same id. At most one per connection is pending: others are withdrawn.
    async fn put_drift(&self, lease: &Lease, drift: &DriftRow, cause: &Cause) -> Result<(), RegistryError>;
    /// Drifts, newest first; `open` leaves out those that are over.
    async fn drifts(&self, connection: Option<ConnectionId>, open: bool) -> Result<Vec<DriftRow>, RegistryError>;

    // --- requests
    /// Notes a request on a forge as it is now.
    async fn put_request(&self, lease: &Lease, request: &RequestRow, cause: &Cause) -> Result<(), RegistryError>;
    /// Requests of a project on a forge, the oldest first; `open` leaves out those that are over.
    async fn requests(&self, project: &str, open: bool) -> Result<Vec<RequestRow>, RegistryError>;
    /// Rejections that are in force and that git does not hold yet, of each connection that has some.
    async fn rejections(&self) -> Result<BTreeMap<ConnectionId, Vec<Rejection>>, RegistryError>;
    /// Replaces those of a connection.
    async fn set_rejections(&self, lease: &Lease, rejections: &[Rejection], cause: &Cause)
    -> Result<(), RegistryError>;

    // --- intents
    /// Writes the intent of an effect that is about to be sent.
    async fn begin(&self, lease: &Lease, intent: &Intent) -> Result<(), RegistryError>;
    /// The outcome is known and recorded: the intent goes.
    async fn settle(&self, lease: &Lease, intent: Uuid) -> Result<(), RegistryError>;
    /// Intents without a known outcome, oldest first.
    async fn intents(&self, connection: Option<ConnectionId>) -> Result<Vec<Intent>, RegistryError>;

    // --- jobs
    /// Keeps a job's newest state; writes nothing if it is as it was.
    async fn record_job(&self, lease: &Lease, job: &Job) -> Result<(), RegistryError>;
    /// Jobs, newest first.
    async fn jobs(&self, connection: ConnectionId, limit: u32) -> Result<Vec<Job>, RegistryError>;

    /// The newest job of each connection that has one.
    async fn newest_jobs(&self) -> Result<BTreeMap<ConnectionId, Job>, RegistryError>;

    // --- usage
    /// How many events there were in some days and when streams were synced last before they ended. What is counted once is
    /// counted the same again: events are only ever added. Costs the same however many there are; beyond some thousands of a
    /// stream the counts are estimated from its newest.
    async fn usage(&self, connection: ConnectionId, counted: Counted, asked: &Asked) -> Result<Usage, RegistryError>;

    // --- the remote's tracked branch
    /// Where the branch was when somebody last acted on it.
    async fn tracked(&self, branch: &str) -> Result<Option<CommitId>, RegistryError>;
    /// Notes that it is at `now`; `false`, and nothing is written, if it is noted to be elsewhere than `before` by now.
    async fn track(&self, branch: &str, before: Option<&CommitId>, now: &CommitId) -> Result<bool, RegistryError>;

    // --- last good specs
    /// The last good content by path.
    async fn last_good(&self) -> Result<BTreeMap<String, String>, RegistryError>;
    /// Replaces the set of last good contents: writes only what differs.
    async fn set_last_good(&self, files: &BTreeMap<String, String>) -> Result<(), RegistryError>;

    // --- audit
    /// Adds a line that belongs to no other write.
    async fn audit(
        &self,
        tenant: &TenantId,
        action: &str,
        connection: Option<ConnectionId>,
        cause: &Cause,
    ) -> Result<(), RegistryError>;
    /// Lines, newest first.
    async fn audit_log(
        &self,
        tenant: &TenantId,
        connection: Option<ConnectionId>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, RegistryError>;
    /// Recomputes the whole chain; the position of the first line that does not fit, if any.
    async fn verify_audit(&self, tenant: &TenantId) -> Result<Option<i64>, RegistryError>;
}
