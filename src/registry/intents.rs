//! Intents: effects that are about to be sent, or whose outcome is not yet known.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::error::transact;
use super::{PgRegistry, word};
use crate::model::ConnectionId;
use crate::ports::{Intent, Lease, RegistryError, applied};

/// Writes an intent; the same one again (a resumed step) changes nothing.
pub(super) async fn begin(registry: &PgRegistry, lease: &Lease, intent: &Intent) -> Result<(), RegistryError> {
    const WHAT: &str = "writing an intent";
    if intent.connection != lease.connection {
        let why = format!("intent {} is not of connection {}, whose lease this is", intent.id, lease.connection);
        return Err(RegistryError::Broken { what: WHAT, why });
    }
    transact(WHAT, move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        sqlx::query(
            "INSERT INTO intents (tenant_id, id, connection_id, effect, key, detail, at)
             VALUES ($1, $2, $3, $4, $5, $6::text::json, $7) ON CONFLICT (tenant_id, id) DO NOTHING",
        )
        .bind(lease.tenant.as_str())
        .bind(intent.id)
        .bind(lease.connection.0)
        .bind(&intent.effect)
        .bind(&intent.key)
        .bind(word::json(&intent.detail)?)
        .bind(intent.at)
        .execute(&mut *tx)
        .await?;
        applied("begin", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// The outcome is known and recorded.
pub(super) async fn settle(registry: &PgRegistry, lease: &Lease, intent: Uuid) -> Result<(), RegistryError> {
    transact("settling an intent", move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        sqlx::query("DELETE FROM intents WHERE tenant_id = $1 AND connection_id = $2 AND id = $3")
            .bind(lease.tenant.as_str())
            .bind(lease.connection.0)
            .bind(intent)
            .execute(&mut *tx)
            .await?;
        applied("settle", tx.commit()).await?;
        Ok(())
    })
    .await
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    connection_id: Uuid,
    effect: String,
    key: String,
    detail: Json<Value>,
    at: DateTime<Utc>,
}

/// Intents without a known outcome, oldest first.
pub(super) async fn unsettled(
    registry: &PgRegistry,
    connection: Option<ConnectionId>,
) -> Result<Vec<Intent>, RegistryError> {
    let rows: Vec<Row> = transact("reading intents", move || async move {
        Ok(sqlx::query_as(
            "SELECT id, connection_id, effect, key, detail, at FROM intents
             WHERE $1::uuid IS NULL OR connection_id = $1 ORDER BY at, id",
        )
        .bind(connection.map(|c| c.0))
        .fetch_all(registry.pool())
        .await?)
    })
    .await?;
    let read = |row: Row| Intent {
        id: row.id,
        connection: ConnectionId(row.connection_id),
        effect: row.effect,
        key: row.key,
        detail: row.detail.0,
        at: row.at,
    };
    Ok(rows.into_iter().map(read).collect())
}
