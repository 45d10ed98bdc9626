//! Dead letters: kept in the order in which they landed, read again in it, gone with what answers them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::append::Place;
use super::error::{Fail, transact};
use super::{PgRegistry, events};
use crate::model::{ConnectionId, StreamName};
use crate::ports::{DeadLetter, EventBatch, Lease, Refusal, RegistryError, applied, written};

/// What [`LetterRow`] reads.
const COLUMNS: &str = "stream, entity, raw_id, record_key, reason, record, at, coalesce(extracted_at, at) AS extracted_at, \
    coalesce(sync_id, 0) AS sync_id, coalesce(mapping, '') AS mapping, coalesce(refused_by, '') AS refused_by, seq";

/// Takes away the letters that a batch answers, before its own come.
pub(super) async fn remove(
    tx: &mut Transaction<'_, Postgres>,
    place: &Place<'_>,
    batch: &EventBatch,
) -> Result<(), Fail> {
    if !batch.answered.is_empty() {
        sqlx::query(
            "DELETE FROM dead_letters
             WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3 AND entity = $4 AND raw_id = ANY ($5)",
        )
        .bind(place.lease.tenant.as_str())
        .bind(place.lease.connection.0)
        .bind(place.stream)
        .bind(place.entity)
        .bind(&batch.answered)
        .execute(&mut **tx)
        .await?;
    }
    if !batch.overtaken.is_empty() {
        sqlx::query(
            "DELETE FROM dead_letters
             WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3 AND entity = $4
               -- mostly there is none at all: asked once, instead of for each key
               AND EXISTS (SELECT FROM dead_letters
                           WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3 AND entity = $4)
               AND octet_length(record_key) <= 1000 AND record_key = ANY ($5)
               -- what another mapping refused has its key from that mapping, and is newer: its turn comes
               AND (refused_by = $6 OR refused_by IS NULL)",
        )
        .bind(place.lease.tenant.as_str())
        .bind(place.lease.connection.0)
        .bind(place.stream)
        .bind(place.entity)
        .bind(&batch.overtaken)
        .bind(&batch.read_by)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Keeps a batch's letters.
pub(super) async fn put(
    tx: &mut Transaction<'_, Postgres>,
    place: &Place<'_>,
    letters: &[DeadLetter],
) -> Result<(), Fail> {
    if letters.is_empty() {
        return Ok(());
    }
    let raw_ids: Vec<&str> = letters.iter().map(|l| l.raw_id.as_str()).collect();
    let keys: Vec<Option<&str>> = letters.iter().map(|l| l.record_key.as_deref()).collect();
    let reasons: Vec<&str> = letters.iter().map(|l| l.reason.as_str()).collect();
    let records: Vec<String> = letters.iter().map(|l| l.record.to_string()).collect();
    let ats: Vec<DateTime<Utc>> = letters.iter().map(|l| l.at).collect();
    let extracted: Vec<DateTime<Utc>> = letters.iter().map(|l| l.extracted_at).collect();
    let syncs: Vec<i64> = letters.iter().map(|l| l.sync_id).collect();
    let mappings: Vec<&str> = letters.iter().map(|l| l.mapping.as_str()).collect();
    let refused_by: Vec<&str> = letters.iter().map(|l| l.refused_by.as_str()).collect();
    sqlx::query(
        "INSERT INTO dead_letters
             (tenant_id, connection_id, stream, entity, raw_id, record_key, reason, record, at, extracted_at, sync_id,
              mapping, refused_by)
         SELECT $1, $2, $3, $4, raw_id, key, reason, record::json, at, extracted_at, sync_id, mapping, refused_by
         FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::bigint[],
                     $12::text[], $13::text[])
              WITH ORDINALITY AS r (raw_id, key, reason, record, at, extracted_at, sync_id, mapping, refused_by, n)
         ORDER BY n
         -- a row that is read again is the same letter, in its old place
         ON CONFLICT (tenant_id, connection_id, stream, entity, raw_id) DO UPDATE SET
             record_key = excluded.record_key, reason = excluded.reason, record = excluded.record,
             extracted_at = excluded.extracted_at, sync_id = excluded.sync_id, mapping = excluded.mapping,
             refused_by = excluded.refused_by",
    )
    .bind(place.lease.tenant.as_str())
    .bind(place.lease.connection.0)
    .bind(place.stream)
    .bind(place.entity)
    .bind(&raw_ids)
    .bind(&keys)
    .bind(&reasons)
    .bind(&records)
    .bind(&ats)
    .bind(&extracted)
    .bind(&syncs)
    .bind(&mappings)
    .bind(&refused_by)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// How many each connection has that has any.
pub(super) async fn counts(registry: &PgRegistry) -> Result<BTreeMap<ConnectionId, u64>, RegistryError> {
    let rows: Vec<(Uuid, i64)> = transact("counting dead letters", || async {
        let sql = "SELECT connection_id, count(*) FROM dead_letters GROUP BY connection_id";
        Ok(sqlx::query_as(sql).fetch_all(registry.pool()).await?)
    })
    .await?;
    Ok(rows.into_iter().map(|(id, count)| (ConnectionId(id), u64::try_from(count).unwrap_or(0))).collect())
}

/// The newest of a connection, and how many there are.
pub(super) async fn newest(
    registry: &PgRegistry,
    connection: ConnectionId,
    limit: u32,
) -> Result<(Vec<DeadLetter>, u64), RegistryError> {
    const WHAT: &str = "reading dead letters";
    let (rows, count): (Vec<LetterRow>, i64) = transact(WHAT, || async {
        let sql = format!(
            "SELECT {COLUMNS} FROM dead_letters
             WHERE tenant_id = (SELECT tenant_id FROM connections WHERE id = $1) AND connection_id = $1
             ORDER BY at DESC, stream, entity, raw_id LIMIT $2"
        );
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(connection.0).bind(i64::from(limit));
        let rows = rows.fetch_all(registry.pool()).await?;
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM dead_letters
             WHERE tenant_id = (SELECT tenant_id FROM connections WHERE id = $1) AND connection_id = $1",
        );
        Ok((rows, count.bind(connection.0).fetch_one(registry.pool()).await?))
    })
    .await?;
    let letters = rows.into_iter().map(DeadLetter::try_from).collect::<Result<_, _>>();
    Ok((letters.map_err(|fail| fail.into_error(WHAT))?, u64::try_from(count).unwrap_or(0)))
}

/// Which mappings refused what: a step through the index for each, not a look at each letter.
pub(super) async fn refusals(registry: &PgRegistry) -> Result<BTreeMap<ConnectionId, Vec<Refusal>>, RegistryError> {
    const WHAT: &str = "reading what refused dead letters";
    let rows: Vec<(Uuid, String, String, String)> = transact(WHAT, || async {
        let query = sqlx::query_as(
            "WITH RECURSIVE found AS (
                 (SELECT tenant_id, connection_id, stream, entity, refused_by FROM dead_letters
                  WHERE refused_by IS NOT NULL ORDER BY 1, 2, 3, 4, 5 LIMIT 1)
                 UNION ALL
                 SELECT next.* FROM found f CROSS JOIN LATERAL
                     (SELECT d.tenant_id, d.connection_id, d.stream, d.entity, d.refused_by FROM dead_letters d
                      WHERE d.refused_by IS NOT NULL
                        AND (d.tenant_id, d.connection_id, d.stream, d.entity, d.refused_by)
                            > (f.tenant_id, f.connection_id, f.stream, f.entity, f.refused_by)
                      ORDER BY 1, 2, 3, 4, 5 LIMIT 1) next)
             SELECT connection_id, stream, entity, refused_by FROM found",
        );
        Ok(query.fetch_all(registry.pool()).await?)
    })
    .await?;
    let mut refusals: BTreeMap<ConnectionId, Vec<Refusal>> = BTreeMap::new();
    for (connection, stream, entity, refused_by) in rows {
        let stream = events::stream_of(&stream).map_err(|fail| fail.into_error(WHAT))?;
        refusals.entry(ConnectionId(connection)).or_default().push(Refusal { stream, entity, refused_by });
    }
    Ok(refusals)
}

