//! Connecting to a PostgreSQL with a person's settings; also used for destinations.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use crate::connector::{Settings, database_error, failure};
use crate::ports::{EndpointHandle, EngineError, Remedy};

/// The settings that every PostgreSQL endpoint has.
pub const COMMON_KEYS: &[&str] = &["host", "port", "database", "username", "password", "ssl_mode", "connect_timeout_s"];

/// A server that does not answer within this time counts as unreachable, where the spec says nothing; the next look tries
/// again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The connect options from `host` (a name, an address or the folder of a unix socket), `port` (5432), `database`,
/// `username`, `password` and `ssl_mode`.
pub fn options(settings: &Settings<'_>) -> Result<PgConnectOptions, EngineError> {
    let host = settings.needed("host")?;
    let username = settings.needed("username")?;
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(settings.parsed("port", "a port number")?.unwrap_or(5432))
        .username(&username)
        .database(&settings.text("database")?.unwrap_or(username.clone()))
        .password(&settings.text("password")?.unwrap_or_default())
        .application_name("aam")
        .statement_cache_capacity(0); // poolers in transaction mode forget prepared statements
    options = if host.starts_with('/') { options.socket(host) } else { options.host(&host) };
    Ok(tls(options, settings)?.disable_statement_logging())
}

/// `ssl_mode` as Airbyte has it, a map with `mode`, `ca_certificate`, `client_certificate` and `client_key` in PEM form; or
/// the mode alone. With a CA, `require` verifies as `verify-ca` does, as in every PostgreSQL client.
fn tls(mut options: PgConnectOptions, settings: &Settings<'_>) -> Result<PgConnectOptions, EngineError> {
    const MODE: &str = "a mode, for example verify-full";
    const KEYS: &[&str] = &["mode", "ca_certificate", "client_certificate", "client_key"];
    let Some(tls) = settings.map("ssl_mode", KEYS)? else {
        return Ok(options.ssl_mode(settings.parsed("ssl_mode", MODE)?.unwrap_or(PgSslMode::Prefer)));
    };
    let pem = |key: &str| match tls.text(key)? {
        Some(text) if !text.contains("-----BEGIN ") => {
            Err(tls.wrong(key, "of `ssl_mode` holds no PEM text: write ${file:/path/to/it.pem}"))
        }
        text => Ok(text),
    };
    let mut mode = tls.parsed("mode", MODE)?.ok_or_else(|| tls.wrong("mode", "of `ssl_mode` is missing"))?;
    if let Some(ca) = pem("ca_certificate")? {
        options = options.ssl_root_cert_from_pem(ca.into_bytes());
        mode = if matches!(mode, PgSslMode::Require) { PgSslMode::VerifyCa } else { mode };
    }
    options = match (pem("client_certificate")?, pem("client_key")?) {
        (Some(certificate), Some(key)) => options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key),
        (None, None) => options,
        _ => return Err(tls.wrong("ssl_mode", "needs `client_certificate` and `client_key` together")),
    };
    Ok(options.ssl_mode(mode))
}

/// Opens a connection of its own, never a pooled one: a COPY that is cut off ends with it.
pub async fn connect(endpoint: &EndpointHandle, options: &PgConnectOptions) -> Result<PgConnection, EngineError> {
    let what = || format!("connecting to {}", endpoint.name);
    let timeout = Settings::open(endpoint, &[COMMON_KEYS, &["schemas", "schema", "namespace"]].concat())?
        .parsed("connect_timeout_s", "a number of seconds")?
        .map_or(CONNECT_TIMEOUT, Duration::from_secs);
    match tokio::time::timeout(timeout, open(options)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(database_error(endpoint, what(), &error)),
        Err(_) => {
            let why = format!("no answer within {} s", timeout.as_secs());
            Err(failure(endpoint, what(), &why, Remedy::Retry))
        }
    }
}

/// Connects, with or without TLS as the mode says. Where the server's rules refuse the one, `allow` and `prefer` try the
/// other, as every PostgreSQL client does; sqlx does not.
async fn open(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let is_refused = |e: &sqlx::Error| e.as_database_error().is_some_and(|e| e.code().as_deref() == Some("28000"));
    let refused = match PgConnection::connect_with(options).await {
        Err(error) if is_refused(&error) => error,
        done => return done,
    };
    let other = match options.get_ssl_mode() {
        PgSslMode::Allow => PgSslMode::Require,
        PgSslMode::Prefer => PgSslMode::Disable,
        _ => return Err(refused),
    };
    let again = PgConnection::connect_with(&options.clone().ssl_mode(other)).await;
    // Only what the server says to the second try is news.
    again.map_err(|error| if error.as_database_error().is_some() && !is_refused(&error) { error } else { refused })
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
