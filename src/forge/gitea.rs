//! The API of Gitea and Forgejo, version 1 (1.20 and later).
//!
//! Names in comments are those of its Swagger document (`/swagger.v1.json`).

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::client::Client;
use super::people::{self, Comment, Ending, Opinion, User};
use super::{chosen, open_once, parts, state_word, status};
use crate::model::CommitId;
use crate::ports::{
    CommitStatus, Forge, ForgeAccess, ForgeError, ForgeRead, ForgeRequest, Merging, OwnComment, RequestDraft,
    RequestState, Review, Trouble,
};

/// Characters of a body: the forge has no limit, and no person reads more.
const LONGEST: usize = 262_144;
/// How a title says that the request is a draft.
const DRAFT: &str = "WIP: ";
/// The colour of labels that we make.
const COLOUR: &str = "#5319e7";

/// A project on Gitea.
pub(super) struct Gitea {
    client: Client,
    /// Our login, asked once; `None` where the token may not ask.
    login: OnceCell<Option<String>>,
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
    labels: Option<Vec<Label>>,
    state: String,
    #[serde(default)]
    merged: bool,
    merge_commit_sha: Option<String>,
    merged_by: Option<User>,
    head: Side,
    base: Side,
}

#[derive(Deserialize)]
struct Label {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct Side {
    #[serde(rename = "ref")]
    branch: String,
    /// The branch' own name, where `ref` is that of the request since its branch is gone.
    #[serde(default)]
    label: String,
    sha: Option<String>,
    repo_id: i64,
}

#[derive(Deserialize)]
struct Repository {
    default_branch: Option<String>,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
    created_at: DateTime<Utc>,
}

impl Event {
    fn ending(&self) -> Option<(Ending, DateTime<Utc>)> {
        let what = match self.kind.as_str() {
            "close" => Ending::Closed,
            "delete_branch" => Ending::Deleted,
            "reopen" => Ending::Reopened,
            _ => return None,
        };
        Some((what, self.created_at))
    }
}

#[derive(Deserialize)]
struct Branch {
    commit: Commit,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
}

#[derive(Deserialize)]
struct Shown {
    context: String,
    status: String,
    description: Option<String>,
}

/// How a project merges.
#[derive(Deserialize)]
struct Ways {
    default_merge_style: Option<String>,
}

impl Side {
    /// The branch' name; of one that is gone only the label still tells it.
    fn name(&self) -> &str {
        if self.branch.starts_with("refs/pull/") { &self.label } else { &self.branch }
    }
}

impl Pull {
    /// Whether its branch is one of the project itself and of no fork.
    fn is_own(&self) -> bool {
        self.head.repo_id == self.base.repo_id
    }

    fn request(self, events: Vec<Event>) -> ForgeRequest {
        let state = match (self.state.as_str(), self.merged) {
            ("open", _) => RequestState::Open,
            (_, true) => RequestState::Merged {
                by: self.merged_by.map(|user| user.login),
                commit: self.merge_commit_sha.map(CommitId),
            },
            _ => RequestState::Closed {
                branch_deleted: people::is_closed_by_deletion(&events, Event::ending),
                by: events.into_iter().rfind(|e| e.kind == "close").and_then(|e| e.user).map(|user| user.login),
            },
        };
        ForgeRequest {
            number: self.number,
            url: self.html_url,
            title: self.title.strip_prefix(DRAFT).unwrap_or(&self.title).to_owned(),
            body: self.body.unwrap_or_default(),
            labels: self.labels.unwrap_or_default().into_iter().map(|label| label.name).collect(),
            base: self.base.branch,
            head: self.head.name().to_owned(),
            tip: self.head.sha.map(CommitId),
            state,
        }
    }
}

impl Gitea {
    pub(super) fn new(client: Client) -> Self {
        Self { client, login: OnceCell::new() }
    }

    fn pulls(&self, rest: &str) -> String {
        format!("{}/pulls{rest}", self.client.repo())
    }

    fn issue(&self, number: u64, rest: &str) -> String {
        format!("{}/issues/{number}{rest}", self.client.repo())
    }

    fn statuses(&self, commit: &CommitId) -> String {
        format!("{}/statuses/{}", self.client.repo(), parts(&commit.0))
    }

