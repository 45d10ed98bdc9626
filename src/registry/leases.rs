//! Leases: one holder per connection, told apart by a fencing number.

use std::time::Duration;

use sqlx::PgConnection;

use super::PgRegistry;
use super::error::{Fail, transact};
use crate::model::{ConnectionId, TenantId};
use crate::ports::{Lease, RegistryError, applied};

/// Takes or renews; `None` while another holder's lease runs. Time is the database's, so clocks of hosts do not matter.
pub(super) async fn take(
    registry: &PgRegistry,
    tenant: &TenantId,
    connection: ConnectionId,
    holder: &str,
    ttl: Duration,
) -> Result<Option<Lease>, RegistryError> {
    let fence: Option<i64> = transact("taking a lease", move || async move {
        let mut tx = registry.begin_for(tenant).await?;
        // The conflicting row is locked before the condition is judged, so of two takers one sees the other's row.
        let fence = sqlx::query_scalar(
            "INSERT INTO leases AS l (tenant_id, connection_id, fence, holder, expires_at)
             VALUES ($1, $2, 1, $3, clock_timestamp() + make_interval(secs => $4))
             ON CONFLICT (tenant_id, connection_id) DO UPDATE SET
                 -- a holder that renews keeps its number; one that comes back after giving it up gets a new one
                 fence = CASE WHEN l.holder = excluded.holder THEN l.fence ELSE l.fence + 1 END,
                 holder = excluded.holder,
                 expires_at = clock_timestamp() + make_interval(secs => $4)
             WHERE l.holder IS NULL OR l.holder = excluded.holder OR l.expires_at <= clock_timestamp()
             RETURNING fence",
        )
        .bind(tenant.as_str())
        .bind(connection.0)
        .bind(holder)
        .bind(ttl.as_secs_f64())
        .fetch_optional(&mut *tx)
        .await?;
        applied("lease", tx.commit()).await?;
        Ok(fence)
    })
    .await?;
    Ok(fence.map(|fence| Lease { tenant: tenant.clone(), connection, holder: holder.to_owned(), fence }))
}

/// Lets a lease go on, wherever it is still this holder's; it is never taken anew.
pub(super) async fn renew(registry: &PgRegistry, lease: &Lease, ttl: Duration) -> Result<(), RegistryError> {
    transact("renewing a lease", move || async move {
        let mut tx = registry.begin_for(&lease.tenant).await?;
        let renewed = sqlx::query(
            "UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => $5)
             WHERE tenant_id = $1 AND connection_id = $2 AND fence = $3 AND holder = $4",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(lease.fence)
        .bind(&lease.holder)
        .bind(ttl.as_secs_f64())
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        if renewed == 0 { Err(Fail::Verdict(RegistryError::LeaseLost(lease.connection))) } else { Ok(()) }
    })
    .await
}

/// Gives a lease back; the row stays, so that the next holder's number is higher.
pub(super) async fn release(registry: &PgRegistry, lease: &Lease) -> Result<(), RegistryError> {
    transact("giving a lease back", move || async move {
        let mut tx = registry.begin_for(&lease.tenant).await?;
        sqlx::query(
            "UPDATE leases SET holder = NULL, expires_at = clock_timestamp()
             WHERE tenant_id = $1 AND connection_id = $2 AND fence = $3 AND holder = $4",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.connection.0)
        .bind(lease.fence)
        .bind(&lease.holder)
        .execute(&mut *tx)
        .await?;
        applied("release", tx.commit()).await?;
        Ok(())
    })
    .await
}

/// Removes leases that ended an hour ago and whose connection was never declared. Its number begins anew if somebody takes it
/// again; a holder that slept so long is told apart by its name.
pub(super) async fn drop_stale(registry: &PgRegistry) -> Result<(), RegistryError> {
    transact("removing stale leases", move || async move {
        sqlx::query(
            "DELETE FROM leases AS l WHERE expires_at < clock_timestamp() - interval '1 hour'
             AND NOT EXISTS (SELECT 1 FROM connections WHERE tenant_id = l.tenant_id AND id = l.connection_id)",
        )
        .execute(registry.pool())
        .await?;
        Ok(())
    })
    .await
}

/// Fails unless the lease is the current one, and keeps it so until the transaction ends. An expired lease that nobody
/// took is still good: the number decides, not the time.
pub(super) async fn check(tx: &mut PgConnection, lease: &Lease) -> Result<(), Fail> {
    let current: Option<i32> = sqlx::query_scalar(
        // FOR SHARE: a taker waits until this write is through, or this write sees the taker's number
        "SELECT 1 FROM leases
         WHERE tenant_id = $1 AND connection_id = $2 AND fence = $3 AND holder = $4 FOR SHARE",
    )
    .bind(lease.tenant.as_str())
    .bind(lease.connection.0)
    .bind(lease.fence)
    .bind(&lease.holder)
    .fetch_optional(tx)
    .await?;
    current.map(|_| ()).ok_or(Fail::Verdict(RegistryError::LeaseLost(lease.connection)))
}
