//! GitHub's REST API, version 2022-11-28; GitHub Enterprise has the same below `/api/v3`.
//!
//! Names in comments are titles of `docs.github.com/rest`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::client::Client;
use super::people::{self, Comment, Ending, Opinion, User};
use super::{chosen, open_once, part, parts, state_word, status};
use crate::model::CommitId;
use crate::ports::{
    CommitStatus, Forge, ForgeAccess, ForgeError, ForgeRead, ForgeRequest, Merging, OwnComment, RequestDraft,
    RequestState, Review, Trouble,
};

/// Characters of a body or comment.
const LONGEST: usize = 65_536;

/// A project on GitHub.
pub(super) struct GitHub {
    client: Client,
    /// Our login, asked once; `None` where the credentials may not ask.
    login: OnceCell<Option<String>>,
}

#[derive(Deserialize)]
struct App {
    slug: String,
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    state: String,
    merged_at: Option<DateTime<Utc>>,
    merge_commit_sha: Option<String>,
    merged_by: Option<User>,
    head: Side,
    base: Side,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

#[derive(Deserialize)]
struct Side {
    #[serde(rename = "ref")]
    branch: String,
    sha: Option<String>,
    repo: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    default_branch: Option<String>,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    #[serde(default)]
    push: bool,
}

#[derive(Deserialize)]
struct Issue {
    closed_by: Option<User>,
}

#[derive(Deserialize)]
struct Event {
    event: String,
    created_at: DateTime<Utc>,
}

impl Event {
    fn ending(&self) -> Option<(Ending, DateTime<Utc>)> {
        let what = match self.event.as_str() {
            "closed" => Ending::Closed,
            "head_ref_deleted" => Ending::Deleted,
            "reopened" => Ending::Reopened,
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
    sha: String,
}

#[derive(Deserialize)]
struct Shown {
    context: String,
    state: String,
    description: Option<String>,
}

/// What of a request matters for its merge.
#[derive(Deserialize)]
struct Mergeable {
    node_id: String,
    auto_merge: Option<Value>,
    head: Side,
}

/// How a project merges; what is not told is allowed.
#[derive(Deserialize)]
struct Ways {
    allow_auto_merge: Option<bool>,
    allow_merge_commit: Option<bool>,
    allow_squash_merge: Option<bool>,
}

impl Ways {
    /// For GraphQL and for REST.
    fn way(&self) -> (&'static str, &'static str) {
        match (self.allow_merge_commit, self.allow_squash_merge) {
            (None | Some(true), _) => ("MERGE", "merge"),
            (_, None | Some(true)) => ("SQUASH", "squash"),
            _ => ("REBASE", "rebase"),
        }
    }
}

/// Turns auto-merge on.
const ENABLE: &str = "mutation($id: ID!, $tip: GitObjectID!, $way: PullRequestMergeMethod!) { enablePullRequestAutoMerge(\
                      input: {pullRequestId: $id, expectedHeadOid: $tip, mergeMethod: $way}) { clientMutationId } }";
/// Turns it off.
const DISABLE: &str =
    "mutation($id: ID!) { disablePullRequestAutoMerge(input: {pullRequestId: $id}) { clientMutationId } }";

impl Pull {
    /// Whether its branch is one of the project itself and of no fork.
    fn is_own(&self) -> bool {
        let names = [&self.head, &self.base].map(|side| side.repo.as_ref().map(|repo| &repo.full_name));
        // A fork that is gone leaves no repository behind.
        names[0].is_some() && names[0] == names[1]
    }

    fn request(self, closed_by: Option<User>, branch_deleted: bool) -> ForgeRequest {
        let state = match (self.state.as_str(), self.merged_at) {
            ("open", _) => RequestState::Open,
            (_, Some(_)) => RequestState::Merged {
                by: self.merged_by.map(|user| user.login),
                commit: self.merge_commit_sha.map(CommitId),
            },
            _ => RequestState::Closed { by: closed_by.map(|user| user.login), branch_deleted },
        };
        ForgeRequest {
            number: self.number,
            url: self.html_url,
            title: self.title,
            body: self.body.unwrap_or_default(),
            labels: self.labels.into_iter().map(|label| label.name).collect(),
            base: self.base.branch,
            head: self.head.branch,
            tip: self.head.sha.map(CommitId),
            state,
        }
    }
}

impl GitHub {
    pub(super) fn new(client: Client) -> Self {
        Self { client, login: OnceCell::new() }
    }

    fn pulls(&self, rest: &str) -> String {
        format!("{}/pulls{rest}", self.client.repo())
    }

    fn issue(&self, number: u64, rest: &str) -> String {
        format!("{}/issues/{number}{rest}", self.client.repo())
    }

    /// "Get the authenticated user", for an app "Get the authenticated app".
    async fn ask_login(&self) -> Result<Option<String>, ForgeError> {
        let asked = match self.client.is_app() {
            true => self.client.app::<App>().await.map(|app| format!("{}[bot]", app.slug)),
            false => self.client.get::<User>("/user".into(), Vec::new()).await.map(|user| user.login),
        };
        match asked {
            Ok(login) => Ok(Some(login)),
            // A token of an action may not ask who it is.
            Err(ForgeError::Forbidden { .. } | ForgeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn login(&self) -> Result<Option<&str>, ForgeError> {
        Ok(self.login.get_or_try_init(|| self.ask_login()).await?.as_deref())
    }

    /// "List issue comments"
    async fn comments(&self, number: u64) -> Result<Vec<Comment>, ForgeError> {
        self.client.list(&self.issue(number, "/comments"), &[]).await
    }

    /// "List pull requests" with `head`: the open one of a branch.
    async fn open_of(&self, branch: &str) -> Result<Option<ForgeRequest>, ForgeError> {
        let owner = self.client.project().split('/').next().unwrap_or_default();
        let head = format!("{owner}:{branch}");
        let pulls: Vec<Pull> = self.client.list(&self.pulls(""), &[("state", "open"), ("head", &head)]).await?;
        let own = pulls.into_iter().filter(|pull| pull.is_own() && pull.head.branch == branch);
        Ok(own.min_by_key(|pull| pull.number).map(|pull| pull.request(None, false)))
    }

    /// "Add labels to an issue": others stay, and a label that does not exist yet is made.
    async fn label(&self, number: u64, labels: &BTreeSet<String>) -> Result<(), ForgeError> {
        if labels.is_empty() {
            return Ok(());
        }
        let _: Value =
            self.client.write(Method::POST, self.issue(number, "/labels"), &json!({"labels": labels})).await?;
        Ok(())
    }
}

#[async_trait]
impl ForgeRead for GitHub {
    fn project(&self) -> &str {
        self.client.name()
    }

    fn longest_text(&self) -> usize {
        LONGEST
    }

    /// "Get a repository"
    async fn access(&self) -> Result<ForgeAccess, ForgeError> {
        let login = self.ask_login().await?;
        let repo: Repository = self.client.get(self.client.repo(), Vec::new()).await?;
        // An installation is not told its permissions here.
        let may_write = repo.permissions.filter(|_| !self.client.is_app()).map(|permissions| permissions.push);
        Ok(ForgeAccess { login, may_write, default_branch: repo.default_branch, version: None })
    }

    /// "List pull requests"
    async fn open_requests(&self, prefix: &str) -> Result<Vec<ForgeRequest>, ForgeError> {
        let query = [("state", "open"), ("sort", "created"), ("direction", "asc")];
        let pulls: Vec<Pull> = self.client.list(&self.pulls(""), &query).await?;
        let own = pulls.into_iter().filter(|pull| pull.is_own() && pull.head.branch.starts_with(prefix));
        // A list that moves while it is read may show one twice.
        let own: BTreeMap<u64, ForgeRequest> = own.map(|pull| (pull.number, pull.request(None, false))).collect();
        Ok(own.into_values().collect())
    }

    /// "Get a pull request"; "Get an issue" tells who closed it, "List issue events" whether its branch went.
    async fn request(&self, number: u64) -> Result<Option<ForgeRequest>, ForgeError> {
        let Some(pull) = self.client.find::<Pull>(self.pulls(&format!("/{number}"))).await?.filter(Pull::is_own) else {
            return Ok(None);
        };
        if pull.state == "open" || pull.merged_at.is_some() {
            return Ok(Some(pull.request(None, false)));
        }
        let issue: Option<Issue> = self.client.find(self.issue(number, "")).await?;
        let events: Vec<Event> = self.client.list(&self.issue(number, "/events"), &[]).await?;
        let branch_deleted = people::is_closed_by_deletion(&events, Event::ending);
        Ok(Some(pull.request(issue.and_then(|issue| issue.closed_by), branch_deleted)))
    }

    /// "List reviews for a pull request"; of each reviewer the last review that decides counts.
    async fn review(&self, number: u64) -> Result<Review, ForgeError> {
        let opinions: Vec<Opinion> = self.client.list(&self.pulls(&format!("/{number}/reviews")), &[]).await?;
        Ok(people::review(opinions, self.comments(number).await?, self.login().await?))
    }

    async fn own_comments(&self, number: u64) -> Result<Option<Vec<OwnComment>>, ForgeError> {
        let Some(login) = self.login().await? else { return Ok(None) };
        Ok(Some(people::ours(self.comments(number).await?, login)))
    }

    /// "List commit statuses for a reference", the newest first
    async fn status(&self, commit: &CommitId, context: &str) -> Result<Option<CommitStatus>, ForgeError> {
        let path = format!("{}/commits/{}/statuses", self.client.repo(), parts(&commit.0));
        let shown: Vec<Shown> = self.client.list(&path, &[]).await?;
        let newest = shown.into_iter().find(|shown| shown.context == context);
        Ok(newest.and_then(|shown| status(context, &shown.state, shown.description)))
    }

    /// "Get a branch"
    async fn tip(&self, branch: &str) -> Result<Option<CommitId>, ForgeError> {
        let path = format!("{}/branches/{}", self.client.repo(), part(branch));
        Ok(self.client.find::<Branch>(path).await?.map(|branch| CommitId(branch.commit.sha)))
    }

    fn link(&self, branch: &str, path: &str) -> String {
        format!("{}/blob/{}/{}", self.client.web(), parts(branch), parts(&self.client.place(path)))
    }

    fn trouble(&self) -> Option<Trouble> {
        self.client.trouble()
    }
}

#[async_trait]
impl Forge for GitHub {
    /// "Create a pull request"
    async fn open(&self, draft: &RequestDraft) -> Result<ForgeRequest, ForgeError> {
        let RequestDraft { head, base, title, body, draft: is_draft, .. } = draft;
        let wanted = json!({"title": title, "head": head, "base": base, "body": body, "draft": is_draft});
        let created = self.client.write::<Pull>(Method::POST, self.pulls(""), &wanted).await;
        let request = open_once(created.map(|pull| pull.request(None, false)), self.open_of(head)).await?;
        self.label(request.number, &draft.labels).await?;
        Ok(request)
    }

    /// "Update a pull request"
    async fn update(&self, number: u64, draft: &RequestDraft, what: &[&'static str]) -> Result<(), ForgeError> {
        let RequestDraft { title, body, base, .. } = draft;
        let wanted = chosen(what, [("title", "title", title), ("text", "body", body), ("base", "base", base)]);
        if !wanted.is_empty() {
            let path = self.pulls(&format!("/{number}"));
            let _: Value = self.client.write(Method::PATCH, path, &wanted.into()).await?;
        }
        if what.contains(&"labels") { self.label(number, &draft.labels).await } else { Ok(()) }
    }

    /// "Create an issue comment"
    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let _: Value = self.client.write(Method::POST, self.issue(number, "/comments"), &json!({"body": text})).await?;
        Ok(())
    }

    /// "Update an issue comment"
    async fn edit_comment(&self, _number: u64, id: u64, text: &str) -> Result<(), ForgeError> {
        let path = format!("{}/issues/comments/{id}", self.client.repo());
        let _: Value = self.client.write(Method::PATCH, path, &json!({"body": text})).await?;
        Ok(())
    }

    /// "Update a pull request" with `state`
    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        let path = self.pulls(&format!("/{number}"));
        let _: Value = self.client.write(Method::PATCH, path, &json!({"state": "closed"})).await?;
        Ok(())
    }

    /// "Create a commit status"
    async fn send_status(&self, commit: &CommitId, status: &CommitStatus) -> Result<(), ForgeError> {
        let path = format!("{}/statuses/{}", self.client.repo(), parts(&commit.0));
        let CommitStatus { context, description, .. } = status;
        let state = state_word(status.state, "failure");
        let wanted = json!({"state": state, "context": context, "description": description});
        let _: Value = self.client.write(Method::POST, path, &wanted).await?;
        Ok(())
    }

    fn note(&self, trouble: Option<&Trouble>) {
        self.client.note(trouble);
    }

    /// `enablePullRequestAutoMerge` of GraphQL: the REST API has no word for it. What GitHub could merge at once it does not
    /// take there; "Merge a pull request" does that.
    async fn automate(&self, number: u64, tip: &CommitId) -> Result<Merging, ForgeError> {
        let pull: Mergeable = self.client.get(self.pulls(&format!("/{number}")), Vec::new()).await?;
        if pull.head.sha.as_ref() != Some(&tip.0) {
            return Ok(Merging::Later);
        }
        if pull.auto_merge.is_some() {
            return Ok(Merging::ByItself);
        }
        let ways: Ways = self.client.get(self.client.repo(), Vec::new()).await?;
        if ways.allow_auto_merge == Some(false) {
            let why = "`Allow auto-merge` is off in the repository's settings (General, Pull Requests): turn it on, or merge \
                       the request by hand";
            return Err(ForgeError::Forbidden { call: "POST /graphql".to_owned(), why: why.to_owned() });
        }
        let (way, rest_way) = ways.way();
        let enabled = self.client.graphql(ENABLE, &json!({"id": pull.node_id, "tip": tip, "way": way})).await;
        match enabled {
            // Older ones say so where the branch has no rules.
            Err(ForgeError::Invalid { why, .. })
                if why.contains("clean status") || why.contains("Protected branch rules not configured") =>
            {
                let path = self.pulls(&format!("/{number}/merge"));
                let wanted = json!({"sha": tip, "merge_method": rest_way});
                let _: Value = self.client.write(Method::PUT, path, &wanted).await?;
                Ok(Merging::ByItself)
            }
            // A check that nobody asks for runs or failed, or GitHub has not worked it out yet.
            Err(ForgeError::Invalid { why, .. })
                if why.contains("unstable status") || why.contains("unknown status") =>
            {
                Ok(Merging::Later)
            }
            enabled => enabled.map(|()| Merging::ByItself),
        }
    }

    /// `disablePullRequestAutoMerge` of GraphQL
    async fn leave_to_people(&self, number: u64) -> Result<(), ForgeError> {
        let pull: Mergeable = self.client.get(self.pulls(&format!("/{number}")), Vec::new()).await?;
        match pull.auto_merge {
            None => Ok(()),
            Some(_) => self.client.graphql(DISABLE, &json!({"id": pull.node_id})).await,
        }
    }
}
