//! Where each connection stands. Every change of standing adds its audit line in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::error::{Fail, transact};
use super::{PgRegistry, audit, word};
use crate::model::{ConnectionId, ConnectionRef, Fingerprint, StreamName, TenantId};
use crate::plan::Agreed;
use crate::ports::{
    Cause, ConnectionRow, ConnectionStatus, EngineId, Lease, Look, ObjectKind, RegistryError, Trouble, applied,
};

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: String,
    id: Uuid,
    name: String,
    status: String,
    reason: Option<String>,
    retry_at: Option<DateTime<Utc>>,
    failures: i32,
    objects: Json<BTreeMap<ObjectKind, EngineId>>,
    version: i32,
    fingerprint: Option<String>,
    applied_digest: Option<String>,
    tried: Option<String>,
    secrets: Option<String>,
    look_at: Option<DateTime<Utc>>,
    look_seen: Option<Json<Result<Fingerprint, String>>>,
    last_sync_at: Option<DateTime<Utc>>,
    last_ended_job: Option<i64>,
    normalized_job: Option<i64>,
    created_at: DateTime<Utc>,
    paused: bool,
    troubles: Json<BTreeMap<String, Trouble>>,
    held: Json<BTreeSet<StreamName>>,
}

impl TryFrom<Row> for ConnectionRow {
    type Error = Fail;

    fn try_from(row: Row) -> Result<Self, Fail> {
        let broken = |why: String| Fail::broken("reading connections", why);
        let tenant = TenantId::new(&row.tenant_id).map_err(|e| broken(e.to_string()))?;
        Ok(Self {
            id: ConnectionId(row.id),
            name: ConnectionRef::new(tenant, &row.name).map_err(|e| broken(e.to_string()))?,
            status: word::read(&row.status)?,
            reason: row.reason,
            retry_at: row.retry_at,
            failures: u32::try_from(row.failures).unwrap_or(0),
            objects: row.objects.0,
            version: u32::try_from(row.version).unwrap_or(0),
            fingerprint: row.fingerprint.map(|f| f.parse()).transpose().map_err(broken)?,
            applied_digest: row.applied_digest,
            tried: row.tried,
            secrets: row.secrets,
            look: row.look_at.zip(row.look_seen).map(|(at, seen)| Look { at, seen: seen.0 }),
            last_sync_at: row.last_sync_at,
            last_ended_job: row.last_ended_job,
            normalized_job: row.normalized_job,
            created_at: row.created_at,
            paused: row.paused,
            troubles: row.troubles.0,
            held: row.held.0,
        })
    }
}

const SELECT: &str = "SELECT tenant_id, id, name, status, reason, retry_at, failures, objects, version, fingerprint,
        applied_digest, tried, secrets, look_at, look_seen, last_sync_at, paused, troubles, held,
        normalized_job, created_at,
        (SELECT max(job_id) FROM job_history AS j
         WHERE j.tenant_id = c.tenant_id AND j.connection_id = c.id AND j.ended_at IS NOT NULL) AS last_ended_job
    FROM connections AS c";

/// All connections of all tenants, by tenant, name and age.
pub(super) async fn all(registry: &PgRegistry) -> Result<Vec<ConnectionRow>, RegistryError> {
    let sql = &format!("{SELECT} ORDER BY tenant_id, name, created_at, id");
    transact("reading connections", move || async move {
        let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql.clone())).fetch_all(registry.pool()).await?;
        rows.into_iter().map(ConnectionRow::try_from).collect()
    })
    .await
}

/// One connection.
pub(super) async fn one(registry: &PgRegistry, id: ConnectionId) -> Result<Option<ConnectionRow>, RegistryError> {
    let sql = &format!("{SELECT} WHERE id = $1");
    transact("reading a connection", move || async move {
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql.clone())).bind(id.0);
        let row: Option<Row> = query.fetch_optional(registry.pool()).await?;
        row.map(ConnectionRow::try_from).transpose()
    })
    .await
}

