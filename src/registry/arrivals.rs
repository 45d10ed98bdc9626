//! Fields that were taken in before it was known whose values they hold.

use sqlx::types::Json;

use super::error::transact;
use super::{PgRegistry, word};
use crate::drift::rename::Arrivals;
use crate::model::ConnectionId;
use crate::ports::{Lease, RegistryError, applied};

/// Those of a connection.
pub(super) async fn of(registry: &PgRegistry, connection: ConnectionId) -> Result<Arrivals, RegistryError> {
    transact("reading what was taken in", move || async move {
        let query = sqlx::query_scalar::<_, Json<Arrivals>>("SELECT streams FROM arrivals WHERE connection_id = $1");
        let row = query.bind(connection.0).fetch_optional(registry.pool()).await?;
        Ok(row.map(|Json(arrivals)| arrivals).unwrap_or_default())
    })
    .await
}

/// Replaces those of a connection; none leaves no row.
pub(super) async fn set(registry: &PgRegistry, lease: &Lease, arrivals: &Arrivals) -> Result<(), RegistryError> {
    transact("recording what was taken in", move || async move {
        let mut tx = registry.begin_leased(lease).await?;
        let sql = match arrivals.is_empty() {
            true => "DELETE FROM arrivals WHERE tenant_id = $1 AND connection_id = $2",
            false => {
                "INSERT INTO arrivals (tenant_id, connection_id, streams) VALUES ($1, $2, $3::text::json)
                 ON CONFLICT (tenant_id, connection_id) DO UPDATE SET streams = excluded.streams"
            }
        };
        let query = sqlx::query(sql).bind(lease.tenant.as_str()).bind(lease.connection.0);
        let query = if arrivals.is_empty() { query } else { query.bind(word::json(arrivals)?) };
        query.execute(&mut *tx).await?;
        applied("set_arrivals", tx.commit()).await?;
        Ok(())
    })
    .await
}
