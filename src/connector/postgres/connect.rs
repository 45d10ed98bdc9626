//! Connecting to a PostgreSQL with a person's settings; also used for destinations.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use crate::connector::{Settings, database_error, failure};
use crate::ports::{EndpointHandle, EngineError, Remedy};

/// The settings that every PostgreSQL endpoint has.
pub const COMMON_KEYS: &[&str] =
    &["host", "port", "database", "username", "password", "ssl_mode", "ssl_root_cert", "connect_timeout_s"];

/// A server that does not answer within this time counts as unreachable, where the spec says nothing; the next look tries
/// again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The connect options from `host` (a name, an address or the folder of a unix socket), `port` (5432), `database`,
/// `username`, `password`, `ssl_mode` (disable, allow, prefer, require, verify-ca, verify-full; default prefer) and
/// `ssl_root_cert` (a file).
pub fn options(settings: &Settings<'_>) -> Result<PgConnectOptions, EngineError> {
    let host = settings.needed("host")?;
    let username = settings.needed("username")?;
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(settings.parsed("port", "a port number")?.unwrap_or(5432))
        .username(&username)
        .database(&settings.text("database")?.unwrap_or(username.clone()))
        .password(&settings.text("password")?.unwrap_or_default())
        .application_name("aam")
        .ssl_mode(settings.parsed("ssl_mode", "a mode, for example verify-full")?.unwrap_or(PgSslMode::Prefer))
        .statement_cache_capacity(0); // poolers in transaction mode forget prepared statements
    options = if host.starts_with('/') { options.socket(host) } else { options.host(&host) };
    if let Some(cert) = settings.text("ssl_root_cert")? {
        options = options.ssl_root_cert(cert);
    }
    Ok(options.disable_statement_logging())
}

/// Opens a connection of its own, never a pooled one: a COPY that is cut off ends with it.
pub async fn connect(endpoint: &EndpointHandle, options: &PgConnectOptions) -> Result<PgConnection, EngineError> {
    let what = || format!("connecting to {}", endpoint.name);
    let timeout = Settings::open(endpoint, &[COMMON_KEYS, &["schemas", "schema", "namespace"]].concat())?
        .parsed("connect_timeout_s", "a number of seconds")?
        .map_or(CONNECT_TIMEOUT, Duration::from_secs);
    match tokio::time::timeout(timeout, PgConnection::connect_with(options)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(database_error(endpoint, what(), &error)),
        Err(_) => {
            let why = format!("no answer within {} s", timeout.as_secs());
            Err(failure(endpoint, what(), &why, Remedy::Retry))
        }
    }
}

/// One snapshot, nothing written, and text forms that do not depend on the server's settings. `SET LOCAL` because
/// poolers refuse start-up options and share sessions.
const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL search_path = ''; SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL intervalstyle = 'postgres';
    SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex';
    SET LOCAL statement_timeout = 0; SET LOCAL standard_conforming_strings = on; SET LOCAL client_encoding = 'UTF8'";

/// Begins a read-only transaction on a stable snapshot.
pub async fn begin_reading(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(BEGIN_READING).execute(connection).await.map(|_| ())
}

/// A quoted identifier.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted literal.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}
