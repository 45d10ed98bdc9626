//! Airbyte's objects, as far as this version knows them.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::engine::airbyte::error::{ApiError, shown};

/// An answer as it came, with what this version knows of it read out.
#[derive(Debug, Clone)]
pub struct Kept<T> {
    /// As it came.
    pub raw: Value,
    /// What is known of it.
    pub known: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Kept<T> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(d)?;
        let known = T::deserialize(&raw).map_err(serde::de::Error::custom)?;
        Ok(Self { raw, known })
    }
}

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Its id.
    pub workspace_id: Uuid,
    /// Its name, not unique.
    pub name: String,
}

/// A connector that a workspace can use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// Its id.
    #[serde(alias = "sourceDefinitionId", alias = "destinationDefinitionId")]
    pub id: Uuid,
    /// `Postgres`
    pub name: String,
    /// `airbyte/source-postgres`
    pub docker_repository: String,
    /// Its version.
    pub docker_image_tag: String,
}

/// A source or a destination.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// Its id.
    #[serde(alias = "sourceId", alias = "destinationId")]
    pub id: Uuid,
    /// Its name, not unique.
    pub name: String,
    /// Its connector.
    #[serde(alias = "sourceDefinitionId", alias = "destinationDefinitionId")]
    pub definition: Uuid,
    /// Where it is.
    pub workspace_id: Uuid,
    /// Its settings, secrets masked as `**********`.
    #[serde(default)]
    pub connection_configuration: Value,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    pub created_at: Option<i64>,
    /// `deprecated` once deleted.
    #[serde(default)]
    pub status: Option<String>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Its id.
    pub connection_id: Uuid,
    /// Its name, not unique.
    pub name: String,
    /// Its source.
    pub source_id: Uuid,
    /// Its destination.
    pub destination_id: Uuid,
    /// `active`, `inactive`, `deprecated`, `locked`, or what a later version has.
    pub status: String,
    /// Why the system changed it.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// The streams it carries.
    #[serde(default)]
    pub sync_catalog: SyncCatalog,
    /// Whether Airbyte stopped it for a change of the source.
    #[serde(default)]
    pub breaking_change: bool,
    /// The stored catalog it was made from.
    #[serde(default)]
    pub source_catalog_id: Option<Uuid>,
    /// When it was made, in seconds since 1970.
    #[serde(default, rename = "created_at")]
    pub created_at: Option<i64>,
    /// Its tags, whole.
    #[serde(default)]
    pub tags: Vec<Value>,
}

/// The streams of a connection or a discover, with their configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct SyncCatalog {
    /// `{"stream": {…}, "config": {…}}` each; see `catalog`.
    pub streams: Vec<Value>,
}

/// What a discover brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// The streams.
    pub catalog: SyncCatalog,
    /// The id of the stored catalog.
    pub catalog_id: Option<Uuid>,
}

/// A job of a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiJob {
    /// Its id.
    pub id: i64,
    /// Whose.
    pub connection: Option<Uuid>,
    /// `pending`, `queued`, `running`, `incomplete`, `failed`, `succeeded`, `cancelled`, or what a later version has.
    pub status: String,
    /// `sync`, `clear`, `refresh`, `reset_connection`.
    pub kind: String,
    /// When it was made, in seconds since 1970.
    pub created_at: i64,
    /// When it last changed, in seconds since 1970.
    pub updated_at: i64,
    /// Rows that arrived in the destination.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Why its last attempt failed, as it came.
    pub failure: Option<String>,
}

impl ApiJob {
    /// Whether it has ended; `incomplete` has not: a retry follows.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

/// Why a check or a discover did not succeed though it was answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunError {
    /// The call failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The connector said no: its words as they came, which may repeat settings.
    #[error("{}", shown(.0))]
    Connector(String),
}
