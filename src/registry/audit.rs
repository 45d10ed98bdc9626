//! The audit log: append-only, chained by hash within each tenant.
//!
//! The canonical form of a line is the JSON (RFC 8785) of a flat object of strings; `detail` goes in as the text that is
//! stored, so the form of its numbers cannot matter. The hash is SHA-256 over the previous line's hash (nothing before the
//! first) and that form.

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::error::{Fail, transact};
use super::{PgRegistry, word};
use crate::model::{ConnectionId, TenantId};
use crate::ports::{AuditEntry, Cause, RegistryError, applied};

#[derive(sqlx::FromRow)]
struct Row {
    position: i64,
    at: DateTime<Utc>,
    actor: String,
    action: String,
    connection_id: Option<Uuid>,
    summary: String,
    detail: Json<Value>,
    hash: String,
}

impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        Self {
            position: row.position,
            at: row.at,
            actor: row.actor,
            action: row.action,
            connection: row.connection_id.map(ConnectionId),
            summary: row.summary,
            detail: row.detail.0,
            hash: row.hash,
        }
    }
}

/// Adds a line in the caller's transaction. Must be its last statement before the commit: from here on the tenant's other
/// writers wait, and a lock that is always taken last cannot be part of a deadlock.
pub(super) async fn append(
    tx: &mut PgConnection,
    tenant: &TenantId,
    action: &str,
    connection: Option<ConnectionId>,
    cause: &Cause,
) -> Result<(), Fail> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('aam.audit_log/' || $1, 0))")
        .bind(tenant.as_str())
        .execute(&mut *tx)
        .await?;
    // A statement of its own, so that it sees what the previous owner of the lock committed.
    let last: Option<(i64, String)> =
        sqlx::query_as("SELECT position, hash FROM audit_log WHERE tenant_id = $1 ORDER BY position DESC LIMIT 1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await?;
    let (position, previous) = last.map_or((1, String::new()), |(position, hash)| (position + 1, hash));
    let at: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *tx).await?;
    let entry = AuditEntry {
        position,
        at,
        actor: storable(&cause.actor),
        action: storable(action),
        connection,
        summary: storable(&cause.summary),
        detail: cause.detail.clone(),
        hash: String::new(),
    };
    sqlx::query(
        "INSERT INTO audit_log (tenant_id, position, at, actor, action, connection_id, summary, detail, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9)",
    )
    .bind(tenant.as_str())
    .bind(entry.position)
    .bind(entry.at)
    .bind(&entry.actor)
    .bind(&entry.action)
    .bind(entry.connection.map(|c| c.0))
    .bind(&entry.summary)
    .bind(word::json(&entry.detail)?)
    .bind(hash(tenant, &entry, &previous))
    .execute(tx)
    .await?;
    Ok(())
}

/// PostgreSQL's text cannot hold NUL; it becomes the replacement character.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The line's place in the chain.
fn hash(tenant: &TenantId, entry: &AuditEntry, previous: &str) -> String {
    let form = json!({
        "tenant": tenant.as_str(),
        "position": entry.position.to_string(),
        "at": entry.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "actor": entry.actor,
        "action": entry.action,
        "connection": entry.connection.map(|c| c.to_string()),
        "summary": entry.summary,
        "detail": entry.detail.to_string(),
    });
    let form = serde_jcs::to_vec(&form).expect("the form holds only strings and null");
    hex::encode(Sha256::new().chain_update(previous).chain_update(form).finalize())
}

/// Adds a line that belongs to no other write.
pub(super) async fn add(
    registry: &PgRegistry,
    tenant: &TenantId,
    action: &str,
    connection: Option<ConnectionId>,
    cause: &Cause,
) -> Result<(), RegistryError> {
    transact("adding to the audit log", move || async move {
        let mut tx = registry.begin_for(tenant).await?;
        append(&mut tx, tenant, action, connection, cause).await?;
        applied("audit", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Lines, newest first.
pub(super) async fn newest(
    registry: &PgRegistry,
    tenant: &TenantId,
    connection: Option<ConnectionId>,
    limit: u32,
) -> Result<Vec<AuditEntry>, RegistryError> {
    let rows: Vec<Row> = transact("reading the audit log", move || async move {
        Ok(sqlx::query_as(
            "SELECT position, at, actor, action, connection_id, summary, detail, hash FROM audit_log
             WHERE tenant_id = $1 AND ($2::uuid IS NULL OR connection_id = $2)
             ORDER BY position DESC LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(connection.map(|c| c.0))
        .bind(i64::from(limit))
        .fetch_all(registry.pool())
        .await?)
    })
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Recomputes the chain from its first line; the position of the first line that does not fit. Lines cut off at the end
/// leave no trace in the chain itself.
pub(super) async fn verify(registry: &PgRegistry, tenant: &TenantId) -> Result<Option<i64>, RegistryError> {
    transact("checking the audit log", move || async move {
        let mut rows = sqlx::query_as::<_, Row>(
            "SELECT position, at, actor, action, connection_id, summary, detail, hash FROM audit_log
             WHERE tenant_id = $1 ORDER BY position",
        )
        .bind(tenant.as_str())
        .fetch(registry.pool());
        let (mut expected, mut previous) = (1, String::new());
        while let Some(row) = rows.try_next().await? {
            let entry = AuditEntry::from(row);
            if entry.position != expected || entry.hash != hash(tenant, &entry, &previous) {
                return Ok(Some(expected));
            }
            expected += 1;
            previous = entry.hash;
        }
        Ok(None)
    })
    .await
}
