//! The registry in PostgreSQL: one file per concern, one function per question.
//!
//! Every write that takes a lease checks it in its own transaction, sees only the lease's tenant (row-level security by
//! the setting `aam.tenant`), and adds its audit line before the commit. Reads across tenants use the pool's own setting,
//! `*`.

mod append;
mod arrivals;
mod audit;
mod catalogs;
mod connections;
mod drift;
mod error;
mod events;
mod intents;
mod jobs;
mod leases;
mod letters;
mod managed;
mod migrate;
mod own;
mod port;
mod probe;
mod requests;
mod specs;
mod usage;
mod word;

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Postgres, Transaction};

use crate::model::TenantId;
use crate::ports::{Lease, RegistryError};
use error::{Fail, classify};

pub use managed::{ManagedCluster, private_folder_for};
pub use probe::{Facts, probe, probe_url};

/// The registry's database.
#[derive(Debug, Clone)]
pub struct PgRegistry {
    pool: PgPool,
}

impl PgRegistry {
    /// Connects by URL and migrates. Errors never hold the URL.
    pub async fn connect(url: &str) -> Result<Self, RegistryError> {
        let options = PgConnectOptions::from_str(url).map_err(|_| RegistryError::Broken {
            what: "connecting",
            why: "the URL is not of the form postgres://user@host/database".to_owned(),
        })?;
        Self::open(options).await
    }

    /// Connects and brings the schema up to date; refuses a database with a newer one.
    pub async fn open(options: PgConnectOptions) -> Result<Self, RegistryError> {
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // A process that is stopped inside a transaction would hold its lease's row for ever: the server
                    // ends such a transaction.
                    sqlx::query(
                        "SELECT set_config('aam.tenant', '*', false),
                                set_config('idle_in_transaction_session_timeout', '15s', false),
                                set_config('lock_timeout', '30s', false),
                                set_config('statement_timeout', '120s', false)",
                    )
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .connect_with(options.application_name("aam"))
            .await
            .map_err(|e| classify("connecting", &e))?;
        migrate::migrate(&pool).await?;
        Ok(Self { pool })
    }

    /// Connections whose setting `aam.tenant` is `*`.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A transaction that sees only the tenant's rows.
    async fn begin_for(&self, tenant: &TenantId) -> Result<Transaction<'static, Postgres>, Fail> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("SELECT set_config('aam.tenant', $1, true)").bind(tenant.as_str()).execute(&mut *tx).await?;
        Ok(tx)
    }

    /// A transaction for the lease's tenant in which the lease is the current one until it ends.
    async fn begin_leased(&self, lease: &Lease) -> Result<Transaction<'static, Postgres>, Fail> {
        let mut tx = self.begin_for(&lease.tenant).await?;
        leases::check(&mut tx, lease).await?;
        Ok(tx)
    }
}
