//! Forges, by plain HTTP: GitHub (Enterprise too), GitLab, and Gitea with Forgejo. One client with their common manners,
//! one file that speaks each one's language. Each call names the page of the forge's documentation that it is from.
//!
//! Three things hold for all. A list is read to its end. A write is sent once; what had no answer is looked for before it is
//! sent again. Requests from forks are no requests of ours, whatever their branch is called.

mod app;
mod client;
mod error;
mod gitea;
mod github;
mod gitlab;
mod notes;
mod people;

use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Url;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::ports::{CheckState, CommitStatus, Forge, ForgeError};

pub use client::Manners;

/// Which forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `github.com`, or GitHub Enterprise.
    GitHub,
    /// `gitlab.com`, or an own GitLab.
    GitLab,
    /// Gitea, or Forgejo.
    Gitea,
}

/// How to sign in.
#[derive(Clone)]
pub enum Credentials {
    /// A token of a user, a project or a robot.
    Token(SecretString),
    /// A GitHub App.
    App {
        /// The app's id, or its client id.
        id: String,
        /// Its installation for the project's owner.
        installation: u64,
        /// Its private key, as PEM.
        key: SecretString,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(***)"),
            Self::App { id, installation, .. } => write!(f, "App({id}, installation {installation}, ***)"),
        }
    }
}

/// A project on a forge, and how to get in.
#[derive(Debug, Clone)]
pub struct Access {
    /// Which language it speaks.
    pub kind: Kind,
    /// Its web address: `https://github.com`, `https://forge.example.org/git`.
    pub url: Url,
    /// `owner/name`; GitLab may have folders above.
    pub project: String,
    /// Where the configuration lies within the repository: empty at the top, else `deploy/config/`.
    pub prefix: String,
    /// How to sign in.
    pub credentials: Credentials,
    /// Where what is noted about it lies: the state folder.
    pub state: PathBuf,
    /// Times.
    pub manners: Manners,
}

/// Makes the client of a project. Nothing is sent yet.
pub fn open(access: Access) -> Result<Arc<dyn Forge>, ForgeError> {
    let kind = access.kind;
    let client = client::Client::new(access)?;
    Ok(match kind {
        Kind::GitHub => Arc::new(github::GitHub::new(client)),
        Kind::GitLab => Arc::new(gitlab::GitLab::new(client)),
        Kind::Gitea => Arc::new(gitea::Gitea::new(client)),
    })
}

/// One part of a path: `a/b` as `a%2Fb`.
fn part(text: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if keeps(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A path whose parts are kept apart: `aam/drift/x y` as `aam/drift/x%20y`.
fn parts(text: &str) -> String {
    text.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// A status as a forge shows it; `None`: none that we set.
fn status(context: &str, state: &str, description: Option<String>) -> Option<CommitStatus> {
    let state = match state {
        "pending" => CheckState::Pending,
        "success" => CheckState::Success,
        "failure" | "failed" => CheckState::Failure,
        _ => return None,
    };
    Some(CommitStatus { context: context.to_owned(), state, description: description.unwrap_or_default() })
}

/// A status' state in a forge's words, which differ in one.
fn state_word(state: CheckState, failure: &'static str) -> &'static str {
    match state {
        CheckState::Pending => "pending",
        CheckState::Success => "success",
        CheckState::Failure => failure,
    }
}

/// Opens a request: an answer that says there is one already, and none at all, both mean to look for it.
async fn open_once(
    created: Result<crate::ports::ForgeRequest, ForgeError>,
    find: impl Future<Output = Result<Option<crate::ports::ForgeRequest>, ForgeError>>,
) -> Result<crate::ports::ForgeRequest, ForgeError> {
    match created {
        Err(error @ (ForgeError::Exists { .. } | ForgeError::Unreachable { sent: true, .. })) => {
            // What cannot be looked for now is found by the next look at all open requests.
            find.await.ok().flatten().ok_or(error)
        }
        created => created,
    }
}

/// Those of the fields that are to be sent, each with the word by which it is asked for.
fn chosen(what: &[&str], fields: [(&str, &str, &str); 3]) -> Map<String, Value> {
    let named = fields.into_iter().filter(|(word, ..)| what.contains(word));
    named.map(|(_, field, value)| (field.to_owned(), Value::from(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_their_part_of_a_path() {
        assert_eq!(part("acme/../x?y#z %"), "acme%2F..%2Fx%3Fy%23z%20%25");
        assert_eq!(parts("aam/drift/default/crm ö"), "aam/drift/default/crm%20%C3%B6");
    }

    #[test]
    fn credentials_are_not_shown() {
        let key = SecretString::from("hunter22".to_owned());
        let app = Credentials::App { id: "7".into(), installation: 9, key: key.clone() };
        assert_eq!(format!("{app:?} {:?}", Credentials::Token(key)), "App(7, installation 9, ***) Token(***)");
    }
}
