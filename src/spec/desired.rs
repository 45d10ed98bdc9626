//! The resolved form of everything a person declared: references followed, defaults filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Pin;
use crate::model::{
    Catalog, ConnectionId, ConnectionRef, FieldPath, Fingerprint, RepoPath, StreamName, SyncMode, TenantId,
};

/// All specs and locks of one committed state, checked and resolved.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// Connections by name. One whose own file (or a file it refers to) is broken and has no last good version is absent.
    pub connections: BTreeMap<ConnectionRef, Connection>,
    /// Mappings by tenant and name.
    pub mappings: BTreeMap<(TenantId, String), Arc<MappingSpec>>,
    /// Canonical entities by name.
    pub entities: BTreeMap<String, Arc<EntitySpec>>,
    /// Rejected drifts by connection.
    pub rejected: BTreeMap<ConnectionRef, Vec<Rejection>>,
    /// Files that are broken now and replaced by their last good version.
    pub stale: BTreeSet<RepoPath>,
    /// Names whose spec or lock is there but cannot be used, and has no last good version. Never the same as gone: nothing
    /// may be paused or deleted for it.
    pub broken: BTreeSet<ConnectionRef>,
    /// Files and folders that could not be read. What lies below such a folder is unknown, unless a last good version of it
    /// is in force: a connection whose path begins here is not gone.
    pub unread: BTreeSet<String>,
}

/// A connection with everything it refers to.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its name.
    pub name: ConnectionRef,
    /// Its spec.
    pub path: RepoPath,
    /// Where its lock is or will be.
    pub lock_path: RepoPath,
    /// SHA-256 (hex) over the contents of its spec and of the source and destination specs it refers to: changes
    /// exactly when a person edited one of them.
    pub digest: String,
    /// How far `aam` may go.
    pub mode: Mode,
    /// Where rows come from.
    pub source: Endpoint,
    /// Where they land.
    pub destination: Endpoint,
    /// When to sync.
    pub schedule: Schedule,
    /// Which streams, and how.
    pub streams: Selection,
    /// The mapping to canonical entities, if any.
    pub mapping: Option<Arc<MappingSpec>>,
    /// What to do about drift.
    pub drift: DriftPolicy,
    /// What to do when the spec goes.
    pub on_delete: OnDelete,
    /// What to do about what people change in the engine.
    pub on_live_edit: OnLiveEdit,
    /// Whether its approved schema stays as it is for a while.
    pub pin: Option<Pin>,
    /// Its lock; `None` only if it has no lock file. With a lock that is broken the connection is absent.
    pub lock: Option<Lock>,
    /// What the Airbyte engine is told besides.
    pub airbyte: AirbyteOptions,
}

/// Which execution plane moves the data. What a spec may say depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// In process.
    #[default]
    Embedded,
    /// An Airbyte installation, over HTTP.
    Airbyte,
}

/// The `airbyte:` block of a connection; the embedded engine does not read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AirbyteOptions {
    /// The connection of Airbyte that is adopted instead of created.
    pub id: Option<Uuid>,
    /// Its display name, if not the spec's name.
    pub name: Option<String>,
    /// Whether it rests: Airbyte does not run it by its schedule.
    pub inactive: bool,
    /// Where its tables land.
    pub namespace: Namespace,
    /// What its tables' names begin with.
    pub prefix: String,
    /// Settings of Airbyte's connection that `aam` does not model, in Airbyte's own words. Holds no reference to a secret.
    pub passthrough: Config,
}

impl AirbyteOptions {
    /// [`Self::passthrough`] as JSON, scalars typed as YAML's core rules have them.
    pub fn passthrough_json(&self) -> serde_json::Map<String, serde_json::Value> {
        super::value::shown_map(&self.passthrough, "")
    }
}

/// The `airbyte:` block of a source or a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActorOptions {
    /// The source or destination of Airbyte that is adopted instead of created.
    pub id: Option<Uuid>,
    /// Its display name, if not the spec's name.
    pub name: Option<String>,
}

/// In which namespace (schema) of the destination a connection's tables land.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// As at the source.
    Source,
    /// The destination's own.
    #[default]
    Destination,
    /// A format of Airbyte's, in which `${SOURCE_NAMESPACE}` stands for the source's.
    Custom(String),
}

/// How far `aam` may go with a connection; capped by `[engine] mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Report only: no commit, no branch, no write.
    Observe,
    /// Open repairs for review; no engine write.
    Propose,
    /// Everything.
    Manage,
}

/// A source or a destination: what it is called, its type, and its configuration with secrets still as references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Identity: several connections that name the same `kind: source` share one. An inline source is named after its
    /// connection.
    pub name: ConnectionRef,
    /// The connector: `postgres`, `file`, …; with Airbyte a docker repository, its short form, a name or a definition id.
    pub connector: String,
    /// Its settings.
    pub config: Config,
    /// What the Airbyte engine is told besides.
    pub airbyte: ActorOptions,
}