/// The connections with that name, by age.
pub(super) async fn named(registry: &PgRegistry, name: &ConnectionRef) -> Result<Vec<ConnectionRow>, RegistryError> {
    let sql = &format!("{SELECT} WHERE tenant_id = $1 AND name = $2 ORDER BY created_at, id");
    transact("reading connections by name", move || async move {
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql.clone())).bind(name.tenant.as_str()).bind(&name.name);
        let rows: Vec<Row> = query.fetch_all(registry.pool()).await?;
        rows.into_iter().map(ConnectionRow::try_from).collect()
    })
    .await
}

/// Makes the row, or gives it its new name.
pub(super) async fn declare(
    registry: &PgRegistry,
    lease: &Lease,
    name: &ConnectionRef,
    cause: &Cause,
) -> Result<(), RegistryError> {
    const WHAT: &str = "declaring a connection";
    if name.tenant != lease.tenant {
        let why = format!("{name} is not of tenant {}, whose lease this is", lease.tenant);
        return Err(RegistryError::Broken { what: WHAT, why });
    }
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let inserted = sqlx::query(
            "INSERT INTO connections (tenant_id, id, name, status) VALUES ($1, $2, $3, 'PENDING')
             ON CONFLICT (tenant_id, id) DO NOTHING",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(&name.name)
        .execute(&mut *tx)
        .await
        .map_err(|error| used_elsewhere(WHAT, lease.connection, error))?
        .rows_affected()
            > 0;
        let action = if inserted {
            "connection.declared"
        } else {
            let renamed =
                sqlx::query("UPDATE connections SET name = $3 WHERE tenant_id = $1 AND id = $2 AND name <> $3")
                    .bind(lease.tenant.as_str())
                    .bind(lease.connection.0)
                    .bind(&name.name)
                    .execute(&mut *tx)
                    .await?;
            if renamed.rows_affected() == 0 {
                return Ok(());
            }
            "connection.renamed"
        };
        audit::append(&mut tx, &lease.tenant, action, Some(lease.connection), cause).await?;
        applied("declare", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// The id is unique over all tenants: a second tenant with it has a copy of a lock.
fn used_elsewhere(what: &'static str, id: ConnectionId, error: sqlx::Error) -> Fail {
    match &error {
        sqlx::Error::Database(e) if e.constraint() == Some("connections_id_key") => {
            Fail::broken(what, format!("the id {id} belongs to a connection of another tenant: its lock was copied"))
        }
        _ => error.into(),
    }
}

/// What decides whether a status is new.
#[derive(sqlx::FromRow)]
struct Standing {
    status: String,
    reason: Option<String>,
    retry_at: Option<DateTime<Utc>>,
    paused: bool,
}

/// Changes the status. A failure that repeats with only a new time to try again counts as one more failure in a row, but
/// is no change of standing and adds no audit line.
pub(super) async fn set_status(
    registry: &PgRegistry,
    lease: &Lease,
    status: ConnectionStatus,
    reason: Option<&str>,
    retry_at: Option<DateTime<Utc>>,
    paused: bool,
    cause: &Cause,
) -> Result<(), RegistryError> {
    const WHAT: &str = "changing a connection's status";
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let before: Standing = sqlx::query_as(
            "SELECT status, reason, retry_at, paused FROM connections WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| undeclared(WHAT, lease))?;
        let reason = reason.map(audit::storable);
        let same = before.status == word::of(&status)? && before.reason == reason && before.paused == paused;
        if same && before.retry_at.map(|t| t.timestamp_micros()) == retry_at.map(|t| t.timestamp_micros()) {
            return Ok(());
        }
        sqlx::query(
            "UPDATE connections SET status = $3, reason = $4, retry_at = $5, paused = $6,
                 -- HEALING and PENDING keep the count: a repair that fails again is a failure in a row
                 failures = CASE WHEN $3 = 'FAILED' THEN failures + 1
                                 WHEN $3 IN ('ACTIVE', 'RETIRED') THEN 0 ELSE failures END
             WHERE tenant_id = $1 AND id = $2",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(word::of(&status)?)
        .bind(&reason)
        .bind(retry_at)
        .bind(paused)
        .execute(&mut *tx)
        .await?;
        if !same {
            let facts = json!({"from": before.status, "to": status, "reason": reason, "paused": paused});
            let cause = with_facts(cause, facts);
            audit::append(&mut tx, &lease.tenant, "connection.status", Some(lease.connection), &cause).await?;
        }
        applied("set_status", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// The cause with what the write itself knows, under `change`.
fn with_facts(cause: &Cause, facts: serde_json::Value) -> Cause {
    let mut detail = match &cause.detail {
        serde_json::Value::Object(map) => map.clone(),
        serde_json::Value::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("detail".to_owned(), other.clone())]),
    };
    detail.insert("change".to_owned(), facts);
    Cause { detail: detail.into(), ..cause.clone() }
}

/// A write for a connection that has no row yet.
pub(super) fn undeclared(what: &'static str, lease: &Lease) -> Fail {
    Fail::broken(what, format!("connection {} is not declared", lease.connection))
}

/// Records an engine object's id, or forgets it; writes nothing if it is so already.
pub(super) async fn set_object(
    registry: &PgRegistry,
    lease: &Lease,
    kind: ObjectKind,
    id: Option<&EngineId>,
    cause: &Cause,
) -> Result<(), RegistryError> {
    const WHAT: &str = "recording an engine object";
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let key = word::of(&kind)?;
        let changed = sqlx::query(
            "UPDATE connections
             SET objects = CASE WHEN $4::text IS NULL THEN objects - $3 ELSE objects || jsonb_build_object($3, $4) END
             WHERE tenant_id = $1 AND id = $2 AND objects ->> $3 IS DISTINCT FROM $4",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(&key)
        .bind(id.map(|id| id.0.as_str()))
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return exists(&mut tx, WHAT, lease).await;
        }
        let cause = with_facts(cause, json!({"kind": key, "id": id}));
        audit::append(&mut tx, &lease.tenant, "connection.object", Some(lease.connection), &cause).await?;
        applied("set_object", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Tells "nothing to change" from "no such row".
async fn exists(tx: &mut sqlx::PgConnection, what: &'static str, lease: &Lease) -> Result<(), Fail> {
    let row: Option<i32> = sqlx::query_scalar("SELECT 1 FROM connections WHERE tenant_id = $1 AND id = $2")
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .fetch_optional(tx)
        .await?;
    row.map(|_| ()).ok_or_else(|| undeclared(what, lease))
}

/// Records what the engine's settings were made from; writes nothing if it is so already.
pub(super) async fn set_applied(
    registry: &PgRegistry,
    lease: &Lease,
    digest: &str,
    secrets: Option<&str>,
    cause: &Cause,
) -> Result<(), RegistryError> {
    const WHAT: &str = "recording applied settings";
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let changed = sqlx::query(
            "UPDATE connections SET applied_digest = $3, secrets = $4
             WHERE tenant_id = $1 AND id = $2 AND (applied_digest, secrets) IS DISTINCT FROM ($3, $4)",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(digest)
        .bind(secrets)
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return exists(&mut tx, WHAT, lease).await;
        }
        audit::append(&mut tx, &lease.tenant, "connection.applied", Some(lease.connection), cause).await?;
        applied("set_applied", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Records when the schedule last started a sync.
pub(super) async fn set_last_sync(
    registry: &PgRegistry,
    lease: &Lease,
    at: DateTime<Utc>,
) -> Result<(), RegistryError> {
    set_one(registry, lease, "recording a sync's start", "last_sync_at", at).await
}

/// Records the last job whose landed rows became canonical events.
pub(super) async fn set_normalized(registry: &PgRegistry, lease: &Lease, job: i64) -> Result<(), RegistryError> {
    set_one(registry, lease, "recording a normalized job", "normalized_job", job).await
}

/// Records what a failed try was made from.
pub(super) async fn set_tried(registry: &PgRegistry, lease: &Lease, tried: &str) -> Result<(), RegistryError> {
    set_one(registry, lease, "recording a failed try", "tried", tried).await
}

/// Replaces what fails while the rest of the connection runs. No audit line: a failure that repeats is no change of
/// standing.
pub(super) async fn set_troubles(
    registry: &PgRegistry,
    lease: &Lease,
    troubles: &BTreeMap<String, Trouble>,
) -> Result<(), RegistryError> {
    const WHAT: &str = "recording failing steps";
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let sql = "UPDATE connections SET troubles = $3::text::json WHERE tenant_id = $1 AND id = $2";
        let query = sqlx::query(sql).bind(lease.tenant.as_str()).bind(lease.connection.0);
        if query.bind(word::json(troubles)?).execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(undeclared(WHAT, lease));
        }
        tx.commit().await?;
        Ok(())
    })
    .await
}

/// What was agreed with the engine about each connection that has something agreed, or about one of them.
pub(super) async fn agreed(
    registry: &PgRegistry,
    connection: Option<ConnectionId>,
) -> Result<BTreeMap<ConnectionId, Agreed>, RegistryError> {
    transact("reading what was agreed with the engine", move || async move {
        let sql = "SELECT id, agreed FROM connections WHERE agreed IS NOT NULL AND ($1::uuid IS NULL OR id = $1)";
        let query = sqlx::query_as(sql).bind(connection.map(|id| id.0));
        let rows: Vec<(Uuid, Json<Agreed>)> = query.fetch_all(registry.pool()).await?;
        Ok(rows.into_iter().map(|(id, agreed)| (ConnectionId(id), agreed.0)).collect())
    })
    .await
}

/// Records what was agreed with the engine, and which streams it leaves out; writes nothing if it is so already.
pub(super) async fn set_agreed(
    registry: &PgRegistry,
    lease: &Lease,
    agreed: &Agreed,
    held: &BTreeSet<StreamName>,
) -> Result<(), RegistryError> {
    const WHAT: &str = "recording what was agreed with the engine";
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let sql = "UPDATE connections SET agreed = $3::text::json, held = $4::text::json
                   WHERE tenant_id = $1 AND id = $2
                       AND (agreed::text, held::text) IS DISTINCT FROM ($3::text, $4::text)";
        let query = sqlx::query(sql).bind(lease.tenant.as_str()).bind(lease.connection.0);
        query.bind(word::json(agreed)?).bind(word::json(held)?).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

/// The keyed fingerprint of the settings that the engine's source or destination was sent last.
pub(super) async fn sent_settings(
    registry: &PgRegistry,
    tenant: &TenantId,
    kind: ObjectKind,
    id: &EngineId,
) -> Result<Option<String>, RegistryError> {
    transact("reading what the engine was sent", move || async move {
        let sql = "SELECT fingerprint FROM secret_fingerprints WHERE tenant_id = $1 AND kind = $2 AND engine_id = $3";
        let query = sqlx::query_scalar(sql).bind(tenant.as_str()).bind(kind.word()).bind(&id.0);
        Ok(query.fetch_optional(registry.pool()).await?)
    })
    .await
}

/// Records the settings that the engine's source or destination was sent.
pub(super) async fn set_sent_settings(
    registry: &PgRegistry,
    lease: &Lease,
    kind: ObjectKind,
    id: &EngineId,
    fingerprint: &str,
) -> Result<(), RegistryError> {
    transact("recording what the engine was sent", move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let sql = "INSERT INTO secret_fingerprints (tenant_id, kind, engine_id, fingerprint) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (tenant_id, kind, engine_id) DO UPDATE SET fingerprint = excluded.fingerprint";
        let query = sqlx::query(sql).bind(lease.tenant.as_str()).bind(kind.word()).bind(&id.0);
        query.bind(fingerprint).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    })
    .await
}

/// Sets one column without an audit line; writes nothing if it holds the value.
async fn set_one<T>(
    registry: &PgRegistry,
    lease: &Lease,
    what: &'static str,
    column: &'static str,
    value: T,
) -> Result<(), RegistryError>
where
    T: for<'q> sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Copy + Send + Sync,
{
    let update = format!(
        "UPDATE connections SET {column} = $3
         WHERE tenant_id = $1 AND id = $2 AND {column} IS DISTINCT FROM $3"
    );
    let update = &update;
    transact(what, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        // the column is one of this module's own words
        let changed = sqlx::query(sqlx::AssertSqlSafe(update.clone()))
            .bind(lease.tenant.as_str())
            .bind(lease.connection.0)
            .bind(value)
            .execute(&mut *tx)
            .await?;
        if changed.rows_affected() == 0 {
            return exists(&mut tx, what, lease).await;
        }
        let effect = if column == "last_sync_at" { "set_last_sync" } else { "set_normalized" };
        applied(effect, tx.commit()).await?;
        Ok(())
    })
    .await
}
