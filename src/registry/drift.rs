//! Drifts and their changes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::error::{Fail, transact};
use super::{PgRegistry, audit, connections, word};
use crate::drift::Change;
use crate::model::ConnectionId;
use crate::ports::{Cause, DriftRow, DriftStatus, Lease, RegistryError, applied};

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    connection_id: Uuid,
    base: String,
    target: String,
    status: String,
    confidence: f64,
    automatic: String,
    branch: Option<String>,
    opened_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    cause: String,
}

impl Row {
    fn with(self, changes: Vec<Change>) -> Result<DriftRow, Fail> {
        let broken = |why: String| Fail::broken("reading drifts", why);
        Ok(DriftRow {
            id: self.id,
            connection: ConnectionId(self.connection_id),
            base: self.base.parse().map_err(broken)?,
            target: self.target.parse().map_err(broken)?,
            status: word::read(&self.status)?,
            changes,
            confidence: self.confidence,
            automatic: self.automatic,
            branch: self.branch,
            opened_at: self.opened_at,
            changed_at: self.changed_at,
            cause: self.cause,
        })
    }
}

/// Opens a drift, or updates the one with the same id; writes nothing if all but `opened_at`, `changed_at` and `cause` is
/// as it was. A drift keeps the time it was opened at. While one is pending, the others that were are withdrawn.
pub(super) async fn put(
    registry: &PgRegistry,
    lease: &Lease,
    drift: &DriftRow,
    cause: &Cause,
) -> Result<(), RegistryError> {
    const WHAT: &str = "recording a drift";
    if drift.connection != lease.connection {
        let why = format!("drift {} is not of connection {}, whose lease this is", drift.id, lease.connection);
        return Err(RegistryError::Broken { what: WHAT, why });
    }
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        // The connection's row orders writers of its drifts.
        let declared: Option<i32> =
            sqlx::query_scalar("SELECT 1 FROM connections WHERE tenant_id = $1 AND id = $2 FOR UPDATE")
                .bind(lease.tenant.as_str())
                .bind(lease.connection.0)
                .fetch_optional(&mut *tx)
                .await?;
        if declared.is_none() {
            return Err(connections::undeclared(WHAT, lease));
        }
        let before = one(&mut tx, lease, drift.id).await?;
        if before.as_ref().is_some_and(|before| same(before, drift)) {
            return Ok(());
        }
        let withdrawn = match drift.status {
            DriftStatus::Pending => withdraw_others(&mut tx, lease, drift).await?,
            _ => Vec::new(),
        };
        write(&mut tx, lease, drift).await?;
        for id in withdrawn {
            let cause = Cause {
                actor: cause.actor.clone(),
                summary: format!("drift {id} is withdrawn: drift {} took its place", drift.id),
                detail: json!({"drift": id, "replaced_by": drift.id}),
            };
            audit::append(&mut tx, &lease.tenant, "drift.withdrawn", Some(lease.connection), &cause).await?;
        }
        let action = match &before {
            None => "drift.opened".to_owned(),
            Some(before) if before.status != drift.status => format!("drift.{}", word::of(&drift.status)?),
            Some(_) => "drift.changed".to_owned(),
        };
        audit::append(&mut tx, &lease.tenant, &action, Some(lease.connection), cause).await?;
        applied("put_drift", tx.commit()).await?;
        Ok(())
    })
    .await
}

fn same(before: &DriftRow, now: &DriftRow) -> bool {
    let timeless = |d: &DriftRow| DriftRow {
        opened_at: now.opened_at,
        changed_at: now.changed_at,
        cause: String::new(),
        ..d.clone()
    };
    timeless(before) == timeless(now)
}

async fn one(tx: &mut PgConnection, lease: &Lease, id: Uuid) -> Result<Option<DriftRow>, Fail> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, connection_id, base, target, status, confidence, automatic, branch, opened_at, changed_at, cause
         FROM drift_events WHERE tenant_id = $1 AND id = $2",
    )
    .bind(lease.tenant.as_str())
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let changes = changes_of(tx, &[id]).await?.remove(&id).unwrap_or_default();
    row.with(changes).map(Some)
}

async fn withdraw_others(tx: &mut PgConnection, lease: &Lease, drift: &DriftRow) -> Result<Vec<Uuid>, Fail> {
    Ok(sqlx::query_scalar(
        "UPDATE drift_events SET status = 'withdrawn', changed_at = $4, cause = $5
         WHERE tenant_id = $1 AND connection_id = $2 AND id <> $3 AND status = 'pending' RETURNING id",
    )
    .bind(lease.tenant.as_str())
    .bind(lease.connection.0)
    .bind(drift.id)
    .bind(drift.changed_at)
    .bind(format!("drift {} took its place", drift.id))
    .fetch_all(tx)
    .await?)
}

