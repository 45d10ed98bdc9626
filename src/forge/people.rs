//! What people said to a request, in the form that GitHub and Gitea share.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::ports::{OwnComment, Remark, Review, WITHDRAWN, carries, is_marked};

#[derive(Deserialize)]
pub(super) struct User {
    pub login: String,
}

/// A review.
#[derive(Deserialize)]
pub(super) struct Opinion {
    user: Option<User>,
    state: String,
    body: Option<String>,
    submitted_at: Option<DateTime<Utc>>,
    /// Gitea keeps the state of a dismissed review.
    #[serde(default)]
    dismissed: bool,
}

/// A comment below a request.
#[derive(Deserialize)]
pub(super) struct Comment {
    id: u64,
    user: Option<User>,
    body: Option<String>,
    created_at: DateTime<Utc>,
}

/// What happened to a request or its branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Closed,
    Deleted,
    Reopened,
}

/// A forge that closes a request since its branch went writes both down at once, in either order.
const AT_ONCE: TimeDelta = TimeDelta::seconds(2);

/// Whether a request was closed last by the deletion of its branch. One that came before it was opened again, or after a
/// person had closed it, explains nothing. The events come oldest first.
pub(super) fn is_closed_by_deletion<E>(events: &[E], ending: impl Fn(&E) -> Option<(Ending, DateTime<Utc>)>) -> bool {
    let endings: Vec<_> = events.iter().filter_map(ending).collect();
    let since = endings.iter().rposition(|(what, _)| *what == Ending::Reopened).map_or(0, |at| at + 1);
    let all = |wanted| endings[since..].iter().filter(move |(what, _)| *what == wanted).map(|(_, at)| *at);
    let closed = all(Ending::Closed).max();
    all(Ending::Deleted).any(|deleted| closed.is_none_or(|closed| deleted <= closed + AT_ONCE))
}

/// Of each reviewer the last review that decides counts; the newest word that is not ours, said in a review or below.
pub(super) fn review(opinions: Vec<Opinion>, comments: Vec<Comment>, login: Option<&str>) -> Review {
    let mut last: BTreeMap<String, bool> = BTreeMap::new();
    for Opinion { user, state, dismissed, .. } in &opinions {
        if let (Some(user), "APPROVED" | "CHANGES_REQUESTED" | "REQUEST_CHANGES" | "DISMISSED") = (user, state.as_str())
        {
            last.insert(user.login.clone(), state == "APPROVED" && !dismissed);
        }
    }
    let ours = |c: &Comment| login.is_some_and(|login| is_of(c, login));
    let says_so = |c: &&Comment| ours(c) && c.body.as_deref().is_some_and(|body| carries(body, WITHDRAWN));
    let withdrawn = comments.iter().find(says_so).and_then(|c| Some(c.user.as_ref()?.login.clone()));
    let said = opinions.into_iter().filter_map(|o| Some((o.submitted_at?, o.user?, o.body?)));
    let said = said.chain(comments.into_iter().filter_map(|c| Some((c.created_at, c.user?, c.body?))));
    // Our credentials may be a person's, who comments too: what is ours is told by its mark.
    let newest = said.filter(|(.., text)| !text.trim().is_empty() && !is_marked(text)).max_by_key(|(at, ..)| *at);
    Review {
        approvals: last.into_iter().filter_map(|(login, approves)| approves.then_some(login)).collect(),
        last_comment: newest.map(|(_, user, text)| Remark { author: user.login, text }),
        withdrawn,
    }
}

/// Those that are ours: a mark that somebody copied makes no comment of ours of theirs.
pub(super) fn ours(comments: Vec<Comment>, login: &str) -> Vec<OwnComment> {
    let own = comments.into_iter().filter(|comment| is_of(comment, login));
    own.map(|comment| OwnComment { id: comment.id, text: comment.body.unwrap_or_default() }).collect()
}

fn is_of(comment: &Comment, login: &str) -> bool {
    comment.user.as_ref().is_some_and(|user| user.login == login)
}
