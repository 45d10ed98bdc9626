//! From landing to canonical events: the reader of landed rows and the store of events.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{EndpointHandle, EngineError, Lease, RegistryError};
use crate::model::{ConnectionId, ConnectionRef, FieldPath, StreamName};
use crate::spec::Namespace;

/// How far a stream's landing has been read. The landing adapter alone knows what is inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LandingCursor(pub Value);

impl LandingCursor {
    /// What an adapter stored in it; or why that cannot be read.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_value(self.0.clone()).map_err(|e| format!("the stored cursor cannot be read: {e}"))
    }
}

/// A page of landed rows, oldest first.
#[derive(Debug)]
pub struct LandingPage {
    /// The rows.
    pub rows: Vec<LandingRow>,
    /// Where the next page begins; store it in the transaction that stores the events.
    pub next: LandingCursor,
    /// Whether nothing was left when this page was read.
    pub done: bool,
}

/// A landed row.
#[derive(Debug)]
pub struct LandingRow {
    /// `_airbyte_raw_id`.
    pub raw_id: String,
    /// `_airbyte_extracted_at`.
    pub extracted_at: DateTime<Utc>,
    /// `_airbyte_meta.sync_id`: the job that delivered it.
    pub sync_id: i64,
    /// The data columns as one JSON object under the source's own field names.
    pub data: Box<RawValue>,
}

/// Where a connection's rows land. The embedded engine goes by the destination alone: its setting `namespace` decides.
#[derive(Debug, Clone)]
pub struct LandingPlace {
    /// The destination.
    pub destination: EndpointHandle,
    /// Which schema a stream's table is in.
    pub namespace: Namespace,
    /// What stands before every stream's name.
    pub prefix: String,
    /// All streams that the connection carries, in the engine's order: of two that would have the same table, the later
    /// has another.
    pub streams: Vec<StreamName>,
}

/// A stream whose landed rows are read.
#[derive(Debug, Clone, Copy)]
pub struct LandedStream<'a> {
    /// Its full name.
    pub name: &'a StreamName,
    /// Its top-level fields, in the schema's order: of two whose columns would be called the same, the later has another
    /// name. What is not listed here is not given, unless rows land as JSON.
    pub fields: &'a [String],
    /// The fields that tell its records apart; empty if each row is a record.
    pub key: &'a [FieldPath],
}

/// Reads what an engine landed. Called only while no job of the connection runs.
#[async_trait]
pub trait Landing: Send + Sync {
    /// Rows delivered after the cursor; `None` begins at the oldest. A stream without a table yet has no rows.
    ///
    /// A table that was replaced or rewritten is read again. Of the rows that were given before, only the newest of each
    /// record then comes again, so that it is compared with the record's last event and nothing is told twice.
    async fn read(
        &self,
        place: &LandingPlace,
        stream: LandedStream<'_>,
        after: Option<&LandingCursor>,
        limit: u32,
    ) -> Result<LandingPage, EngineError>;
    /// The key values (as JSON, in key order) of every row now in the table: what is missing there was deleted at the
    /// source. Rows that are marked as deleted are left out. Only meaningful for streams that are replaced at each sync.
    async fn keys(&self, place: &LandingPlace, stream: LandedStream<'_>) -> Result<Vec<Vec<Value>>, EngineError>;
}

/// What happened to a canonical record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// It is new or differs from its last event.
    Upsert,
    /// It is gone at the source.
    Delete,
}

/// A canonical event, append-only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanonicalEvent {
    /// Derived (UUIDv5) from connection, stream, entity, record key and position: the same input gives the same id.
    pub id: Uuid,
    /// Gap-free within (connection, stream), from 1.
    pub position: i64,
    /// Whose.
    pub connection: ConnectionId,
    /// The connection's name when it was made.
    pub connection_name: ConnectionRef,
    /// The stream.
    pub stream: StreamName,
    /// The canonical entity.
    pub entity: String,
    /// The system it came from.
    pub system: String,
    /// The record's identity as text: key values as a JSON list, or the raw id where there is no key.
    pub record_key: String,
    /// What happened.
    pub op: Op,
    /// Mapped data; for a delete that of the last event.
    pub data: Value,
    /// Source fields that no mapping took.
    pub unknown_fields: Value,
    /// SHA-256 (hex) over op, data and unknown fields.
    pub hash: String,
    /// When the source's record was read.
    pub extracted_at: DateTime<Utc>,
    /// When this event was made.
    pub at: DateTime<Utc>,
    /// Where it came from.
    pub lineage: Lineage,
}

/// The namespace of event ids: the UUIDv5 of `canonical-event.aam` below the DNS namespace.
const EVENT_IDS: Uuid = Uuid::from_u128(0xca40_d03d_11a4_5baf_8bb5_1f0a_7616_f301);

impl CanonicalEvent {
    /// The id that this event has at a position of its stream: UUIDv5 over connection, stream, entity, record key and
    /// position, each on a line of its own.
    pub fn id_at(&self, position: i64) -> Uuid {
        let name = format!("{}\n{}\n{}\n{}\n{position}", self.connection, self.stream, self.entity, self.record_key);
        Uuid::new_v5(&EVENT_IDS, name.as_bytes())
    }
}