async fn write(tx: &mut PgConnection, lease: &Lease, drift: &DriftRow) -> Result<(), Fail> {
    sqlx::query(
        "INSERT INTO drift_events (tenant_id, id, connection_id, base, target, status, confidence, automatic, branch,
                                   opened_at, changed_at, cause)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (tenant_id, id) DO UPDATE SET
             base = excluded.base, target = excluded.target, status = excluded.status, confidence = excluded.confidence,
             automatic = excluded.automatic, branch = excluded.branch, changed_at = excluded.changed_at,
             cause = excluded.cause",
    )
    .bind(lease.tenant.as_str())
    .bind(drift.id)
    .bind(lease.connection.0)
    .bind(drift.base.as_str())
    .bind(drift.target.as_str())
    .bind(word::of(&drift.status)?)
    .bind(drift.confidence)
    .bind(audit::storable(&drift.automatic))
    .bind(drift.branch.as_deref().map(audit::storable))
    .bind(drift.opened_at)
    .bind(drift.changed_at)
    .bind(audit::storable(&drift.cause))
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM schema_changes WHERE tenant_id = $1 AND drift_id = $2")
        .bind(lease.tenant.as_str())
        .bind(drift.id)
        .execute(&mut *tx)
        .await?;
    let changes: Vec<String> = drift.changes.iter().map(word::json).collect::<Result<_, _>>()?;
    sqlx::query(
        "INSERT INTO schema_changes (tenant_id, drift_id, place, change)
         SELECT $1, $2, place, change::json FROM unnest($3::text[]) WITH ORDINALITY AS c (change, place)",
    )
    .bind(lease.tenant.as_str())
    .bind(drift.id)
    .bind(changes)
    .execute(tx)
    .await?;
    Ok(())
}

/// The engine runs the catalog that a drift asked for; whether that was news.
pub(super) async fn close_as_repaired(
    tx: &mut PgConnection,
    lease: &Lease,
    id: Uuid,
    at: DateTime<Utc>,
    cause: &Cause,
) -> Result<bool, Fail> {
    let closed = sqlx::query(
        "UPDATE drift_events SET status = 'repaired', changed_at = $4, cause = $5
         WHERE tenant_id = $1 AND connection_id = $2 AND id = $3 AND status <> 'repaired'",
    )
    .bind(lease.tenant.as_str())
    .bind(lease.connection.0)
    .bind(id)
    .bind(at)
    .bind(audit::storable(&format!("{}: {}", cause.actor, cause.summary)))
    .execute(tx)
    .await?;
    Ok(closed.rows_affected() > 0)
}

/// Drifts, newest first; open are those that are pending or approved.
pub(super) async fn list(
    registry: &PgRegistry,
    connection: Option<ConnectionId>,
    open: bool,
) -> Result<Vec<DriftRow>, RegistryError> {
    transact("reading drifts", move || async move {
        // One snapshot for both queries, so that a drift never shows another's changes.
        let mut tx = registry.pool().begin().await?;
        sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *tx).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, connection_id, base, target, status, confidence, automatic, branch, opened_at, changed_at, cause
             FROM drift_events
             WHERE ($1::uuid IS NULL OR connection_id = $1) AND (NOT $2 OR status IN ('pending', 'approved'))
             ORDER BY opened_at DESC, id DESC",
        )
        .bind(connection.map(|c| c.0))
        .bind(open)
        .fetch_all(&mut *tx)
        .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let mut changes = changes_of(&mut tx, &ids).await?;
        tx.commit().await?;
        rows.into_iter()
            .map(|row| {
                let c = changes.remove(&row.id).unwrap_or_default();
                row.with(c)
            })
            .collect()
    })
    .await
}

async fn changes_of(tx: &mut PgConnection, drifts: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<Change>>, Fail> {
    let rows: Vec<(Uuid, Json<Change>)> =
        sqlx::query_as("SELECT drift_id, change FROM schema_changes WHERE drift_id = ANY($1) ORDER BY drift_id, place")
            .bind(drifts)
            .fetch_all(tx)
            .await?;
    let mut by_drift: BTreeMap<Uuid, Vec<Change>> = BTreeMap::new();
    for (id, change) in rows {
        by_drift.entry(id).or_default().push(change.0);
    }
    Ok(by_drift)
}