impl Endpoint {
    /// Its settings as JSON, `masked` for each value that holds a reference to a secret.
    pub fn shown(&self, masked: &str) -> serde_json::Map<String, serde_json::Value> {
        super::value::shown_map(&self.config, masked)
    }
}

/// Settings of a connector as the person wrote them.
pub type Config = BTreeMap<String, ConfigValue>;

/// A value in a connector's settings. Scalars stay as written: `01234` is not a number until a connector says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigValue {
    /// `~` or nothing.
    Null,
    /// A plain (unquoted) scalar: the connector may read it as boolean, number or text.
    Plain(String),
    /// Text with no reference in it.
    Text(String),
    /// Text with at least one `${…}`.
    Template(Vec<TemplatePart>),
    /// A list.
    List(Vec<ConfigValue>),
    /// Named values.
    Map(Config),
}

/// A piece of a text with references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// As written.
    Text(String),
    /// A reference to a secret.
    Secret(SecretRef),
}

/// The only way to a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretRef {
    /// `${env:NAME}`: a variable of the daemon's environment.
    Env(String),
    /// `${file:/path}`: a file's content without its final line break.
    File(String),
    /// `${credential:NAME}`: a file below `$CREDENTIALS_DIRECTORY` (systemd).
    Credential(String),
}

/// When a connection syncs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Only when asked.
    Manual,
    /// Again this long after the last start.
    Every(Duration),
    /// A cron expression of five or six fields in a time zone.
    Cron {
        /// As written; checked.
        expression: String,
        /// Where its clock hangs.
        timezone: Tz,
    },
    /// Airbyte's Quartz expression, kept verbatim; only Airbyte runs by it.
    Quartz {
        /// As written, without a time zone behind it.
        expression: String,
        /// Where its clock hangs.
        timezone: Tz,
    },
}

/// Which streams of the source a connection carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every stream with the mode that the source supports best.
    All,
    /// These, by full name or by a bare name that is unique in the source.
    Listed(BTreeMap<StreamName, StreamChoice>),
}

/// A person's choices for one stream; what is absent follows the source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamChoice {
    /// How to read and write.
    pub mode: Option<StreamMode>,
    /// The cursor field.
    pub cursor: Option<FieldPath>,
    /// The key, if not the source's own.
    pub key: Option<Vec<FieldPath>>,
    /// Which fields.
    pub fields: FieldSelection,
}

/// Which top-level fields of a stream are carried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FieldSelection {
    /// All of them, also those that appear later.
    #[default]
    All,
    /// Only these.
    Include(BTreeSet<String>),
    /// All but these.
    Exclude(BTreeSet<String>),
}

/// Sync mode and destination sync mode in one word, as Airbyte's public API has them where it has a word. The embedded
/// engine has the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamMode {
    /// Read all, replace the table.
    FullRefreshOverwrite,
    /// Read all, add to the table.
    FullRefreshAppend,
    /// Read what is new, add to the table.
    IncrementalAppend,
    /// Read what is new, keep the newest row of each key.
    IncrementalAppendDedup,
    /// Read all, replace the table, keep the newest row of each key.
    FullRefreshOverwriteDeduped,
    /// Read all, keep the newest row of each key.
    FullRefreshAppendDedup,
    /// Read all, update what the destination has.
    FullRefreshUpdate,
    /// Read all, mark as deleted what is gone.
    FullRefreshSoftDelete,
    /// Read what is new, replace the table.
    IncrementalOverwrite,
    /// Read what is new, update what the destination has.
    IncrementalUpdate,
    /// Read what is new, mark as deleted what is gone.
    IncrementalSoftDelete,
}

impl StreamMode {
    /// How the source is read.
    pub fn reads(self) -> SyncMode {
        match self {
            Self::FullRefreshOverwrite
            | Self::FullRefreshAppend
            | Self::FullRefreshOverwriteDeduped
            | Self::FullRefreshAppendDedup
            | Self::FullRefreshUpdate
            | Self::FullRefreshSoftDelete => SyncMode::FullRefresh,
            Self::IncrementalAppend
            | Self::IncrementalAppendDedup
            | Self::IncrementalOverwrite
            | Self::IncrementalUpdate
            | Self::IncrementalSoftDelete => SyncMode::Incremental,
        }
    }

    /// Whether only the newest row of each key stays: it needs a key.
    pub fn dedups(self) -> bool {
        matches!(self, Self::IncrementalAppendDedup | Self::FullRefreshOverwriteDeduped | Self::FullRefreshAppendDedup)
    }

    /// Whether after a sync the table holds exactly what the source holds: a row that is not in it any more is deleted.
    pub fn mirrors(self) -> bool {
        matches!(self, Self::FullRefreshOverwrite | Self::FullRefreshOverwriteDeduped)
    }

    /// Whether the embedded engine has it.
    pub fn is_embedded(self) -> bool {
        matches!(
            self,
            Self::FullRefreshOverwrite
                | Self::FullRefreshAppend
                | Self::IncrementalAppend
                | Self::IncrementalAppendDedup
        )
    }

