//! Canonical events: appended in batches, read by connection, entity and record.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::error::{Fail, transact};
use super::{PgRegistry, append, letters, specs, word};
use crate::model::{ConnectionId, ConnectionRef, StreamName};
use crate::ports::{
    CanonicalEvent, DeadLetter, EventBatch, EventFilter, EventStore, LandingCursor, Lease, Lineage, RecordHead,
    Refusal, RegistryError, written,
};

/// What `canonical_streams.meta` holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Meta {
    pub connection: ConnectionRef,
    pub extracted_at: DateTime<Utc>,
    pub hash: String,
}

/// What `canonical_streams.lineage` holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Origin {
    pub raw_id: String,
    pub sync_id: i64,
    pub catalog_version: u32,
    pub mapping: String,
}

#[async_trait]
impl EventStore for PgRegistry {
    async fn cursor(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
    ) -> Result<Option<LandingCursor>, RegistryError> {
        let stream = stream.to_string();
        let cursor: Option<Json<Value>> = transact("reading a landing cursor", || async {
            let query = sqlx::query_scalar(
                "SELECT cursor FROM landing_cursors
                 WHERE tenant_id = (SELECT tenant_id FROM connections WHERE id = $1)
                   AND connection_id = $1 AND stream = $2 AND entity = $3",
            );
            Ok(query.bind(connection.0).bind(&stream).bind(entity).fetch_optional(self.pool()).await?)
        })
        .await?;
        Ok(cursor.map(|c| LandingCursor(c.0)))
    }

    async fn heads(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
        keys: &[String],
    ) -> Result<BTreeMap<String, RecordHead>, RegistryError> {
        let stream = stream.to_string();
        let rows: Vec<(String, String, String, String)> = transact("reading last events", || async {
            let query = sqlx::query_as(
                "SELECT record_key, hash, op, raw_id FROM canonical_heads
                 WHERE tenant_id = (SELECT tenant_id FROM connections WHERE id = $1)
                   AND connection_id = $1 AND stream = $2 AND entity = $3 AND record_key = ANY ($4)",
            );
            Ok(query.bind(connection.0).bind(&stream).bind(entity).bind(keys).fetch_all(self.pool()).await?)
        })
        .await?;
        rows.into_iter()
            .map(|(key, hash, op, raw_id)| Ok((key, RecordHead { hash, op: word::read(&op)?, data: None, raw_id })))
            .collect::<Result<_, Fail>>()
            .map_err(|fail| fail.into_error("reading last events"))
    }

    async fn last_data(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
        keys: &[String],
    ) -> Result<BTreeMap<String, Value>, RegistryError> {
        let stream = stream.to_string();
        let rows: Vec<(String, Json<Value>)> = transact("reading last data", || async {
            let query = sqlx::query_as(
                "SELECT h.record_key, e.data FROM canonical_heads h
                 -- `at` names the partition
                 JOIN canonical_streams e USING (tenant_id, connection_id, stream, position, at)
                 WHERE h.tenant_id = (SELECT tenant_id FROM connections WHERE id = $1)
                   AND h.connection_id = $1 AND h.stream = $2 AND h.entity = $3 AND h.record_key = ANY ($4)",
            );
            Ok(query.bind(connection.0).bind(&stream).bind(entity).bind(keys).fetch_all(self.pool()).await?)
        })
        .await?;
        Ok(rows.into_iter().map(|(key, data)| (key, data.0)).collect())
    }

    async fn live_keys(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
    ) -> Result<Vec<String>, RegistryError> {
        let stream = stream.to_string();
        transact("reading live records", || async {
            let query = sqlx::query_scalar(
                "SELECT record_key FROM canonical_heads
                 WHERE tenant_id = (SELECT tenant_id FROM connections WHERE id = $1)
                   AND connection_id = $1 AND stream = $2 AND entity = $3 AND op <> 'delete'",
            );
            Ok(query.bind(connection.0).bind(&stream).bind(entity).fetch_all(self.pool()).await?)
        })
        .await
    }

