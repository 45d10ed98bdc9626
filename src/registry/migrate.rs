//! Brings a database to the schema of this binary, and refuses one that is ahead of it.

use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

use super::error::classify;
use crate::ports::RegistryError;

/// Every migration of this binary. Several modules add files; numbers order them.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

const WHAT: &str = "migrating the registry";

/// The newest schema version that this binary knows.
pub(super) fn newest() -> i64 {
    MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0)
}

/// Applies what is missing, under the database's advisory lock: two processes that start together do it once.
pub(super) async fn migrate(pool: &PgPool) -> Result<(), RegistryError> {
    let ours = newest();
    let theirs = applied(pool).await.map_err(|e| classify(WHAT, &e))?;
    if theirs > ours {
        let why = format!(
            "the database has schema version {theirs}, this aam knows versions up to {ours}: \
             run an aam that knows {theirs} or newer"
        );
        return Err(RegistryError::Broken { what: WHAT, why });
    }
    MIGRATIONS.run(pool).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => classify(WHAT, &error),
        error => RegistryError::Broken { what: WHAT, why: error.to_string() },
    })
}

/// The newest migration that the database has; 0 for an empty one.
pub(super) async fn applied(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(pool).await?;
    if !known {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(pool).await
}
