//! Requests on forges, and the rejections that came of them and that git does not hold yet.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::error::{Fail, transact};
use super::{PgRegistry, audit, word};
use crate::model::{CommitId, ConnectionId};
use crate::ports::{ByRule, Cause, Lease, RegistryError, RequestRow, applied};
use crate::spec::Rejection;

#[derive(sqlx::FromRow)]
struct Row {
    connection_id: Uuid,
    project: String,
    number: i64,
    url: String,
    branch: String,
    subject: String,
    drift_id: Option<Uuid>,
    target: String,
    changes: Json<Vec<String>>,
    state: String,
    approvals: Json<Vec<String>>,
    closed_by: Option<String>,
    merge_commit: Option<String>,
    reason: Option<String>,
    opened_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    rule: Option<String>,
    rule_tip: Option<String>,
    rule_told: bool,
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
            subject: word::read(&row.subject)?,
            drift: row.drift_id,
            target: row.target,
            changes: row.changes.0,
            by_rule: row.rule.zip(row.rule_tip).map(|(rule, tip)| ByRule {
                rule,
                tip: CommitId(tip),
                told: row.rule_told,
            }),
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
            "SELECT connection_id, project, number, url, branch, subject, drift_id, target, changes, state, approvals,
                    closed_by, merge_commit, reason, opened_at, changed_at, rule, rule_tip,
                    rule_told
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
                                   approvals, closed_by, merge_commit, reason, opened_at, changed_at, subject, rule, rule_tip,
                                   rule_told)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::json, $10, $11::text::json, $12, $13, $14, $15, $16, $17, $18,
                     $19, $20)
             ON CONFLICT (tenant_id, connection_id, project, number) DO UPDATE SET
                 url = excluded.url, branch = excluded.branch, drift_id = excluded.drift_id, target = excluded.target,
                 changes = excluded.changes, state = excluded.state, approvals = excluded.approvals,
                 closed_by = excluded.closed_by, merge_commit = excluded.merge_commit, reason = excluded.reason,
                 changed_at = excluded.changed_at, subject = excluded.subject, rule = excluded.rule,
                 rule_tip = excluded.rule_tip, rule_told = excluded.rule_told",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(&request.project)
        .bind(number)
        .bind(&request.url)
        .bind(&request.branch)
        .bind(request.drift)
        .bind(&request.target)
        .bind(word::json(&request.changes)?)
        .bind(&state)
        .bind(word::json(&request.approvals)?)
        .bind(request.by.as_deref().map(audit::storable))
        .bind(request.commit.as_ref().map(|commit| &commit.0))
        .bind(request.reason.as_deref().map(audit::storable))
        .bind(request.opened_at)
        .bind(request.changed_at)
        .bind(word::of(&request.subject)?)
        .bind(request.by_rule.as_ref().map(|by_rule| &by_rule.rule))
        .bind(request.by_rule.as_ref().map(|by_rule| &by_rule.tip.0))
        .bind(request.by_rule.as_ref().is_some_and(|by_rule| by_rule.told))
        .execute(&mut *tx)
        .await?;
        audit::append(&mut tx, &lease.tenant, &format!("request.{state}"), Some(lease.connection), cause).await?;
        applied("put_request", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Rejections that git does not hold yet, of each connection that has some.
pub(super) async fn rejections(registry: &PgRegistry) -> Result<BTreeMap<ConnectionId, Vec<Rejection>>, RegistryError> {
    transact("reading rejections", move || async move {
        let sql = "SELECT id, rejections FROM connections WHERE rejections::text <> '[]'";
        let rows: Vec<(Uuid, Json<Vec<Rejection>>)> = sqlx::query_as(sql).fetch_all(registry.pool()).await?;
        Ok(rows.into_iter().map(|(id, rejections)| (ConnectionId(id), rejections.0)).collect())
    })
    .await
}

/// Replaces those of a connection, with an audit line.
pub(super) async fn set_rejections(
    registry: &PgRegistry,
    lease: &Lease,
    rejections: &[Rejection],
    cause: &Cause,
) -> Result<(), RegistryError> {
    transact("recording rejections", move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        sqlx::query("UPDATE connections SET rejections = $3::text::json WHERE tenant_id = $1 AND id = $2")
            .bind(lease.tenant.as_str())
            .bind(lease.connection.0)
            .bind(word::json(rejections)?)
            .execute(&mut *tx)
            .await?;
        audit::append(&mut tx, &lease.tenant, "drift.rejections", Some(lease.connection), cause).await?;
        applied("set_rejections", tx.commit()).await?;
        Ok(())
    })
    .await
}
