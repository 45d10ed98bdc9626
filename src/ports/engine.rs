//! The execution plane. Airbyte and the embedded engine are both behind these two doors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Remedy, ResolvedConfig};
use crate::drift::radius::Tables;
use crate::model::{Catalog, ConnectionId, FieldPath, Stream, StreamName, TenantId};
pub use crate::plan::{EngineId, Job, JobState, MASKED, ObjectKind};
use crate::spec::{ActorOptions, Connection, StreamMode};

/// A failure of the engine, a connector, or what lies behind it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}: {why}")]
pub struct EngineError {
    /// What was tried, for example `discovering source crm`.
    pub what: String,
    /// What came back, secrets masked, control characters escaped.
    pub why: String,
    /// Who can mend it.
    pub remedy: Remedy,
    /// How long the engine asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// A source or destination as the engine needs it.
#[derive(Debug, Clone)]
pub struct EndpointHandle {
    /// The engine's id, once created.
    pub id: Option<EngineId>,
    /// `acme/crm`: for messages and object names.
    pub name: String,
    /// Whose.
    pub tenant: TenantId,
    /// The connector.
    pub connector: String,
    /// Settings with secrets.
    pub config: ResolvedConfig,
    /// What its spec says for Airbyte alone.
    pub airbyte: ActorOptions,
}

/// What a source showed.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// In our words.
    pub catalog: Catalog,
    /// As the connector said it (an Airbyte protocol catalog), kept in the registry.
    pub raw: Value,
}

/// Marks an object as ours: at most one object of a kind per owner key. Found again after an unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerKey(pub String);

/// One configured stream: what a sync carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredStream {
    /// Its name at the source.
    pub name: StreamName,
    /// How it is read and written.
    pub mode: StreamMode,
    /// The cursor in use.
    pub cursor: Option<FieldPath>,
    /// The key in use; empty if none.
    pub key: Vec<FieldPath>,
    /// Facts from the lock, with only the carried fields.
    pub schema: Stream,
}

/// A connection as it should be in the engine, or as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionDraft {
    /// Display name.
    pub name: String,
    /// The engine's source.
    pub source: EngineId,
    /// The engine's destination.
    pub destination: EngineId,
    /// What it carries.
    pub streams: Vec<ConfiguredStream>,
    /// Whether it may run.
    pub enabled: bool,
    /// What else git decides, in the engine's words: see [`EngineRead::settings`].
    pub settings: BTreeMap<String, Value>,
    /// What the engine holds of a stream in its own words (mappers that hash or filter, …), and of one that is left out for
    /// a while what it held: it is given back with the stream.
    pub options: BTreeMap<StreamName, Value>,
}

/// A connection as it is in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConnection {
    /// Its id.
    pub id: EngineId,
    /// What it is.
    pub is: ConnectionDraft,
    /// Why the engine stopped it by itself, if it did.
    pub stopped: Option<String>,
}

/// A source or destination as it is in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEndpoint {
    /// Display name.
    pub name: String,
    /// Its settings; what the engine keeps secret as [`MASKED`].
    pub config: Value,
}

/// An object that may be the one that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: EngineId,
    /// Whether its owner mark, or the spec, says that it is ours. Else it only has the same name and the same parts: it is
    /// ours if it was not there before we asked for it.
    pub marked: bool,
    /// When it was made, by the engine's clock, where it says so.
    pub made: Option<DateTime<Utc>>,
}

/// What an engine showed of everything it holds, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Its connections, or why one cannot be told in our words.
    /// The same allocation as in the last survey says that nothing of it changed.
    pub connections: BTreeMap<EngineId, Result<Arc<EngineConnection>, String>>,
    /// Its sources and destinations.
    pub endpoints: BTreeMap<(ObjectKind, EngineId), EngineEndpoint>,
    /// Of each connection the newest job that moves rows.
    pub jobs: BTreeMap<EngineId, Job>,
    /// Names of everything, for what nobody declared.
    pub names: BTreeMap<(ObjectKind, EngineId), String>,
}

/// How an engine behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// It is a system of its own, which other people use too: it starts syncs by its own schedule, keeps the settings of sources
    /// and destinations with their secrets, and what a sync leaves out is a setting of the connection. Else `aam` starts
    /// each sync and says with it what is left out.
    pub drives_itself: bool,
    /// Until when an object may still appear that was asked for without an answer.
    pub late: Duration,
}

/// An object that is about to be asked for, and its id once it was made. All that only reads is done before; nothing is sent
/// until it is awaited. So a process that was killed before has sent nothing.
pub type Ask<'a> = BoxFuture<'a, Result<EngineId, EngineError>>;

/// Everything a sync needs. Airbyte takes only the ids; the embedded engine does the work with the rest.
#[derive(Debug, Clone)]
pub struct SyncOrder {
    /// Whose sync.
    pub connection: ConnectionId,
    /// The engine's connection.
    pub engine_id: EngineId,
    /// Where rows come from.
    pub source: EndpointHandle,
    /// Where they land.
    pub destination: EndpointHandle,
    /// Streams left out of this run because a breaking drift waits.
    pub held: BTreeSet<StreamName>,
    /// Whether a carried field that the source no longer has is read as null (`when_breaking: continue`) rather than
    /// failing its stream.
    pub missing_as_null: bool,
    /// The ask's own id: the same ask sent twice is one job.
    pub request: uuid::Uuid,
    /// The connection's newest job before the ask, for engines that know no ids of asks: a later one answers it.
    pub after: i64,
    /// Streams that are read anew from their beginning. What landed of them stays until it is replaced.
    pub refresh: BTreeSet<StreamName>,
}

