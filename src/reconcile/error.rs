//! Failures of a step and of a turn.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::canonical::CanonicalError;
use crate::model::ConnectionId;
use crate::plan::MADE_ANEW;
use crate::ports::{EngineError, ForgeError, RegistryError, Remedy, RepoError, SecretError};

/// A turn that could not be planned at all.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The repository could not be read.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The remote's branch moves on quicker than it is read.
    #[error("the tracked branch moved on while it was read, each time")]
    Outrun,
    /// A daemon that knows secrets by another key works with this registry.
    #[error(
        "another daemon works with this registry that knows secrets by another key: stop this one, copy `fingerprint.key` \
             from the other's state folder into this one's, and start it again; or, if the other is gone, wait {} s", .0.as_secs()
    )]
    OtherKey(Duration),
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
    /// The forge.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// The canonical pipeline.
    #[error("{0}: {cause}", cause = std::error::Error::source(.0).map(ToString::to_string).unwrap_or_default())]
    Canonical(#[from] CanonicalError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The spec asks for what the source or the lock does not have.
    #[error("{0}")]
    Spec(String),
    /// More than one object in the engine may be ours.
    #[error("{what}: {} in the engine may be this one ({}); remove all but one there, or name the right one in its spec \
             (`airbyte: {{id: …}}`), then run `aam apply`", ids.len(), ids.join(", "))]
    Ambiguous {
        /// What was looked for.
        what: String,
        /// The engine's ids.
        ids: Vec<String>,
    },
    /// The engine has one of that name which nobody asked for.
    #[error("{what}: the engine has one of that name already, which aam did not make ({}); adopt it with \
             `airbyte: {{id: {}}}` in its spec, or give this one another name with `airbyte: {{name: …}}`", ids.join(", "), ids[0])]
    Taken {
        /// What was to be made.
        what: String,
        /// The engine's ids.
        ids: Vec<String>,
    },
    /// The engine has one that another spec's source or destination is.
    #[error(
        "{what}: {id} in the engine is that of {owner}, and one object has one owner: give this one another name with \
             `airbyte: {{name: …}}` in its spec, or use {owner} in its place, commit, then run `aam apply`"
    )]
    Owned {
        /// What was to be made.
        what: String,
        /// The engine's id.
        id: String,
        /// Whose it is: its name in the specs.
        owner: String,
    },
    /// An earlier ask for it may still have its effect: making another one would give two.
    #[error("{what}: it was asked for at {asked} {ended} and is not there yet; {then}")]
    Unanswered {
        /// What was to be made.
        what: String,
        /// When, RFC 3339.
        asked: String,
        /// How that ended.
        ended: String,
        /// What comes then.
        then: String,
    },
    /// The engine does not have it any more.
    #[error("{what} ({id}) is gone from the engine: somebody deleted it there; {}", MADE_ANEW)]
    Gone {
        /// What.
        what: String,
        /// The engine's id.
        id: String,
    },
    /// Somebody else makes it just now.
    #[error("{0} is being made for another connection: it is waited for")]
    Busy(String),
    /// A sync that runs is waited for.
    #[error("job {0} runs: it is waited for")]
    Moving(i64),
    /// The engine took an update but shows something else.
    #[error("{what}: read back after the update, the engine shows something else: {differs}")]
    ReadBack {
        /// What was updated.
        what: String,
        /// The properties with what is shown and what was sent; empty where more than these counts.
        differs: String,
    },
}

impl StepError {
    /// Who can mend it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Engine(e) => e.remedy,
            Self::Registry(e) => e.remedy(),
            Self::Repo(e) => e.remedy,
            Self::Forge(e) => e.remedy(),
            Self::Canonical(e) => e.remedy(),
            Self::Secret(_)
            | Self::Spec(_)
            | Self::Ambiguous { .. }
            | Self::Taken { .. }
            | Self::Owned { .. }
            | Self::Gone { .. } => Remedy::Person,
            Self::ReadBack { .. } | Self::Unanswered { .. } | Self::Busy(_) | Self::Moving(_) => Remedy::Retry,
        }
    }

    /// When to try again after `failures` failures in a row: 5 s doubling to 10 min, so at most six tries in the first
    /// ten minutes; what a person must mend is tried each 10 min all the same, since the mend may lie outside the specs. Up to a fifth later, for each
    /// connection and try another part of it: what failed together does not come back together. Never before the engine wants to be
    /// asked again.
    pub fn retry_at(&self, now: DateTime<Utc>, failures: u32, connection: ConnectionId) -> DateTime<Utc> {
        let seconds = match self.remedy() {
            Remedy::Retry | Remedy::Look => 5_i64.saturating_mul(1 << failures.min(7)).min(600),
            Remedy::Person => 600,
        };
        // The low bits of an id are random.
        let spread = (connection.0.as_u128() >> (failures % 7 * 8)) % 200;
        let pause = TimeDelta::milliseconds(seconds * (1000 + i64::try_from(spread).unwrap_or(0)));
        let wanted = match self {
            Self::Engine(e) => e.retry_after.and_then(|wanted| TimeDelta::from_std(wanted).ok()),
            Self::Forge(e) => e.wait().and_then(|wanted| TimeDelta::from_std(wanted).ok()),
            _ => None,
        };
        now + wanted.map_or(pause, |wanted| pause.max(wanted))
    }
}

impl From<TurnError> for StepError {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Registry(error) => Self::Registry(error),
            TurnError::Repo(error) => Self::Repo(error),
            TurnError::Outrun | TurnError::OtherKey(_) => Self::Spec(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_tried_again_before_the_engine_wants_to_be_asked() {
        let now = DateTime::UNIX_EPOCH;
        let rests = |remedy, retry_after: Option<u64>, failures| {
            let retry_after = retry_after.map(Duration::from_secs);
            let error = EngineError { what: String::new(), why: String::new(), remedy, retry_after };
            (StepError::Engine(error).retry_at(now, failures, ConnectionId(uuid::Uuid::nil())) - now).num_seconds()
        };
        assert_eq!([None, Some(2), Some(120)].map(|wanted| rests(Remedy::Retry, wanted, 0)), [5, 5, 120]);
        assert_eq!([None, Some(120)].map(|wanted| rests(Remedy::Retry, wanted, 7)), [600, 600]);
        assert_eq!(rests(Remedy::Look, Some(300), 0), 300);
    }
}
