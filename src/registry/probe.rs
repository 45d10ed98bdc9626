//! What a database says of itself, without changing it: `aam doctor` asks.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::error::classify;
use super::migrate;
use crate::ports::RegistryError;

const WHAT: &str = "asking the registry's database";

/// A registry's database as it is.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The server's version, `15.18`.
    pub server: String,
    /// The newest migration that it has; 0: none yet.
    pub schema: i64,
    /// The newest migration of this binary.
    pub newest: i64,
    /// Whether our role is exempt from row-level security.
    pub bypasses_rls: bool,
    /// The server's clock.
    pub now: DateTime<Utc>,
}

/// Asks the database behind a URL. Errors never hold the URL.
pub async fn probe_url(url: &str) -> Result<Facts, RegistryError> {
    let why = || "the URL is not of the form postgres://user@host/database".to_owned();
    let options = PgConnectOptions::from_str(url).map_err(|_| RegistryError::Broken { what: WHAT, why: why() })?;
    probe(options).await
}

/// Asks a database; neither migrates nor writes.
pub async fn probe(options: PgConnectOptions) -> Result<Facts, RegistryError> {
    let work = async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options.application_name("aam doctor"))
            .await?;
        let schema = migrate::applied(&pool).await?;
        let (server, bypasses_rls, now) = sqlx::query_as(
            "SELECT current_setting('server_version'), rolsuper OR rolbypassrls, clock_timestamp()
             FROM pg_roles WHERE rolname = current_user",
        )
        .fetch_one(&pool)
        .await?;
        pool.close().await;
        Ok(Facts { server, schema, newest: migrate::newest(), bypasses_rls, now })
    };
    work.await.map_err(|e: sqlx::Error| classify(WHAT, &e))
}
