//! The engine's own records in the registry's database: objects and jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::model::{Catalog, FieldPath, StreamName, TenantId};
use crate::ports::{
    ConfiguredStream, ConnectionDraft, EngineId, Job, JobState, ObjectKind, OwnerKey, SyncOrder, applied,
};
use crate::spec::StreamMode;

/// A connection's draft as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredDraft {
    source: EngineId,
    destination: EngineId,
    enabled: bool,
    streams: Vec<StoredStream>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredStream {
    name: StreamName,
    mode: StreamMode,
    cursor: Option<FieldPath>,
    key: Vec<FieldPath>,
    /// [`Catalog::body`] with this one stream.
    facts: Value,
    /// What the body leaves out: place and description.
    notes: BTreeMap<FieldPath, (Option<u32>, Option<String>)>,
}

impl From<&ConnectionDraft> for StoredDraft {
    fn from(draft: &ConnectionDraft) -> Self {
        let stream = |s: &ConfiguredStream| StoredStream {
            name: s.name.clone(),
            mode: s.mode,
            cursor: s.cursor.clone(),
            key: s.key.clone(),
            facts: Catalog { streams: [(s.name.clone(), s.schema.clone())].into() }.body(),
            notes: s.schema.fields.iter().map(|(p, f)| (p.clone(), (f.place, f.description.clone()))).collect(),
        };
        Self {
            source: draft.source.clone(),
            destination: draft.destination.clone(),
            enabled: draft.enabled,
            streams: draft.streams.iter().map(stream).collect(),
        }
    }
}

impl StoredDraft {
    /// The draft as it was given, under this name.
    fn restore(self, name: String) -> Result<ConnectionDraft, sqlx::Error> {
        let streams = self.streams.into_iter().map(|s| {
            let mut catalog = Catalog::from_body(&s.facts).map_err(|e| sqlx::Error::Decode(e.into()))?;
            let mut schema = catalog.streams.remove(&s.name).unwrap_or_default();
            for (path, (place, description)) in s.notes {
                if let Some(field) = schema.fields.get_mut(&path) {
                    (field.place, field.description) = (place, description);
                }
            }
            Ok(ConfiguredStream { name: s.name, mode: s.mode, cursor: s.cursor, key: s.key, schema })
        });
        Ok(ConnectionDraft {
            options: BTreeMap::new(),
            name,
            source: self.source,
            destination: self.destination,
            streams: streams.collect::<Result<_, sqlx::Error>>()?,
            enabled: self.enabled,
            settings: BTreeMap::new(),
        })
    }
}

/// The tenant in a name like `acme/crm`.
fn tenant(name: &str) -> String {
    let folder = name.split_once('/').and_then(|(tenant, _)| TenantId::new(tenant).ok());
    folder.unwrap_or_default().as_str().to_owned()
}

/// An id of ours; any other text names nothing that we have.
pub fn uuid(id: &EngineId) -> Option<Uuid> {
    id.0.parse().ok()
}

/// Creates an object, or takes the one of this owner that somebody else created meanwhile: two connections may onboard
/// onto one destination at the same moment.
pub async fn create(
    pool: &PgPool,
    kind: ObjectKind,
    owner: &OwnerKey,
    name: &str,
    draft: Option<&StoredDraft>,
) -> Result<EngineId, sqlx::Error> {
    let id = Uuid::now_v7();
    // Updating nothing, unlike doing nothing, returns the row that is there.
    let sql = "INSERT INTO aam_engine.objects (tenant_id, id, kind, owner, name, draft) VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (kind, owner) DO UPDATE SET owner = excluded.owner RETURNING id";
    let query = sqlx::query_scalar(sql).bind(tenant(name)).bind(id).bind(kind.word()).bind(&owner.0);
    let mut tx = pool.begin().await?;
    let id: Uuid = query.bind(name).bind(draft.map(Json)).fetch_one(&mut *tx).await?;
    applied(&format!("create_{}", kind.word()), tx.commit()).await?;
    Ok(EngineId(id.to_string()))
}

/// Replaces an object's name and draft; `false` if there is no such object.
pub async fn update(
    pool: &PgPool,
    kind: ObjectKind,
    id: &EngineId,
    name: &str,
    draft: Option<&StoredDraft>,
) -> Result<bool, sqlx::Error> {
    let sql = "UPDATE aam_engine.objects SET name = $3, draft = $4, tenant_id = $5, updated_at = now()
               WHERE id = $1 AND kind = $2";
    let query = sqlx::query(sql).bind(uuid(id)).bind(kind.word()).bind(name).bind(draft.map(Json));
    let mut tx = pool.begin().await?;
    let updated = query.bind(tenant(name)).execute(&mut *tx).await?.rows_affected() > 0;
    applied(&format!("update_{}", kind.word()), tx.commit()).await?;
    Ok(updated)
}

