//! Requests on forges.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::error::{Fail, transact};
use super::{PgRegistry, audit, word};
use crate::model::{CommitId, ConnectionId};
use crate::ports::{Cause, Lease, RegistryError, RequestRow, applied};

#[derive(sqlx::FromRow)]
struct Row {
    connection_id: Uuid,
    project: String,
    number: i64,
    url: String,
    branch: String,
    drift_id: Uuid,
    target: String,
    changes: Json<Vec<String>>,
    state: String,
    approvals: Json<Vec<String>>,
    closed_by: Option<String>,
    merge_commit: Option<String>,
    reason: Option<String>,
    opened_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
}

impl TryFrom<Row> for RequestRow {
    type Error = Fail;

    fn try_from(row: Row) -> Result<Self, Fail> {
        let broken = |why: String| Fail::broken("reading requests", why);
        Ok(Self {
            connection: ConnectionId(row.connection_id),
            project: row.project,
            number: u64::try_from(row.number).map_err(|e| broken(e.to_string()))?,
            url: row.url,
            branch: row.branch,
            drift: row.drift_id,
            target: row.target.parse().map_err(broken)?,
            changes: row.changes.0,
            state: word::read(&row.state)?,
            approvals: row.approvals.0,
            by: row.closed_by,
            commit: row.merge_commit.map(CommitId),
            reason: row.reason,
            opened_at: row.opened_at,
            changed_at: row.changed_at,
        })
    }
}

/// Requests of a project, the oldest first; of all that there were if `open` does not say otherwise.
pub(super) async fn list(registry: &PgRegistry, project: &str, open: bool) -> Result<Vec<RequestRow>, RegistryError> {
    transact("reading requests", move || async move {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT connection_id, project, number, url, branch, drift_id, target, changes, state, approvals, closed_by,
                    merge_commit, reason, opened_at, changed_at
             FROM requests WHERE project = $1 AND (NOT $2 OR state = 'open') ORDER BY opened_at, number",
        )
        .bind(project)
        .bind(open)
        .fetch_all(registry.pool())
        .await?;
        rows.into_iter().map(RequestRow::try_from).collect()
    })
    .await
}

/// Notes a request as it is now, with an audit line. It keeps the time it was opened at.
pub(super) async fn put(
    registry: &PgRegistry,
    lease: &Lease,
    request: &RequestRow,
    cause: &Cause,
) -> Result<(), RegistryError> {
    const WHAT: &str = "recording a request";
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let number = i64::try_from(request.number).map_err(|e| Fail::broken(WHAT, e.to_string()))?;
        let state = word::of(&request.state)?;
        sqlx::query(
            "INSERT INTO requests (tenant_id, connection_id, project, number, url, branch, drift_id, target, changes, state,
                                   approvals, closed_by, merge_commit, reason, opened_at, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::json, $10, $11::text::json, $12, $13, $14, $15, $16)
             ON CONFLICT (tenant_id, connection_id, project, number) DO UPDATE SET
                 url = excluded.url, branch = excluded.branch, drift_id = excluded.drift_id, target = excluded.target,
                 changes = excluded.changes, state = excluded.state, approvals = excluded.approvals,
                 closed_by = excluded.closed_by, merge_commit = excluded.merge_commit, reason = excluded.reason,
                 changed_at = excluded.changed_at",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(&request.project)
        .bind(number)
        .bind(&request.url)
        .bind(&request.branch)
        .bind(request.drift)
        .bind(request.target.as_str())
        .bind(word::json(&request.changes)?)
        .bind(&state)
        .bind(word::json(&request.approvals)?)
        .bind(request.by.as_deref().map(audit::storable))
        .bind(request.commit.as_ref().map(|commit| &commit.0))
        .bind(request.reason.as_deref().map(audit::storable))
        .bind(request.opened_at)
        .bind(request.changed_at)
        .execute(&mut *tx)
        .await?;
        audit::append(&mut tx, &lease.tenant, &format!("request.{state}"), Some(lease.connection), cause).await?;
        applied("put_request", tx.commit()).await?;
        Ok(())
    })
    .await
}