/// Streams whose landed rows are deleted.
#[derive(Debug, Clone)]
pub struct ClearOrder {
    /// The engine's connection.
    pub engine_id: EngineId,
    /// Where they landed.
    pub destination: EndpointHandle,
    /// All streams that the connection carries, in its order.
    pub carried: Vec<StreamName>,
    /// Those that are cleared, each named by a person.
    pub streams: BTreeSet<StreamName>,
}

/// Looking at the execution plane; changes nothing.
#[async_trait]
pub trait EngineRead: Send + Sync {
    /// Tries the source's credentials and reachability.
    async fn check(&self, source: &EndpointHandle) -> Result<(), EngineError>;
    /// Tries the destination's credentials, reachability and right to create tables.
    async fn check_destination(&self, destination: &EndpointHandle) -> Result<(), EngineError>;
    /// Reads the source's catalog, never from a cache.
    async fn discover(&self, source: &EndpointHandle) -> Result<Discovered, EngineError>;
    /// How it behaves.
    fn manner(&self) -> Manner;
    /// What else of a connection the engine takes from git: schedule, namespace and the like, in its own words.
    fn settings(&self, connection: &Connection) -> Result<BTreeMap<String, Value>, EngineError>;
    /// Where a spec says a setting of a connection, and what it says if the setting has this value; without a value, nothing
    /// stands there. `None`: no spec says it. Asked only of an engine that drives itself.
    fn spelled(&self, _setting: &str, _value: &Value) -> Option<(Vec<String>, Option<Value>)> {
        None
    }
    /// Where a catalog of the connection lands, as far as its spec tells that without a secret; nobody is asked. A
    /// destination whose names are made by other rules is left out.
    fn tables(&self, connection: &Connection, catalog: &Catalog) -> Tables;
    /// The sources or destinations that may be this one: before one is made, and after an unknown outcome, look.
    async fn find_endpoint(
        &self,
        kind: ObjectKind,
        owner: &OwnerKey,
        handle: &EndpointHandle,
    ) -> Result<Vec<Candidate>, EngineError>;
    /// The connections that may be this one; `adopted` is the id that its spec names.
    async fn find_connection(
        &self,
        owner: &OwnerKey,
        draft: &ConnectionDraft,
        adopted: Option<&EngineId>,
    ) -> Result<Vec<Candidate>, EngineError>;
    /// Everything at once, in as few calls as pages; asked only of an engine that drives itself.
    async fn survey(&self) -> Result<Survey, EngineError>;
    /// The source or destination as it is; `None` only if the engine says that it does not exist. Asked only of an engine
    /// that drives itself.
    async fn endpoint(&self, kind: ObjectKind, id: &EngineId) -> Result<Option<EngineEndpoint>, EngineError>;
    /// The connection as it is; `None` only if the engine says that it does not exist.
    async fn connection(&self, id: &EngineId) -> Result<Option<EngineConnection>, EngineError>;
    /// The newest jobs first.
    async fn jobs(&self, id: &EngineId, limit: u32) -> Result<Vec<Job>, EngineError>;
    /// The first job after this one that deletes what landed, where a clear is a job.
    async fn clear_after(&self, _id: &EngineId, _after: i64) -> Result<Option<i64>, EngineError> {
        Ok(None)
    }
}

/// Changing the execution plane.
#[async_trait]
pub trait EngineWrite: EngineRead {
    /// Creates a source or destination under the owner key, or gives the one that somebody else created under it meanwhile:
    /// connections share them, so nobody's lease keeps two from creating it at the same moment.
    async fn create_endpoint<'a>(
        &'a self,
        kind: ObjectKind,
        owner: &'a OwnerKey,
        handle: &'a EndpointHandle,
    ) -> Result<Ask<'a>, EngineError>;
    /// Replaces the settings of a source or destination; a value that is [`MASKED`] stays as the engine keeps it.
    async fn update_endpoint(
        &self,
        kind: ObjectKind,
        id: &EngineId,
        handle: &EndpointHandle,
    ) -> Result<(), EngineError>;
    /// Creates a connection under the owner key. Its source may be looked at for that: `of_source` are the settings that its
    /// connector may repeat, and whose secrets are masked in errors.
    async fn create_connection<'a>(
        &'a self,
        owner: &'a OwnerKey,
        draft: &'a ConnectionDraft,
        of_source: &'a ResolvedConfig,
    ) -> Result<Ask<'a>, EngineError>;
    /// Replaces name, streams, settings and enabled; never clears data. `of_source` as when it was created.
    async fn update_connection(
        &self,
        id: &EngineId,
        draft: &ConnectionDraft,
        of_source: &ResolvedConfig,
    ) -> Result<(), EngineError>;
    /// Deletes an object; landed rows stay. Deleting what is gone already is no error.
    async fn delete(&self, kind: ObjectKind, id: &EngineId) -> Result<(), EngineError>;
    /// Starts a sync, or goes on with the job of the same request, and returns at once with its job. A connection has at most
    /// one running job: where another one runs that moves rows, that is the job.
    async fn start_sync(&self, order: &SyncOrder) -> Result<Job, EngineError>;
    /// Deletes what landed of these streams; their next sync reads them from the beginning. Gives the job that does it, if it
    /// is not done at once. Only ever called for streams that a person named.
    async fn clear(&self, order: &ClearOrder) -> Result<Option<i64>, EngineError>;
    /// Stops a running job at its next commit; whether it still ran.
    async fn cancel(&self, id: &EngineId, job: i64) -> Result<bool, EngineError>;
}