/// Deletes an object. Jobs of a connection stay as history.
pub async fn delete(pool: &PgPool, kind: ObjectKind, id: &EngineId) -> Result<(), sqlx::Error> {
    let sql = "DELETE FROM aam_engine.objects WHERE id = $1 AND kind = $2";
    let mut tx = pool.begin().await?;
    sqlx::query(sql).bind(uuid(id)).bind(kind.word()).execute(&mut *tx).await?;
    applied(&format!("delete_{}", kind.word()), tx.commit()).await
}

/// Objects of the kind with that owner.
pub async fn find(pool: &PgPool, kind: ObjectKind, owner: &OwnerKey) -> Result<Vec<EngineId>, sqlx::Error> {
    let sql = "SELECT id::text FROM aam_engine.objects WHERE kind = $1 AND owner = $2";
    let ids: Vec<String> = sqlx::query_scalar(sql).bind(kind.word()).bind(&owner.0).fetch_all(pool).await?;
    Ok(ids.into_iter().map(EngineId).collect())
}

/// A connection as it was drafted.
pub async fn draft(pool: &PgPool, id: &EngineId) -> Result<Option<ConnectionDraft>, sqlx::Error> {
    let sql = "SELECT name, draft FROM aam_engine.objects WHERE id = $1 AND kind = 'connection'";
    let found: Option<(String, Json<StoredDraft>)> = sqlx::query_as(sql).bind(uuid(id)).fetch_optional(pool).await?;
    found.map(|(name, draft)| draft.0.restore(name)).transpose()
}

/// Whether a connection that ran under this identity still exists.
pub async fn is_alive(pool: &PgPool, connection: Uuid) -> Result<bool, sqlx::Error> {
    let sql = "SELECT EXISTS (SELECT FROM aam_engine.jobs j JOIN aam_engine.objects o ON o.id = j.object
                              WHERE j.connection = $1)";
    sqlx::query_scalar(sql).bind(connection).fetch_one(pool).await
}

/// A job as it is read from its row.
struct JobRow(Job);

const JOB: &str = "id, state, started_at, ended_at, attempts, rows, bytes, streams, error";

impl FromRow<'_, PgRow> for JobRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        let state = match row.try_get::<&str, _>("state")? {
            "running" => JobState::Running,
            "succeeded" => JobState::Succeeded,
            "cancelled" => JobState::Cancelled,
            _ => JobState::Failed,
        };
        Ok(Self(Job {
            id: row.try_get("id")?,
            state,
            started_at: row.try_get::<DateTime<Utc>, _>("started_at")?,
            ended_at: row.try_get("ended_at")?,
            attempts: u32::try_from(row.try_get::<i32, _>("attempts")?).unwrap_or(0),
            rows: count(row.try_get("rows")?),
            bytes: count(row.try_get("bytes")?),
            streams: row.try_get::<Json<Vec<(StreamName, u64)>>, _>("streams")?.0,
            error: row.try_get("error")?,
        }))
    }
}

/// The newest jobs of a connection first.
pub async fn jobs(pool: &PgPool, id: &EngineId, limit: u32) -> Result<Vec<Job>, sqlx::Error> {
    let sql = format!("SELECT {JOB} FROM aam_engine.jobs WHERE object = $1 ORDER BY id DESC LIMIT $2");
    let query = sqlx::query_as::<_, JobRow>(sqlx::AssertSqlSafe(sql)).bind(uuid(id)).bind(i64::from(limit));
    Ok(query.fetch_all(pool).await?.into_iter().map(|row| row.0).collect())
}

/// The job of a request.
pub async fn job_of(pool: &PgPool, order: &SyncOrder) -> Result<Option<Job>, sqlx::Error> {
    let sql = format!("SELECT {JOB} FROM aam_engine.jobs WHERE object = $1 AND request = $2");
    let query = sqlx::query_as::<_, JobRow>(sqlx::AssertSqlSafe(sql)).bind(uuid(&order.engine_id)).bind(order.request);
    Ok(query.fetch_optional(pool).await?.map(|row| row.0))
}

/// The running job of a connection, if any.
pub async fn running(pool: &PgPool, id: &EngineId) -> Result<Option<Job>, sqlx::Error> {
    let sql = format!("SELECT {JOB} FROM aam_engine.jobs WHERE object = $1 AND state = 'running'");
    let query = sqlx::query_as::<_, JobRow>(sqlx::AssertSqlSafe(sql)).bind(uuid(id));
    Ok(query.fetch_optional(pool).await?.map(|row| row.0))
}