/// Where an event came from: row, job, catalog and mapping version, and which source field fed which canonical field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// `_airbyte_raw_id` of the landed row; for a derived delete that of the row last seen.
    pub raw_id: String,
    /// The job.
    pub sync_id: i64,
    /// The catalog version in force.
    pub catalog_version: u32,
    /// [`crate::spec::MappingSpec::digest`] of the mapping in force.
    pub mapping: String,
    /// Canonical field → source fields.
    pub fields: BTreeMap<String, Vec<String>>,
}

/// A record that could not become an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The stream.
    pub stream: StreamName,
    /// The entity it was meant for.
    pub entity: String,
    /// `_airbyte_raw_id`.
    pub raw_id: String,
    /// Its record key, if it had one.
    pub record_key: Option<String>,
    /// Every reason, one per line, with the field.
    pub reason: String,
    /// The source's record, whole.
    pub record: Value,
    /// When it was refused first.
    pub at: DateTime<Utc>,
    /// When the source's record was read.
    pub extracted_at: DateTime<Utc>,
    /// The job that landed it.
    pub sync_id: i64,
    /// [`crate::spec::MappingSpec::digest`] of the mapping that refused it last; empty in a letter of a version of `aam` that
    /// did not keep it.
    pub mapping: String,
    /// [`crate::mapping::CompiledMapping::digest`] of the same: by another one it is mapped again. Empty as `mapping`.
    pub refused_by: String,
}

/// Dead letters of one stream and entity that one mapping refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stream.
    pub stream: StreamName,
    /// The entity.
    pub entity: String,
    /// [`DeadLetter::refused_by`].
    pub refused_by: String,
}

/// The last event of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordHead {
    /// Hash of its last event.
    pub hash: String,
    /// What it was.
    pub op: Op,
    /// Its data, where the store has it at hand; else [`EventStore::last_data`] gives it.
    pub data: Option<Value>,
    /// Its raw id.
    pub raw_id: String,
}

/// What one page of landing became; stored whole or not at all.
#[derive(Debug, Default)]
pub struct EventBatch {
    /// Events in order; `position` and `id` ([`CanonicalEvent::id_at`]) are filled in by the store.
    pub events: Vec<CanonicalEvent>,
    /// Dead letters. One already there (same stream, entity and raw id) keeps its place and says from now on what this one says.
    pub dead_letters: Vec<DeadLetter>,
    /// Raw ids of dead letters that were mapped again and go.
    pub answered: Vec<String>,
    /// Records that a row says anew: their older dead letters go with it.
    pub overtaken: Vec<String>,
    /// [`crate::mapping::CompiledMapping::digest`] of what mapped all this.
    pub read_by: String,
    /// Where to go on.
    pub cursor: Option<LandingCursor>,
}

/// Which events to show.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only this connection's.
    pub connection: Option<ConnectionId>,
    /// Only this entity's.
    pub entity: Option<String>,
    /// Only this record's.
    pub record_key: Option<String>,
    /// At most so many, the newest.
    pub limit: u32,
}

/// The store of canonical events.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// How far the stream's landing is read.
    async fn cursor(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
    ) -> Result<Option<LandingCursor>, RegistryError>;
    /// The last events of these records; those without one are absent.
    async fn heads(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
        keys: &[String],
    ) -> Result<BTreeMap<String, RecordHead>, RegistryError>;
    /// The data of the last events of these records, for the deletes that carry it on.
    async fn last_data(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
        keys: &[String],
    ) -> Result<BTreeMap<String, Value>, RegistryError> {
        let heads = self.heads(connection, stream, entity, keys).await?;
        Ok(heads.into_iter().filter_map(|(key, head)| Some((key, head.data?))).collect())
    }
    /// Keys of all records whose last event is no delete.
    async fn live_keys(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
    ) -> Result<Vec<String>, RegistryError>;
    /// Appends a batch and moves the cursor in one transaction under the lease.
    async fn append(
        &self,
        lease: &Lease,
        stream: &StreamName,
        entity: &str,
        batch: &EventBatch,
    ) -> Result<(), RegistryError>;
    /// Events, oldest first.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<CanonicalEvent>, RegistryError>;
    /// How many dead letters each connection has that has any.
    async fn dead_letter_counts(&self) -> Result<BTreeMap<ConnectionId, u64>, RegistryError>;
    /// Dead letters of a connection, newest first, and how many there are.
    async fn dead_letters(&self, connection: ConnectionId, limit: u32)
    -> Result<(Vec<DeadLetter>, u64), RegistryError>;
    /// Which mappings refused the dead letters that there are, by connection.
    async fn refusals(&self) -> Result<BTreeMap<ConnectionId, Vec<Refusal>>, RegistryError>;
    /// How many dead letters lie under a refusal.
    async fn refused(&self, connection: ConnectionId, refusal: &Refusal) -> Result<u64, RegistryError>;
    /// Dead letters that another mapping than this refused, each with its place, in the order of landing: the first behind
    /// `after`.
    async fn refused_by_others(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
        mapping: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, DeadLetter)>, RegistryError>;
    /// Forgets the dead letters of jobs before this one, which read the whole stream. Writes nothing if there are none.
    async fn forget_letters(
        &self,
        lease: &Lease,
        stream: &StreamName,
        entity: &str,
        before: i64,
    ) -> Result<(), RegistryError>;
    /// Keeps a mapping's or entity's text under its digest (`mapping_registry`); writes nothing if it is there.
    async fn record_mapping(&self, name: &str, digest: &str, text: &str) -> Result<(), RegistryError>;
}
