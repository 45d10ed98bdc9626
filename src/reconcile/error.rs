//! Failures of a step and of a turn.

use chrono::{DateTime, TimeDelta, Utc};

use crate::canonical::CanonicalError;
use crate::model::ConnectionId;
use crate::ports::{EngineError, RegistryError, Remedy, RepoError, SecretError};

/// A turn that could not be planned at all.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The repository could not be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
}

/// A step that did not get through. What it had done is recorded or will be found again.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The engine, a connector or what lies behind it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The canonical pipeline.
    #[error("{0}: {cause}", cause = std::error::Error::source(.0).map(ToString::to_string).unwrap_or_default())]
    Canonical(#[from] CanonicalError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The spec asks for what the source or the lock does not have.
    #[error("{0}")]
    Spec(String),
    /// More than one object in the engine claims to be ours.
    #[error("{what}: {count} objects carry the owner mark {owner}; remove all but one, then run `aam apply`")]
    Ambiguous {
        /// What was looked for.
        what: String,
        /// The mark.
        owner: String,
        /// How many.
        count: usize,
    },
    /// The engine took an update but shows something else.
    #[error("{0}: read back after the update, the engine shows something else")]
    ReadBack(String),
}

impl StepError {
    /// Who can mend it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Engine(e) => e.remedy,
            Self::Registry(e) => e.remedy(),
            Self::Repo(e) => e.remedy,
            Self::Canonical(e) => e.remedy(),
            Self::Secret(_) | Self::Spec(_) | Self::Ambiguous { .. } => Remedy::Person,
            Self::ReadBack(_) => Remedy::Retry,
        }
    }

    /// When to try again after `failures` failures in a row: 5 s doubling to 10 min, so at most six tries in the first
    /// ten minutes; what a person must mend is tried each 10 min all the same, since the mend may lie outside the specs. Up to a fifth later, for each
    /// connection and try another part of it: what failed together does not come back together.
    pub fn retry_at(&self, now: DateTime<Utc>, failures: u32, connection: ConnectionId) -> DateTime<Utc> {
        let seconds = match self.remedy() {
            Remedy::Retry => 5_i64.saturating_mul(1 << failures.min(7)).min(600),
            Remedy::Person => 600,
        };
        // The low bits of an id are random.
        let spread = (connection.0.as_u128() >> (failures % 7 * 8)) % 200;
        now + TimeDelta::milliseconds(seconds * (1000 + i64::try_from(spread).unwrap_or(0)))
    }
}

impl From<TurnError> for StepError {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Registry(error) => Self::Registry(error),
            TurnError::Repo(error) => Self::Repo(error),
        }
    }
}