    async fn append(
        &self,
        lease: &Lease,
        stream: &StreamName,
        entity: &str,
        batch: &EventBatch,
    ) -> Result<(), RegistryError> {
        written("append_events", append::batch(self, lease, stream, entity, batch)).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<CanonicalEvent>, RegistryError> {
        let rows: Vec<Row> = transact("reading events", || async {
            let query = sqlx::query_as(
                "SELECT e.*, coalesce(l.fields, '{}') AS fields FROM (
                     SELECT tenant_id, connection_id, stream, position, at, id, entity, record_key, op, source, meta,
                            data, unknown_fields, lineage
                     FROM canonical_streams
                     WHERE ($1::uuid IS NULL OR connection_id = $1) AND ($2::text IS NULL OR entity = $2)
                       AND ($3::text IS NULL OR record_key = $3)
                     ORDER BY at DESC, connection_id DESC, stream DESC, position DESC LIMIT $4
                 ) e
                 LEFT JOIN LATERAL (
                     SELECT fields FROM canonical_event_lineage
                     WHERE tenant_id = e.tenant_id AND connection_id = e.connection_id AND stream = e.stream
                       AND first_position <= e.position
                     ORDER BY first_position DESC LIMIT 1
                 ) l ON true
                 ORDER BY e.at, e.connection_id, e.stream, e.position",
            );
            let query = query.bind(filter.connection.map(|c| c.0)).bind(&filter.entity).bind(&filter.record_key);
            Ok(query.bind(i64::from(filter.limit)).fetch_all(self.pool()).await?)
        })
        .await?;
        let events = rows.into_iter().map(CanonicalEvent::try_from).collect::<Result<_, _>>();
        events.map_err(|fail| fail.into_error("reading events"))
    }

    async fn dead_letter_counts(&self) -> Result<BTreeMap<ConnectionId, u64>, RegistryError> {
        letters::counts(self).await
    }

    async fn dead_letters(
        &self,
        connection: ConnectionId,
        limit: u32,
    ) -> Result<(Vec<DeadLetter>, u64), RegistryError> {
        letters::newest(self, connection, limit).await
    }

    async fn refusals(&self) -> Result<BTreeMap<ConnectionId, Vec<Refusal>>, RegistryError> {
        letters::refusals(self).await
    }

    async fn refused(&self, connection: ConnectionId, refusal: &Refusal) -> Result<u64, RegistryError> {
        letters::refused(self, connection, refusal).await
    }

    async fn refused_by_others(
        &self,
        connection: ConnectionId,
        stream: &StreamName,
        entity: &str,
        mapping: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, DeadLetter)>, RegistryError> {
        letters::refused_by_others(self, connection, (stream, entity), mapping, after, limit).await
    }

    async fn forget_letters(
        &self,
        lease: &Lease,
        stream: &StreamName,
        entity: &str,
        before: i64,
    ) -> Result<(), RegistryError> {
        letters::forget_before(self, lease, stream, entity, before).await
    }

    async fn record_mapping(&self, name: &str, digest: &str, text: &str) -> Result<(), RegistryError> {
        transact("recording a mapping", || async {
            sqlx::query(
                "INSERT INTO mapping_registry (tenant_id, name, digest, text) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (tenant_id, name, digest) DO NOTHING",
            )
            .bind(specs::tenant_of(name))
            .bind(name)
            .bind(digest)
            .bind(text)
            .execute(self.pool())
            .await?;
            Ok(())
        })
        .await
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    connection_id: Uuid,
    stream: String,
    position: i64,
    at: DateTime<Utc>,
    id: Uuid,
    entity: String,
    record_key: String,
    op: String,
    source: String,
    meta: Json<Meta>,
    data: Json<Value>,
    unknown_fields: Json<Value>,
    lineage: Json<Origin>,
    fields: Json<BTreeMap<String, Vec<String>>>,
}

pub(super) fn stream_of(name: &str) -> Result<StreamName, Fail> {
    name.parse().map_err(|e| Fail::broken("reading a stream's name", format!("{e}")))
}

impl TryFrom<Row> for CanonicalEvent {
    type Error = Fail;

    fn try_from(row: Row) -> Result<Self, Fail> {
        let (Json(meta), Json(origin)) = (row.meta, row.lineage);
        Ok(Self {
            id: row.id,
            position: row.position,
            connection: ConnectionId(row.connection_id),
            connection_name: meta.connection,
            stream: stream_of(&row.stream)?,
            entity: row.entity,
            system: row.source,
            record_key: row.record_key,
            op: word::read(&row.op)?,
            data: row.data.0,
            unknown_fields: row.unknown_fields.0,
            hash: meta.hash,
            extracted_at: meta.extracted_at,
            at: row.at,
            lineage: Lineage {
                raw_id: origin.raw_id,
                sync_id: origin.sync_id,
                catalog_version: origin.catalog_version,
                mapping: origin.mapping,
                fields: row.fields.0,
            },
        })
    }
}
