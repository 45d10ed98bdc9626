//! Where connections, drifts and jobs stand, as the registry remembers it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::drift::Change;
use crate::model::{ConnectionId, ConnectionRef, Fingerprint, StreamName};

/// The id the engine gave an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EngineId(pub String);

/// The three kinds of objects an engine holds for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// Where rows come from.
    Source,
    /// Where they land.
    Destination,
    /// What joins the two.
    Connection,
}

impl ObjectKind {
    /// `source`, `destination`, `connection`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Connection => "connection",
        }
    }
}

/// A run of a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The engine's number for it; grows with time within a connection. Rows carry it as `sync_id`.
    pub id: i64,
    /// Where it stands.
    pub state: JobState,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended, if it has.
    pub ended_at: Option<DateTime<Utc>>,
    /// How often it was begun.
    pub attempts: u32,
    /// Rows committed to landing so far.
    pub rows: u64,
    /// Bytes read so far.
    pub bytes: u64,
    /// By stream, for progress: rows committed so far.
    pub streams: Vec<(StreamName, u64)>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Under way (or cut off by a crash; starting it again with the same request goes on with it).
    Running,
    /// All streams done.
    Succeeded,
    /// Ended with an error; what was committed stays, the next job goes on from there, or begins a full refresh anew.
    Failed,
    /// Stopped by a person.
    Cancelled,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ConnectionStatus {
    /// Declared, not yet running.
    Pending,
    /// Running on its approved catalog.
    Active,
    /// An approved catalog is being brought to the engine.
    Healing,
    /// Stopped by an error; tried again at `retry_at`, or when the spec changes.
    Failed,
    /// Its spec is gone.
    Retired,
}

/// A connection as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRow {
    /// Its identity.
    pub id: ConnectionId,
    /// Its name now.
    pub name: ConnectionRef,
    /// Where it stands.
    pub status: ConnectionStatus,
    /// Why, for `Failed` and `Retired`.
    pub reason: Option<String>,
    /// When to try again.
    pub retry_at: Option<DateTime<Utc>>,
    /// Failures in a row.
    pub failures: u32,
    /// The engine's objects.
    pub objects: BTreeMap<ObjectKind, EngineId>,
    /// The catalog version that the engine runs; 0 before the first.
    pub version: u32,
    /// Its fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// [`crate::spec::Connection::digest`] that the engine's settings were made from.
    pub applied_digest: Option<String>,
    /// [`super::attempt`] of the last try that failed.
    pub tried: Option<String>,
    /// Keyed fingerprint of source and destination settings that the engine has.
    pub secrets: Option<String>,
    /// The last look at the source.
    pub look: Option<Look>,
    /// When its schedule last started a sync.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// The newest job that has ended.
    pub last_ended_job: Option<i64>,
    /// The last job whose landed rows became canonical events.
    pub normalized_job: Option<i64>,
    /// When this row was made: every schedule counts from here.
    pub created_at: DateTime<Utc>,
    /// Whether a person paused it, or its spec went with `on_delete: pause`.
    pub paused: bool,
    /// Steps that fail while the rest runs, by [`super::Step::describe`].
    pub troubles: BTreeMap<String, Trouble>,
    /// Streams that the engine's connection leaves out because a breaking drift waits.
    pub held: BTreeSet<StreamName>,
}

/// A step that fails while the rest of its connection runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Why it failed last.
    pub reason: String,
    /// When it failed first.
    pub since: DateTime<Utc>,
    /// How often since.
    pub failures: u32,
    /// When the daemon tries again.
    pub retry_at: DateTime<Utc>,
}

/// The last look at a connection's source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// When.
    pub at: DateTime<Utc>,
    /// What was seen: the fingerprint of the source's whole catalog, or why it could not be seen.
    pub seen: Result<Fingerprint, String>,
}

/// Why a look is not believed that shows no stream at all where the lock has some or is to be written: the source may just
/// come up, or have lost a role for a moment.
pub const NO_STREAMS: &str = "the source showed no stream at all; it is looked at again before that is believed, at once with `aam apply --look`";

/// How long after such a look the source is looked at again, whatever the connection's own schedule of looks.
const SECOND_LOOK: TimeDelta = TimeDelta::minutes(5);

impl Look {
    /// Whether it showed no stream and the next one decides.
    pub fn is_doubted(&self) -> bool {
        self.seen.as_ref().is_err_and(|why| why == NO_STREAMS)
    }

    /// Whether it is time for the look that decides.
    pub fn wants_second(&self, now: DateTime<Utc>) -> bool {
        self.is_doubted() && now >= self.at + SECOND_LOOK
    }
}

/// Where a drift stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftStatus {
    /// Waits for a person (or for a place among the open repairs).
    Pending,
    /// The lock on the tracked branch carries its fingerprint.
    Approved,
    /// A person said no.
    Rejected,
    /// The source changed back, or moved on: another drift took its place.
    Withdrawn,
    /// The engine runs the repaired catalog.
    Repaired,
    /// The repair could not be carried out.
    Failed,
}

/// A drift as the registry has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftRow {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub connection: ConnectionId,
    /// Fingerprint of the lock it differs from.
    pub base: Fingerprint,
    /// Fingerprint the lock will have once it is repaired: what the source showed, as far as selected.
    pub target: Fingerprint,
    /// Where it stands.
    pub status: DriftStatus,
    /// Every change.
    pub changes: Vec<Change>,
    /// Calibrated probability that a reviewer would take the repair as it is.
    pub confidence: f64,
    /// `yes`, or the gate that forbids it.
    pub automatic: String,
    /// The repair branch, while one is open.
    pub branch: Option<String>,
    /// First seen.
    pub opened_at: DateTime<Utc>,
    /// Last change of status.
    pub changed_at: DateTime<Utc>,
    /// Who or what changed it last, and why.
    pub cause: String,
}

impl DriftRow {
    /// Whether a rule committed its repair, and the lock is back at what it was before.
    pub fn is_unhealed(&self, lock: &Fingerprint) -> bool {
        self.status == DriftStatus::Approved && self.cause.starts_with("rule:") && self.base == *lock
    }
}
