//! The engine's jobs as last seen.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::error::{Fail, transact};
use super::{PgRegistry, audit, word};
use crate::model::{ConnectionId, StreamName};
use crate::ports::{Job, Lease, RegistryError, applied};

/// Keeps a job's newest state; writes nothing if it is as it was.
pub(super) async fn record(registry: &PgRegistry, lease: &Lease, job: &Job) -> Result<(), RegistryError> {
    transact("recording a job", move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        sqlx::query(
            "INSERT INTO job_history AS j
                 (tenant_id, connection_id, job_id, state, started_at, ended_at, attempts, rows, bytes, streams, error)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::json, $11)
             ON CONFLICT (tenant_id, connection_id, job_id) DO UPDATE SET
                 state = excluded.state, started_at = excluded.started_at, ended_at = excluded.ended_at,
                 attempts = excluded.attempts, rows = excluded.rows, bytes = excluded.bytes,
                 streams = excluded.streams, error = excluded.error
             -- json has no equality; the same value is always written as the same text
             WHERE (j.state, j.started_at, j.ended_at, j.attempts, j.rows, j.bytes, j.streams::text, j.error)
                 IS DISTINCT FROM (excluded.state, excluded.started_at, excluded.ended_at, excluded.attempts,
                                   excluded.rows, excluded.bytes, excluded.streams::text, excluded.error)",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(job.id)
        .bind(word::of(&job.state)?)
        .bind(job.started_at)
        .bind(job.ended_at)
        .bind(i32::try_from(job.attempts).unwrap_or(i32::MAX))
        .bind(i64::try_from(job.rows).unwrap_or(i64::MAX))
        .bind(i64::try_from(job.bytes).unwrap_or(i64::MAX))
        .bind(word::json(&job.streams)?)
        .bind(job.error.as_deref().map(audit::storable))
        .execute(&mut *tx)
        .await?;
        applied("record_job", tx.commit()).await?;
        Ok(())
    })
    .await
}

#[derive(sqlx::FromRow)]
struct Row {
    job_id: i64,
    state: String,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    attempts: i32,
    rows: i64,
    bytes: i64,
    streams: Json<Vec<(StreamName, u64)>>,
    error: Option<String>,
}

impl TryFrom<Row> for Job {
    type Error = Fail;

    fn try_from(row: Row) -> Result<Self, Fail> {
        Ok(Self {
            id: row.job_id,
            state: word::read(&row.state)?,
            started_at: row.started_at,
            ended_at: row.ended_at,
            attempts: u32::try_from(row.attempts).unwrap_or(0),
            rows: u64::try_from(row.rows).unwrap_or(0),
            bytes: u64::try_from(row.bytes).unwrap_or(0),
            streams: row.streams.0,
            error: row.error,
        })
    }
}

/// Jobs, newest first.
pub(super) async fn newest(
    registry: &PgRegistry,
    connection: ConnectionId,
    limit: u32,
) -> Result<Vec<Job>, RegistryError> {
    transact("reading jobs", move || async move {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT job_id, state, started_at, ended_at, attempts, rows, bytes, streams, error
             FROM job_history WHERE connection_id = $1 ORDER BY job_id DESC LIMIT $2",
        )
        .bind(connection.0)
        .bind(i64::from(limit))
        .fetch_all(registry.pool())
        .await?;
        rows.into_iter().map(Job::try_from).collect()
    })
    .await
}

#[derive(sqlx::FromRow)]
struct OwnedRow {
    id: Uuid,
    #[sqlx(flatten)]
    job: Row,
}

/// The newest job of each connection that has one.
pub(super) async fn newest_of_each(registry: &PgRegistry) -> Result<BTreeMap<ConnectionId, Job>, RegistryError> {
    transact("reading the newest jobs", move || async move {
        let rows: Vec<OwnedRow> = sqlx::query_as(
            "SELECT c.id, j.*
             -- one step into the index for each connection, however long its history
             FROM connections AS c CROSS JOIN LATERAL (
                 SELECT job_id, state, started_at, ended_at, attempts, rows, bytes, streams, error
                 FROM job_history WHERE tenant_id = c.tenant_id AND connection_id = c.id
                 ORDER BY job_id DESC LIMIT 1
             ) AS j",
        )
        .fetch_all(registry.pool())
        .await?;
        rows.into_iter().map(|row| Ok((ConnectionId(row.id), Job::try_from(row.job)?))).collect()
    })
    .await
}
