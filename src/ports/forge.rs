//! A forge: where people review. Requests to merge our repair branches, and what people said to them.

use std::time::Duration;

use async_trait::async_trait;

use super::{Remedy, Trouble};
use crate::model::CommitId;
pub use crate::plan::requests::{
    ByRule, ForgeRequest, Remark, RequestDraft, RequestRow, RequestStanding, RequestState, Review, Subject, WITHDRAWN,
    carries, is_marked, mark,
};

/// Who the credentials are and what they may do; what is not told is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgeAccess {
    /// Login.
    pub login: Option<String>,
    /// Whether they may push branches and open requests.
    pub may_write: Option<bool>,
    /// The project's default branch.
    pub default_branch: Option<String>,
    /// Version of the server, where it tells.
    pub version: Option<String>,
}

/// The state of a commit in the eyes of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// Not decided.
    Pending,
    /// Good.
    Success,
    /// Not good.
    Failure,
}

/// What is shown beside a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// The check's name: `aam/plan`.
    pub context: String,
    /// Good or not.
    pub state: CheckState,
    /// One short line; the plan's digest belongs in it.
    pub description: String,
}

/// Characters that the line of a status may have on every forge.
const STATUS_LINE: usize = 140;

/// A comment that we wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnComment {
    /// The forge's id for it.
    pub id: u64,
    /// As written.
    pub text: String,
}

/// What became of a wish to have a request merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merging {
    /// The forge does it, or did.
    ByItself,
    /// The forge has not looked through the branch yet: to be asked again.
    Later,
}

/// Reads a project of a forge. Lists are read to their end.
#[async_trait]
pub trait ForgeRead: Send + Sync {
    /// Which project, for registry rows and people: `github.com/acme/config`.
    fn project(&self) -> &str;
    /// Characters that a text may have.
    fn longest_text(&self) -> usize;
    /// Who we are there.
    async fn access(&self) -> Result<ForgeAccess, ForgeError>;
    /// Open requests of this project's own branches below a prefix, by number.
    async fn open_requests(&self, prefix: &str) -> Result<Vec<ForgeRequest>, ForgeError>;
    /// One request; `None` if there is none with that number.
    async fn request(&self, number: u64) -> Result<Option<ForgeRequest>, ForgeError>;
    /// What people said to it.
    async fn review(&self, number: u64) -> Result<Review, ForgeError>;
    /// What we said to it, the oldest first; `None` where the credentials do not say who we are: then anybody could have.
    async fn own_comments(&self, number: u64) -> Result<Option<Vec<OwnComment>>, ForgeError>;
    /// A check's state as it is shown beside a commit now; `None` if there is none that we could have set.
    async fn status(&self, commit: &CommitId, context: &str) -> Result<Option<CommitStatus>, ForgeError>;
    /// The tip of a branch; `None` if there is none.
    async fn tip(&self, branch: &str) -> Result<Option<CommitId>, ForgeError>;
    /// Where people see a file as it is on a branch.
    fn link(&self, branch: &str, path: &str) -> String;
    /// What fails about the plans on people's requests, as [`Forge::note`] kept it.
    fn trouble(&self) -> Option<Trouble>;
}