/// Creates a running job, which nobody else takes over for so long.
pub async fn begin(pool: &PgPool, order: &SyncOrder, ttl: Duration) -> Result<Job, sqlx::Error> {
    let sql = format!(
        "INSERT INTO aam_engine.jobs (tenant_id, object, connection, request, state, alive_until)
         SELECT tenant_id, id, $2, $3, 'running', clock_timestamp() + make_interval(secs => $4)
         FROM aam_engine.objects WHERE id = $1 RETURNING {JOB}"
    );
    let query = sqlx::query_as::<_, JobRow>(sqlx::AssertSqlSafe(sql)).bind(uuid(&order.engine_id));
    let mut tx = pool.begin().await?;
    let job = query.bind(order.connection.0).bind(order.request).bind(ttl.as_secs_f64()).fetch_one(&mut *tx).await?.0;
    applied("start_sync", tx.commit()).await?;
    Ok(job)
}

/// Takes a running job over as another attempt; `None` while the process that runs it is heard of.
pub async fn again(pool: &PgPool, job: i64, ttl: Duration) -> Result<Option<Job>, sqlx::Error> {
    let sql = format!(
        "UPDATE aam_engine.jobs SET attempts = attempts + 1, alive_until = clock_timestamp() + make_interval(secs => $2)
         WHERE id = $1 AND state = 'running' AND alive_until <= clock_timestamp() RETURNING {JOB}"
    );
    let query = sqlx::query_as::<_, JobRow>(sqlx::AssertSqlSafe(sql)).bind(job).bind(ttl.as_secs_f64());
    Ok(query.fetch_optional(pool).await?.map(|row| row.0))
}

/// Lets this attempt at a job be heard of; `false` if the job ended or another process took it over.
pub async fn stay_alive(pool: &PgPool, job: &Job, ttl: Duration) -> Result<bool, sqlx::Error> {
    let sql = "UPDATE aam_engine.jobs SET alive_until = clock_timestamp() + make_interval(secs => $3)
               WHERE id = $1 AND attempts = $2 AND state = 'running'";
    let query = sqlx::query(sql).bind(job.id).bind(attempt(job)).bind(ttl.as_secs_f64());
    Ok(query.execute(pool).await?.rows_affected() > 0)
}

/// Whether a running job's process is heard of.
pub async fn is_heard_of(pool: &PgPool, job: i64) -> Result<bool, sqlx::Error> {
    let sql = "SELECT EXISTS (SELECT FROM aam_engine.jobs WHERE id = $1 AND alive_until > clock_timestamp())";
    sqlx::query_scalar(sql).bind(job).fetch_one(pool).await
}

fn attempt(job: &Job) -> i32 {
    i32::try_from(job.attempts).unwrap_or(i32::MAX)
}

/// Notes how far a job is; `false` if it ended or another process took it over.
pub async fn progress(pool: &PgPool, job: &Job) -> Result<bool, sqlx::Error> {
    let sql = "UPDATE aam_engine.jobs SET rows = $2, bytes = $3, streams = $4
               WHERE id = $1 AND attempts = $5 AND state = 'running'";
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let query = sqlx::query(sql).bind(job.id).bind(count(job.rows)).bind(count(job.bytes));
    let mut tx = pool.begin().await?;
    let noted = query.bind(Json(&job.streams)).bind(attempt(job)).execute(&mut *tx).await?.rows_affected() > 0;
    applied("note_progress", tx.commit()).await?;
    Ok(noted)
}

/// Ends a job that is running; `false` if it ended before, or another process took it over from this attempt.
pub async fn end(pool: &PgPool, job: &Job, state: JobState, error: Option<&str>) -> Result<bool, sqlx::Error> {
    let word = match state {
        JobState::Running => "running",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    };
    let sql = "UPDATE aam_engine.jobs SET state = $2, error = $3, ended_at = now()
               WHERE id = $1 AND attempts = $4 AND state = 'running'";
    let mut tx = pool.begin().await?;
    let done = sqlx::query(sql).bind(job.id).bind(word).bind(error).bind(attempt(job)).execute(&mut *tx).await?;
    applied("end_job", tx.commit()).await?;
    Ok(done.rows_affected() > 0)
}

/// Moves the numbers of jobs on, beyond one that landing has already seen: `sync_id` must never fall, not even after the
/// registry was lost.
pub async fn skip_to(pool: &PgPool, job: i64) -> Result<(), sqlx::Error> {
    let sql = "SELECT setval(pg_get_serial_sequence('aam_engine.jobs', 'id'), $1)";
    sqlx::query(sql).bind(job).execute(pool).await.map(|_| ())
}