    /// `userGetCurrent`
    async fn ask_login(&self) -> Result<Option<String>, ForgeError> {
        match self.client.get::<User>("/user".into(), Vec::new()).await {
            Ok(user) => Ok(Some(user.login)),
            // A token without the scope `read:user`.
            Err(ForgeError::Forbidden { .. } | ForgeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn login(&self) -> Result<Option<&str>, ForgeError> {
        Ok(self.login.get_or_try_init(|| self.ask_login()).await?.as_deref())
    }

    /// `issueGetComments`: not in pages.
    async fn comments(&self, number: u64) -> Result<Vec<Comment>, ForgeError> {
        self.client.get(self.issue(number, "/comments"), Vec::new()).await
    }

    /// `repoListPullRequests`
    async fn open_pulls(&self) -> Result<Vec<Pull>, ForgeError> {
        let pulls: Vec<Pull> = self.client.list(&self.pulls(""), &[("state", "open"), ("sort", "oldest")]).await?;
        Ok(pulls.into_iter().filter(Pull::is_own).collect())
    }

    async fn open_of(&self, branch: &str) -> Result<Option<ForgeRequest>, ForgeError> {
        let pulls = self.open_pulls().await?.into_iter().filter(|pull| pull.head.name() == branch);
        Ok(pulls.min_by_key(|pull| pull.number).map(|pull| pull.request(Vec::new())))
    }

    /// `issueListLabels` of the project, `issueCreateLabel` where one is lacking, `issueAddLabel`: others stay.
    async fn label(&self, number: u64, labels: &BTreeSet<String>) -> Result<(), ForgeError> {
        if labels.is_empty() {
            return Ok(());
        }
        let path = format!("{}/labels", self.client.repo());
        let known: Vec<Label> = self.client.list(&path, &[]).await?;
        let mut ids = Vec::new();
        for name in labels {
            ids.push(match known.iter().find(|label| label.name.to_lowercase() == name.to_lowercase()) {
                Some(label) => label.id,
                None => {
                    let wanted = json!({"name": name, "color": COLOUR});
                    self.client.write::<Label>(Method::POST, path.clone(), &wanted).await?.id
                }
            });
        }
        let _: Value = self.client.write(Method::POST, self.issue(number, "/labels"), &json!({"labels": ids})).await?;
        Ok(())
    }
}

#[async_trait]
impl ForgeRead for Gitea {
    fn project(&self) -> &str {
        self.client.name()
    }

    fn longest_text(&self) -> usize {
        LONGEST
    }

    /// `repoGet`, `getVersion`
    async fn access(&self) -> Result<ForgeAccess, ForgeError> {
        let login = self.ask_login().await?;
        let repo: Repository = self.client.get(self.client.repo(), Vec::new()).await?;
        let version = self.client.find::<Version>("/version".into()).await?;
        Ok(ForgeAccess {
            login,
            may_write: repo.permissions.map(|permissions| permissions.push),
            default_branch: repo.default_branch,
            version: version.map(|version| version.version),
        })
    }

    async fn open_requests(&self, prefix: &str) -> Result<Vec<ForgeRequest>, ForgeError> {
        let pulls = self.open_pulls().await?.into_iter().filter(|pull| pull.head.name().starts_with(prefix));
        // A list that moves while it is read may show one twice.
        let own: BTreeMap<u64, ForgeRequest> = pulls.map(|pull| (pull.number, pull.request(Vec::new()))).collect();
        Ok(own.into_values().collect())
    }

    /// `repoGetPullRequest`; `issueGetCommentsAndTimeline` tells who closed it.
    async fn request(&self, number: u64) -> Result<Option<ForgeRequest>, ForgeError> {
        let Some(pull) = self.client.find::<Pull>(self.pulls(&format!("/{number}"))).await?.filter(Pull::is_own) else {
            return Ok(None);
        };
        let closed = pull.state != "open" && !pull.merged;
        let events = if closed { self.client.list(&self.issue(number, "/timeline"), &[]).await? } else { Vec::new() };
        Ok(Some(pull.request(events)))
    }

    /// `repoListPullReviews`; of each reviewer the last review that decides counts.
    async fn review(&self, number: u64) -> Result<Review, ForgeError> {
        let opinions: Vec<Opinion> = self.client.list(&self.pulls(&format!("/{number}/reviews")), &[]).await?;
        Ok(people::review(opinions, self.comments(number).await?, self.login().await?))
    }

    async fn own_comments(&self, number: u64) -> Result<Option<Vec<OwnComment>>, ForgeError> {
        let Some(login) = self.login().await? else { return Ok(None) };
        Ok(Some(people::ours(self.comments(number).await?, login)))
    }

    /// `repoListStatuses`, the newest first
    async fn status(&self, commit: &CommitId, context: &str) -> Result<Option<CommitStatus>, ForgeError> {
        let shown: Vec<Shown> = self.client.list(&self.statuses(commit), &[("sort", "recentupdate")]).await?;
        let newest = shown.into_iter().find(|shown| shown.context == context);
        Ok(newest.and_then(|shown| status(context, &shown.status, shown.description)))
    }

    /// `repoGetBranch`
    async fn tip(&self, branch: &str) -> Result<Option<CommitId>, ForgeError> {
        let path = format!("{}/branches/{}", self.client.repo(), parts(branch));
        Ok(self.client.find::<Branch>(path).await?.map(|branch| CommitId(branch.commit.id)))
    }

    fn link(&self, branch: &str, path: &str) -> String {
        format!("{}/src/branch/{}/{}", self.client.web(), parts(branch), parts(&self.client.place(path)))
    }

    fn trouble(&self) -> Option<Trouble> {
        self.client.trouble()
    }
}

#[async_trait]
impl Forge for Gitea {
    /// `repoCreatePullRequest`
    async fn open(&self, draft: &RequestDraft) -> Result<ForgeRequest, ForgeError> {
        let RequestDraft { head, base, title, body, .. } = draft;
        let title = if draft.draft { format!("{DRAFT}{title}") } else { title.clone() };
        let wanted = json!({"title": title, "head": head, "base": base, "body": body});
        let created = self.client.write::<Pull>(Method::POST, self.pulls(""), &wanted).await;
        let request = open_once(created.map(|pull| pull.request(Vec::new())), self.open_of(head)).await?;
        self.label(request.number, &draft.labels).await?;
        Ok(request)
    }

    /// `repoEditPullRequest`. Whether it is a draft is the people's to change: a mark that is there stays.
    async fn update(&self, number: u64, draft: &RequestDraft, what: &[&'static str]) -> Result<(), ForgeError> {
        let RequestDraft { title, body, base, .. } = draft;
        let path = self.pulls(&format!("/{number}"));
        let now: Pull = self.client.get(path.clone(), Vec::new()).await?;
        let title = if now.title.starts_with(DRAFT) { format!("{DRAFT}{title}") } else { title.clone() };
        let wanted = chosen(what, [("title", "title", &title), ("text", "body", body), ("base", "base", base)]);
        if !wanted.is_empty() {
            let _: Value = self.client.write(Method::PATCH, path, &wanted.into()).await?;
        }
        if what.contains(&"labels") { self.label(number, &draft.labels).await } else { Ok(()) }
    }

    /// `issueCreateComment`
    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let _: Value = self.client.write(Method::POST, self.issue(number, "/comments"), &json!({"body": text})).await?;
        Ok(())
    }

    /// `issueEditComment`
    async fn edit_comment(&self, _number: u64, id: u64, text: &str) -> Result<(), ForgeError> {
        let path = format!("{}/issues/comments/{id}", self.client.repo());
        let _: Value = self.client.write(Method::PATCH, path, &json!({"body": text})).await?;
        Ok(())
    }

    /// `repoEditPullRequest` with `state`
    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        let path = self.pulls(&format!("/{number}"));
        let _: Value = self.client.write(Method::PATCH, path, &json!({"state": "closed"})).await?;
        Ok(())
    }

    /// `repoCreateStatus`
    async fn send_status(&self, commit: &CommitId, status: &CommitStatus) -> Result<(), ForgeError> {
        let CommitStatus { context, description, .. } = status;
        let state = state_word(status.state, "failure");
        let wanted = json!({"state": state, "context": context, "description": description});
        let _: Value = self.client.write(Method::POST, self.statuses(commit), &wanted).await?;
        Ok(())
    }

    fn note(&self, trouble: Option<&Trouble>) {
        self.client.note(trouble);
    }

    /// `repoMergePullRequest` with `merge_when_checks_succeed`
    async fn automate(&self, number: u64, tip: &CommitId) -> Result<Merging, ForgeError> {
        let path = self.pulls(&format!("/{number}"));
        let now: Pull = self.client.get(path.clone(), Vec::new()).await?;
        if now.head.sha.as_ref() != Some(&tip.0) {
            return Ok(Merging::Later);
        }
        let ways: Ways = self.client.get(self.client.repo(), Vec::new()).await?;
        let way = ways.default_merge_style.unwrap_or_else(|| "merge".to_owned());
        let wanted = json!({"Do": way, "head_commit_id": tip, "merge_when_checks_succeed": true});
        match self.client.write::<Value>(Method::POST, format!("{path}/merge"), &wanted).await {
            Err(ForgeError::Exists { why, .. }) if why.contains("already") => Ok(Merging::ByItself),
            // It still looks for conflicts.
            Err(ForgeError::Invalid { why, .. }) if why.contains("try again later") => Ok(Merging::Later),
            merged => merged.map(|_| Merging::ByItself),
        }
    }

    /// `repoCancelScheduledAutoMerge`
    async fn leave_to_people(&self, number: u64) -> Result<(), ForgeError> {
        let path = self.pulls(&format!("/{number}/merge"));
        match self.client.write::<Value>(Method::DELETE, path, &json!({})).await {
            Err(ForgeError::NotFound { .. }) => Ok(()),
            cancelled => cancelled.map(|_| ()),
        }
    }
}