/// Writes to a project of a forge. Each write is sent once: what has no answer may have happened.
#[async_trait]
pub trait Forge: ForgeRead {
    /// Opens a request, or takes over the open one of that branch.
    async fn open(&self, draft: &RequestDraft) -> Result<ForgeRequest, ForgeError>;
    /// Brings those of `title`, `text`, `labels` and `base` that are named to what they should be; other labels stay, and
    /// what is not named is not sent.
    async fn update(&self, number: u64, draft: &RequestDraft, what: &[&'static str]) -> Result<(), ForgeError>;
    /// Adds a comment.
    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError>;
    /// Changes a comment of ours.
    async fn edit_comment(&self, number: u64, id: u64, text: &str) -> Result<(), ForgeError>;
    /// Makes our one comment with this [`mark`] say this: adds it, or changes it in place.
    async fn upsert_comment(&self, number: u64, word: &str, text: &str) -> Result<(), ForgeError> {
        let own = self.own_comments(number).await?.unwrap_or_default();
        match own.into_iter().find(|comment| carries(&comment.text, word)) {
            None => self.comment(number, text).await,
            Some(comment) if comment.text == text => Ok(()),
            Some(comment) => self.edit_comment(number, comment.id, text).await,
        }
    }
    /// Closes it; no error if it is closed.
    async fn close(&self, number: u64) -> Result<(), ForgeError>;
    /// Sends a check's state.
    async fn send_status(&self, commit: &CommitId, status: &CommitStatus) -> Result<(), ForgeError>;
    /// Shows a check's state beside a commit; sends nothing if it is shown already.
    async fn set_status(&self, commit: &CommitId, status: &CommitStatus) -> Result<(), ForgeError> {
        let description = status.description.chars().take(STATUS_LINE).collect();
        let wanted = CommitStatus { description, ..status.clone() };
        match self.status(commit, &wanted.context).await? {
            Some(shown) if shown == wanted => Ok(()),
            _ => self.send_status(commit, &wanted).await,
        }
    }
    /// Keeps what fails about the plans on people's requests, or that nothing does, for every process of this machine.
    fn note(&self, trouble: Option<&Trouble>);
    /// Has the forge merge it by itself once everything that it asks of a merge is there, if its branch is at this commit; at
    /// once where nothing is asked. [`Merging::Later`] where the forge cannot say yet.
    async fn automate(&self, number: u64, tip: &CommitId) -> Result<Merging, ForgeError>;
    /// Takes that back; no error if it was never so.
    async fn leave_to_people(&self, number: u64) -> Result<(), ForgeError>;
}

/// A call that did not bring what was asked for. Nothing in it holds a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// The credentials are not known, or no longer.
    #[error("{call}: the forge refuses the credentials: {why}; `aam doctor` says which they are")]
    Credentials {
        /// `GET /repos/acme/config/pulls`.
        call: String,
        /// What it said.
        why: String,
    },
    /// The credentials are known and may not, or a policy forbids it.
    #[error("{call}: the forge forbids it: {why}")]
    Forbidden {
        /// Which call.
        call: String,
        /// What it said.
        why: String,
    },
    /// It is not there, or the credentials may not see it.
    #[error("{call}: not found: {why}")]
    NotFound {
        /// Which call.
        call: String,
        /// What it said.
        why: String,
    },
    /// It is there already.
    #[error("{call}: there is one already: {why}")]
    Exists {
        /// Which call.
        call: String,
        /// What it said.
        why: String,
    },
    /// What was sent cannot be taken.
    #[error("{call}: the forge does not take it: {why}")]
    Invalid {
        /// Which call.
        call: String,
        /// The field and what is wrong with it.
        why: String,
    },
    /// Too many calls.
    #[error("{call}: too many calls for the forge, the next one in {} s: {why}", wait.as_secs())]
    RateLimited {
        /// Which call.
        call: String,
        /// What it said.
        why: String,
        /// How long it wants to be left alone.
        wait: Duration,
    },
    /// No whole answer, or one of a server in trouble.
    #[error("{call}: {why}")]
    Unreachable {
        /// Which call.
        call: String,
        /// What is known.
        why: String,
        /// Whether the call may have had its effect all the same.
        sent: bool,
    },
}

impl ForgeError {
    /// Who can mend it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::RateLimited { .. } | Self::Unreachable { sent: false, .. } => Remedy::Retry,
            Self::Unreachable { sent: true, .. } => Remedy::Look,
            Self::Credentials { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Invalid { .. } => Remedy::Person,
        }
    }

    /// How long the forge wants to be left alone.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => Some(*wait),
            _ => None,
        }
    }

    /// Whether it says nothing about the one request, so that another would fail, too.
    pub fn is_about_the_forge(&self) -> bool {
        matches!(self, Self::Credentials { .. } | Self::RateLimited { .. } | Self::Unreachable { .. })
    }
}