/// How many letters lie under a refusal.
pub(super) async fn refused(
    registry: &PgRegistry,
    connection: ConnectionId,
    refusal: &Refusal,
) -> Result<u64, RegistryError> {
    let stream = refusal.stream.to_string();
    let count: i64 = transact("counting what a mapping refused", || async {
        let query = sqlx::query_scalar(
            "SELECT count(*) FROM dead_letters
             WHERE tenant_id = (SELECT tenant_id FROM connections WHERE id = $1)
               AND connection_id = $1 AND stream = $2 AND entity = $3 AND refused_by = $4",
        );
        let query = query.bind(connection.0).bind(&stream).bind(&refusal.entity).bind(&refusal.refused_by);
        Ok(query.fetch_one(registry.pool()).await?)
    })
    .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The next letters behind a place that another mapping than this refused.
pub(super) async fn refused_by_others(
    registry: &PgRegistry,
    connection: ConnectionId,
    (stream, entity): (&StreamName, &str),
    mapping: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<(i64, DeadLetter)>, RegistryError> {
    const WHAT: &str = "reading dead letters to be mapped again";
    let stream = stream.to_string();
    let rows: Vec<LetterRow> = transact(WHAT, || async {
        let sql = format!(
            "SELECT {COLUMNS} FROM dead_letters
             WHERE tenant_id = (SELECT tenant_id FROM connections WHERE id = $1)
               AND connection_id = $1 AND stream = $2 AND entity = $3 AND seq > $4 AND refused_by <> $5
             ORDER BY seq LIMIT $6"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(connection.0).bind(&stream).bind(entity);
        Ok(query.bind(after).bind(mapping).bind(i64::from(limit)).fetch_all(registry.pool()).await?)
    })
    .await?;
    let letters = rows.into_iter().map(|row| Ok((row.seq, DeadLetter::try_from(row)?)));
    letters.collect::<Result<_, Fail>>().map_err(|fail| fail.into_error(WHAT))
}

/// Forgets the letters of jobs before this one. Asks first: mostly there are none, and then nothing is written.
pub(super) async fn forget_before(
    registry: &PgRegistry,
    lease: &Lease,
    stream: &StreamName,
    entity: &str,
    job: i64,
) -> Result<(), RegistryError> {
    const WHAT: &str = "forgetting dead letters";
    // 0: the landed row did not say which job brought it
    const OLD: &str = "FROM dead_letters WHERE tenant_id = $1 AND connection_id = $2 AND stream = $3 AND entity = $4
                       AND sync_id > 0 AND sync_id < $5";
    let stream = stream.to_string();
    let (any, all) = (format!("SELECT EXISTS (SELECT {OLD})"), format!("DELETE {OLD}"));
    let there: bool = transact(WHAT, || async {
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(any.clone())).bind(lease.tenant.as_str());
        let query = query.bind(lease.connection.0).bind(&stream).bind(entity).bind(job);
        Ok(query.fetch_one(registry.pool()).await?)
    })
    .await?;
    if !there {
        return Ok(());
    }
    let forget = transact(WHAT, || async {
        let mut tx = registry.begin_leased(lease).await?;
        let query = sqlx::query(sqlx::AssertSqlSafe(all.clone())).bind(lease.tenant.as_str());
        query.bind(lease.connection.0).bind(&stream).bind(entity).bind(job).execute(&mut *tx).await?;
        applied("forget_letters", tx.commit()).await?;
        Ok(())
    });
    written("forget_letters", forget).await
}

#[derive(sqlx::FromRow)]
struct LetterRow {
    stream: String,
    entity: String,
    raw_id: String,
    record_key: Option<String>,
    reason: String,
    record: Json<Value>,
    at: DateTime<Utc>,
    extracted_at: DateTime<Utc>,
    sync_id: i64,
    mapping: String,
    refused_by: String,
    seq: i64,
}

impl TryFrom<LetterRow> for DeadLetter {
    type Error = Fail;

    fn try_from(row: LetterRow) -> Result<Self, Fail> {
        Ok(Self {
            stream: events::stream_of(&row.stream)?,
            entity: row.entity,
            raw_id: row.raw_id,
            record_key: row.record_key,
            reason: row.reason,
            record: row.record.0,
            at: row.at,
            extracted_at: row.extracted_at,
            sync_id: row.sync_id,
            mapping: row.mapping,
            refused_by: row.refused_by,
        })
    }
}