    /// The word in a spec.
    pub fn word(self) -> &'static str {
        match self {
            Self::FullRefreshOverwrite => "full_refresh_overwrite",
            Self::FullRefreshAppend => "full_refresh_append",
            Self::IncrementalAppend => "incremental_append",
            Self::IncrementalAppendDedup => "incremental_append_dedup",
            Self::FullRefreshOverwriteDeduped => "full_refresh_overwrite_deduped",
            Self::FullRefreshAppendDedup => "full_refresh_append_dedup",
            Self::FullRefreshUpdate => "full_refresh_update",
            Self::FullRefreshSoftDelete => "full_refresh_soft_delete",
            Self::IncrementalOverwrite => "incremental_overwrite",
            Self::IncrementalUpdate => "incremental_update",
            Self::IncrementalSoftDelete => "incremental_soft_delete",
        }
    }
}

/// What to do about drift.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftPolicy {
    /// How often to look.
    pub check: Schedule,
    /// Whether what is automatic may be committed.
    pub repair: RepairPolicy,
    /// Least confidence for an automatic repair.
    pub threshold: f64,
    /// What happens to a stream that a breaking drift waits on.
    pub when_breaking: WhenBreaking,
}

/// Whether what is automatic is committed, or also asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairPolicy {
    /// Commit what is automatic, propose the rest.
    Auto,
    /// Always ask.
    Propose,
}

/// What happens to a stream that a breaking drift waits on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBreaking {
    /// It is left out of syncs until decided; the others go on.
    HoldStream,
    /// It goes on; missing fields are null.
    Continue,
}

/// What happens when a connection's spec goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// It stops; nothing is lost.
    Pause,
    /// Its engine objects go; landed rows and events stay.
    Delete,
}

/// What to do about what people change in the engine's own pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLiveEdit {
    /// Propose the edit of the spec that says the same.
    Propose,
    /// Write git's value back.
    Revert,
}

/// A connection's lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The connection's identity for life.
    pub id: ConnectionId,
    /// Counts approvals, from 1.
    pub version: u32,
    /// Of `catalog`; checked.
    pub fingerprint: Fingerprint,
    /// The approved schema of the selected streams.
    pub catalog: Catalog,
}

/// A line of `rejected.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// What the lock would have become.
    pub fingerprint: Fingerprint,
    /// Who rejected it.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// Why.
    pub reason: String,
    /// The changes it is about, each as [`crate::drift::line_of`] writes it: it holds for these, whatever else changes.
    pub changes: Vec<String>,
}

/// A value with its place in the file it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Byte range of the node in the file.
    pub span: std::ops::Range<usize>,
}

/// `kind: mapping`, checked for itself; `crate::mapping` compiles it against locks and entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingSpec {
    /// The file's stem.
    pub name: String,
    /// Its file.
    pub path: RepoPath,
    /// The file's text, for diagnostics and for repairs.
    pub text: Arc<str>,
    /// SHA-256 (hex) of the text: names this version in lineage.
    pub digest: String,
    /// The system it maps from.
    pub system: String,
    /// In the order of the file.
    pub entities: Vec<EntityMapping>,
}

/// How one stream becomes one canonical entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityMapping {
    /// The canonical entity.
    pub entity: At<String>,
    /// The stream it is read from.
    pub stream: At<StreamName>,
    /// Source fields that identify a record; empty: none, identity is file or run and position.
    pub key: Vec<At<FieldPath>>,
    /// Canonical fields, in the order of the file.
    pub fields: Vec<FieldMapping>,
    /// Expression that says a record is deleted.
    pub deleted_when: Option<At<String>>,
}

/// One canonical field and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMapping {
    /// The canonical field, or `extras.<name>`.
    pub target: At<String>,
    /// Where its value comes from.
    pub rule: MappingRule,
}

/// Where a canonical field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappingRule {
    /// `name: source.path`
    Path(At<FieldPath>),
    /// `name: {from: source.path, as: …, values: …, default: …}`
    From {
        /// The source field.
        from: At<FieldPath>,
        /// Cast to this type first.
        cast: Option<At<String>>,
        /// Value table: source value as text → canonical value as written.
        values: Vec<(At<String>, At<String>)>,
        /// When the source has none, or the table does not know the value.
        default: Option<At<String>>,
    },
    /// `name: {expr: '…'}`: a minijinja expression over the record's fields.
    Expr(At<String>),
}

/// `kind: entity`: a canonical entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntitySpec {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: RepoPath,
    /// Its fields by name.
    pub fields: BTreeMap<String, EntityField>,
}

/// A field of a canonical entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityField {
    /// Its type: string, integer, decimal, boolean, date, timestamp, object or array.
    pub ty: String,
    /// Whether a record without it goes to the dead letters.
    pub required: bool,
    /// Whether it is personal: never repaired by itself.
    pub pii: bool,
    /// For people.
    pub description: Option<String>,
}
