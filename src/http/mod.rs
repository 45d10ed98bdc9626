//! The daemon's control socket: a unix socket below the state folder, mode 0600, that commands speak to.
//!
//! Who can reach it is who may start the daemon. `server` answers from the daemon's loop, `client` is what the commands use.
//! Over TCP there is only `hook`, where it is switched on: it wakes a look at the repository's remote.

mod client;
mod hook;
mod server;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use client::{ClientError, Control};
pub use hook::{Hook, HookSecret, serve_hook};
pub use server::{Asked, serve};

use crate::model::{ConnectionRef, StreamName};
use crate::reconcile::{Outcome, OutcomeKind, StepError};
use crate::status::Report;

/// What a command asks a running daemon for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// The report of where everything stands.
    Status,
    /// Read everything anew, now.
    Wake,
    /// Stop the running job of a connection at its next commit.
    Cancel {
        /// Which.
        connection: ConnectionRef,
        /// Who asks.
        by: String,
    },
    /// Carry out what is planned and answer when nothing but waiting is left.
    Settle {
        /// Look at the sources of these connections first.
        look: Vec<ConnectionRef>,
        /// Sync these connections.
        sync: Vec<ConnectionRef>,
        /// Streams of these connections that the sync reads anew.
        #[serde(default)]
        refresh: Vec<(ConnectionRef, BTreeSet<StreamName>)>,
        /// Carry out only if the plan's digest is still this.
        digest: Option<String>,
        /// Removals beyond the change budget are confirmed.
        confirm_removals: bool,
    },
}

/// The daemon's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Where everything stands now.
    pub report: Report,
    /// What was carried out meanwhile, one line each: connection, step, outcome.
    pub outcomes: Vec<OutcomeLine>,
    /// Why nothing was carried out, if so: the plan moved.
    pub refused: Option<String>,
}

/// One outcome as a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeLine {
    /// Whose.
    pub connection: ConnectionRef,
    /// What was to be done.
    pub step: String,
    /// `applied`, `unchanged`, `skipped` or `failed`.
    pub outcome: String,
    /// Why, if skipped or failed.
    pub reason: Option<String>,
}

impl OutcomeLine {
    /// What became of an ask to cancel.
    pub fn of_cancel(connection: &ConnectionRef, done: Result<Option<i64>, StepError>) -> Self {
        let (step, outcome, reason) = match done {
            Ok(Some(job)) => (format!("cancel job {job}"), "applied", None),
            Ok(None) => ("cancel".to_owned(), "unchanged", None),
            Err(error) => ("cancel".to_owned(), "failed", Some(error.to_string())),
        };
        Self { connection: connection.clone(), step, outcome: outcome.to_owned(), reason }
    }
}

impl From<&Outcome> for OutcomeLine {
    fn from(outcome: &Outcome) -> Self {
        let (word, reason) = match &outcome.kind {
            OutcomeKind::Applied => ("applied", None),
            OutcomeKind::Unchanged => ("unchanged", None),
            OutcomeKind::Busy => {
                ("skipped", Some("another process works on this connection; it is tried again".to_owned()))
            }
            OutcomeKind::Skipped(why) => ("skipped", Some(why.clone())),
            OutcomeKind::Failed(why) => ("failed", Some(why.clone())),
        };
        Self { connection: outcome.connection.clone(), step: outcome.step.clone(), outcome: word.into(), reason }
    }
}
