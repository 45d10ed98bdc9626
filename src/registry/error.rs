//! From database errors to what a caller may do, and the one retry loop.

use std::time::Duration;

use crate::ports::RegistryError;

/// How often a transaction that lost against another is begun again.
const RETRIES: u32 = 5;

/// What can end a transaction: the database, or our own verdict.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The database said no.
    Sql(sqlx::Error),
    /// We did.
    Verdict(RegistryError),
}

impl From<sqlx::Error> for Fail {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<RegistryError> for Fail {
    fn from(error: RegistryError) -> Self {
        Self::Verdict(error)
    }
}

impl Fail {
    /// The database says something that must not be.
    pub(crate) fn broken(what: &'static str, why: impl Into<String>) -> Self {
        Self::Verdict(RegistryError::Broken { what, why: why.into() })
    }

    /// What the caller of the port sees.
    pub(crate) fn into_error(self, what: &'static str) -> RegistryError {
        match self {
            Self::Sql(error) => classify(what, &error),
            Self::Verdict(error) => error,
        }
    }

    /// Whether another transaction was in the way and doing it again may succeed at once.
    fn lost_a_race(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.code().as_deref(), Some("40001" | "40P01"))
    }
}

/// Runs a transaction; one that the server rolled back because of another (serialization failure, deadlock) is begun
/// again. `body` is the whole transaction, from begin to commit.
pub(crate) async fn transact<T, F, B>(what: &'static str, body: B) -> Result<T, RegistryError>
where
    B: Fn() -> F,
    F: Future<Output = Result<T, Fail>>,
{
    let mut tried = 0;
    loop {
        match body().await {
            Err(fail) if fail.lost_a_race() && tried < RETRIES => {
                tried += 1;
                tracing::debug!(registry.retry = tried, "registry: {what}: another transaction was in the way");
                tokio::time::sleep(Duration::from_millis(10 << tried)).await;
            }
            done => return done.map_err(|fail| fail.into_error(what)),
        }
    }
}

/// Whether time or a person mends it. Only the server's message is kept: details would quote rows.
pub(crate) fn classify(what: &'static str, error: &sqlx::Error) -> RegistryError {
    let unavailable = |why: String| RegistryError::Unavailable { what, why };
    let broken = |why: String| RegistryError::Broken { what, why };
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let why = format!("{} (SQLSTATE {code})", escape(error.message()));
            match code.as_ref() {
                "25006" => unavailable(format!("the server is read-only (a standby, or set so): {why}")),
                "40001" | "40P01" | "55P03" | "25P03" => unavailable(why),
                // connection, resources, operator intervention, system error
                code if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => unavailable(why),
                _ => broken(why),
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => unavailable(escape(&error.to_string())),
        _ => broken(escape(&error.to_string())),
    }
}

/// Text from the server with control characters made visible.
pub(crate) fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
