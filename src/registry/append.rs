//! Appends a batch of canonical events in one transaction: positions, events, lineage, heads, dead letters, cursor.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{Postgres, Transaction};

use super::error::{Fail, transact};
use super::events::{Meta, Origin};
use super::{PgRegistry, letters, word};
use crate::model::StreamName;
use crate::ports::{CanonicalEvent, EventBatch, Lease, Lineage, RegistryError, applied};

const WHAT: &str = "appending events";

/// The batch's place: what every row of it carries.
pub(super) struct Place<'a> {
    pub(super) lease: &'a Lease,
    pub(super) stream: &'a str,
    pub(super) entity: &'a str,
}

/// Appends all of it, or nothing.
pub(super) async fn batch(
    registry: &PgRegistry,
    lease: &Lease,
    stream: &StreamName,
    entity: &str,
    batch: &EventBatch,
) -> Result<(), RegistryError> {
    let name = stream.to_string();
    if let Some(event) = batch.events.first() {
        // a transaction of its own: making a partition locks more than an append should hold
        transact("making partitions", || async {
            let make = sqlx::query("SELECT ensure_canonical_partitions($1)").bind(event.at);
            make.execute(registry.pool()).await?;
            Ok(())
        })
        .await?;
    }
    transact(WHAT, || async {
        let mut tx = registry.begin_leased(lease).await?;
        let place = Place { lease, stream: &name, entity };
        if !batch.events.is_empty() {
            let first = reserve(&mut tx, &place, batch.events.len()).await?;
            insert_events(&mut tx, &place, &batch.events, first).await?;
            insert_lineage(&mut tx, &place, &batch.events, first).await?;
            move_heads(&mut tx, &place, &batch.events, first).await?;
        }
        letters::remove(&mut tx, &place, batch).await?;
        letters::put(&mut tx, &place, &batch.dead_letters).await?;
        if let Some(cursor) = &batch.cursor {
            sqlx::query(
                "INSERT INTO landing_cursors (tenant_id, connection_id, stream, entity, cursor)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (tenant_id, connection_id, stream, entity) DO UPDATE SET cursor = excluded.cursor",
            )
            .bind(lease.tenant.as_str())
            .bind(lease.connection.0)
            .bind(&name)
            .bind(entity)
            .bind(Json(&cursor.0))
            .execute(&mut *tx)
            .await?;
        }
        applied("append_events", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Takes the next positions; the row stays locked until the commit. Gives the first.
async fn reserve(tx: &mut Transaction<'_, Postgres>, place: &Place<'_>, count: usize) -> Result<i64, Fail> {
    let count = i64::try_from(count).map_err(|e| Fail::broken(WHAT, e.to_string()))?;
    let last: i64 = sqlx::query_scalar(
        "INSERT INTO canonical_positions AS p (tenant_id, connection_id, stream, last) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, connection_id, stream) DO UPDATE SET last = p.last + excluded.last
         RETURNING last",
    )
    .bind(place.lease.tenant.as_str())
    .bind(place.lease.connection.0)
    .bind(place.stream)
    .bind(count)
    .fetch_one(&mut **tx)
    .await?;
    Ok(last - count + 1)
}

async fn insert_events(
    tx: &mut Transaction<'_, Postgres>,
    place: &Place<'_>,
    events: &[CanonicalEvent],
    first: i64,
) -> Result<(), Fail> {
    let (mut ids, mut metas, mut origins) = (Vec::new(), Vec::new(), Vec::new());
    let mut ops = Vec::new();
    for (event, position) in events.iter().zip(first..) {
        ids.push(event.id_at(position));
        ops.push(word::of(&event.op)?);
        metas.push(json(&Meta {
            connection: event.connection_name.clone(),
            extracted_at: event.extracted_at,
            hash: event.hash.clone(),
        })?);
        let Lineage { raw_id, sync_id, catalog_version, mapping, fields: _ } = event.lineage.clone();
        origins.push(json(&Origin { raw_id, sync_id, catalog_version, mapping })?);
    }
    let ats: Vec<DateTime<Utc>> = events.iter().map(|e| e.at).collect();
    let keys: Vec<&str> = events.iter().map(|e| e.record_key.as_str()).collect();
    let sources: Vec<&str> = events.iter().map(|e| e.system.as_str()).collect();
    let data: Vec<String> = events.iter().map(|e| e.data.to_string()).collect();
    let unknown: Vec<String> = events.iter().map(|e| e.unknown_fields.to_string()).collect();
    sqlx::query(
        "INSERT INTO canonical_streams
             (tenant_id, connection_id, stream, entity, position, at, id, record_key, op, source, meta, data,
              unknown_fields, lineage)
         SELECT $1, $2, $3, $4, $5 + n - 1, at, id, record_key, op, source, meta::jsonb, data::jsonb,
                unknown_fields::jsonb, lineage::jsonb
         FROM unnest($6::timestamptz[], $7::uuid[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                     $13::text[], $14::text[])
              WITH ORDINALITY AS r (at, id, record_key, op, source, meta, data, unknown_fields, lineage, n)",
    )
    .bind(place.lease.tenant.as_str())
    .bind(place.lease.connection.0)
    .bind(place.stream)
    .bind(place.entity)
    .bind(first)
    .bind(&ats)
    .bind(&ids)
    .bind(&keys)
    .bind(&ops)
    .bind(&sources)
    .bind(&metas)
    .bind(&data)
    .bind(&unknown)
    .bind(&origins)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One row for each run of events with the same job, catalog version and mapping.
async fn insert_lineage(
    tx: &mut Transaction<'_, Postgres>,
    place: &Place<'_>,
    events: &[CanonicalEvent],
    first: i64,
) -> Result<(), Fail> {
    let same = |a: &CanonicalEvent, b: &CanonicalEvent| {
        let (a, b) = (&a.lineage, &b.lineage);
        (a.sync_id, a.catalog_version, &a.mapping, &a.fields) == (b.sync_id, b.catalog_version, &b.mapping, &b.fields)
    };
    let (mut firsts, mut lasts, mut syncs, mut versions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut mappings, mut fields) = (Vec::new(), Vec::new());
    let mut position = first;
    for run in events.chunk_by(same) {
        let lineage = &run[0].lineage;
        firsts.push(position);
        position += i64::try_from(run.len()).map_err(|e| Fail::broken(WHAT, e.to_string()))?;
        lasts.push(position - 1);
        syncs.push(lineage.sync_id);
        versions.push(i32::try_from(lineage.catalog_version).unwrap_or(i32::MAX));
        mappings.push(lineage.mapping.as_str());
        fields.push(json(&lineage.fields)?);
    }
    sqlx::query(
        "INSERT INTO canonical_event_lineage
             (tenant_id, connection_id, stream, entity, first_position, last_position, sync_id, catalog_version,
              mapping, fields)
         SELECT $1, $2, $3, $4, first, last, sync_id, version, mapping, fields::jsonb
         FROM unnest($5::bigint[], $6::bigint[], $7::bigint[], $8::integer[], $9::text[], $10::text[])
              AS r (first, last, sync_id, version, mapping, fields)",
    )
    .bind(place.lease.tenant.as_str())
    .bind(place.lease.connection.0)
    .bind(place.stream)
    .bind(place.entity)
    .bind(&firsts)
    .bind(&lasts)
    .bind(&syncs)
    .bind(&versions)
    .bind(&mappings)
    .bind(&fields)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The last event of each record in the batch becomes its head.
async fn move_heads(
    tx: &mut Transaction<'_, Postgres>,
    place: &Place<'_>,
    events: &[CanonicalEvent],
    first: i64,
) -> Result<(), Fail> {
    let last: BTreeMap<&str, (&CanonicalEvent, i64)> =
        events.iter().zip(first..).map(|(event, position)| (event.record_key.as_str(), (event, position))).collect();
    let keys: Vec<&str> = last.keys().copied().collect();
    let hashes: Vec<&str> = last.values().map(|(e, _)| e.hash.as_str()).collect();
    let raw_ids: Vec<&str> = last.values().map(|(e, _)| e.lineage.raw_id.as_str()).collect();
    let ops: Vec<String> = last.values().map(|(e, _)| word::of(&e.op)).collect::<Result<_, _>>()?;
    let positions: Vec<i64> = last.values().map(|(_, position)| *position).collect();
    let ats: Vec<DateTime<Utc>> = last.values().map(|(e, _)| e.at).collect();
    sqlx::query(
        "INSERT INTO canonical_heads
             (tenant_id, connection_id, stream, entity, record_key, op, hash, raw_id, position, at)
         SELECT $1, $2, $3, $4, key, op, hash, raw_id, position, at
         FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::timestamptz[])
              AS r (key, op, hash, raw_id, position, at)
         ON CONFLICT (tenant_id, connection_id, stream, entity, record_key) DO UPDATE SET
             op = excluded.op, hash = excluded.hash, raw_id = excluded.raw_id, position = excluded.position,
             at = excluded.at",
    )
    .bind(place.lease.tenant.as_str())
    .bind(place.lease.connection.0)
    .bind(place.stream)
    .bind(place.entity)
    .bind(&keys)
    .bind(&ops)
    .bind(&hashes)
    .bind(&raw_ids)
    .bind(&positions)
    .bind(&ats)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn json<T: Serialize>(value: &T) -> Result<String, Fail> {
    serde_json::to_string(value).map_err(|e| Fail::broken(WHAT, e.to_string()))
}
