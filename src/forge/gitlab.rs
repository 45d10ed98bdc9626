//! GitLab's REST API, version 4. A request is a merge request, its comments are notes.
//!
//! Names in comments are titles of `docs.gitlab.com/api`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::client::Client;
use super::{chosen, open_once, part, parts, state_word, status};
use crate::model::CommitId;
use crate::ports::{
    CommitStatus, Forge, ForgeAccess, ForgeError, ForgeRead, ForgeRequest, Merging, OwnComment, Remark, RequestDraft,
    RequestState, Review, Trouble, WITHDRAWN, carries, is_marked,
};

/// Characters of a description or note.
const LONGEST: usize = 1_000_000;
/// How GitLab's own note begins when a request's branch was deleted.
const BRANCH_WENT: &str = "deleted source branch";
/// How far that note may lie from the closing: both are written by one job.
const ONE_JOB: TimeDelta = TimeDelta::minutes(1);
/// How a title says that the request is a draft.
const DRAFT: &str = "Draft: ";
/// The role that may push branches and open merge requests.
const DEVELOPER: u32 = 30;

/// A project on GitLab.
pub(super) struct GitLab {
    client: Client,
    /// Our username, asked once; `None` where the token may not ask.
    login: OnceCell<Option<String>>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Merge {
    iid: u64,
    web_url: String,
    title: String,
    description: Option<String>,
    #[serde(default)]
    labels: BTreeSet<String>,
    state: String,
    source_branch: String,
    target_branch: String,
    /// Absent where the fork that it came from is gone.
    source_project_id: Option<u64>,
    target_project_id: u64,
    merge_commit_sha: Option<String>,
    squash_commit_sha: Option<String>,
    /// The tip that was asked to merge: what the base branch got by a fast-forward.
    sha: Option<String>,
    /// Since 14.7, before that `merged_by`.
    merge_user: Option<User>,
    merged_by: Option<User>,
    closed_by: Option<User>,
    closed_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Project {
    default_branch: Option<String>,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    project_access: Option<Role>,
    group_access: Option<Role>,
}

#[derive(Deserialize)]
struct Role {
    access_level: u32,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Approvals {
    #[serde(default)]
    approved_by: Vec<Approval>,
}

#[derive(Deserialize)]
struct Approval {
    user: User,
}

#[derive(Deserialize)]
struct Note {
    id: u64,
    author: User,
    body: String,
    /// Written by GitLab itself: "closed", "changed title from …".
    system: bool,
    created_at: DateTime<Utc>,
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
    status: String,
    description: Option<String>,
}

impl Note {
    /// Whether a person or robot of that name wrote it.
    fn is_of(&self, login: &str) -> bool {
        !self.system && self.author.username == login
    }
}

/// What of a request matters for its merge.
#[derive(Deserialize)]
struct Mergeable {
    sha: Option<String>,
    #[serde(default)]
    merge_when_pipeline_succeeds: bool,
    #[serde(default)]
    detailed_merge_status: String,
}

/// Where GitLab is still working out whether a request could be merged.
const UNDECIDED: [&str; 4] = ["preparing", "unchecked", "checking", "approvals_syncing"];
/// Where it waits for a pipeline that it may not know yet.
const PIPELINE: [&str; 2] = ["ci_must_pass", "ci_still_running"];

impl Merge {
    /// Whether its branch is one of the project itself and of no fork.
    fn is_own(&self) -> bool {
        self.source_project_id == Some(self.target_project_id)
    }

    fn request(self, branch_deleted: bool) -> ForgeRequest {
        let by = |user: Option<User>| user.map(|user| user.username);
        let state = match self.state.as_str() {
            // Locked: it is being merged.
            "opened" | "locked" => RequestState::Open,
            "merged" => RequestState::Merged {
                by: by(self.merge_user.or(self.merged_by)),
                commit: self.merge_commit_sha.or(self.squash_commit_sha).or_else(|| self.sha.clone()).map(CommitId),
            },
            _ => RequestState::Closed { by: by(self.closed_by), branch_deleted },
        };
        ForgeRequest {
            number: self.iid,
            url: self.web_url,
            title: self.title.strip_prefix(DRAFT).unwrap_or(&self.title).to_owned(),
            body: self.description.unwrap_or_default(),
            labels: self.labels,
            base: self.target_branch,
            head: self.source_branch,
            tip: self.sha.map(CommitId),
            state,
        }
    }
}

impl GitLab {
    pub(super) fn new(client: Client) -> Self {
        Self { client, login: OnceCell::new() }
    }

    /// Below the project, which is named by its path.
    fn path(&self, rest: &str) -> String {
        format!("/projects/{}{rest}", part(self.client.project()))
    }

    fn merges(&self, rest: &str) -> String {
        self.path(&format!("/merge_requests{rest}"))
    }

    fn notes(&self, number: u64, rest: &str) -> String {
        self.merges(&format!("/{number}/notes{rest}"))
    }

    /// "Retrieve the current user"
    async fn ask_login(&self) -> Result<Option<String>, ForgeError> {
        match self.client.get::<User>("/user".into(), Vec::new()).await {
            Ok(user) => Ok(Some(user.username)),
            Err(ForgeError::Forbidden { .. } | ForgeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn login(&self) -> Result<Option<&str>, ForgeError> {
        Ok(self.login.get_or_try_init(|| self.ask_login()).await?.as_deref())
    }

    /// "List all merge request notes", the oldest first
    async fn all_notes(&self, number: u64) -> Result<Vec<Note>, ForgeError> {
        self.client.list(&self.notes(number, ""), &[("sort", "asc"), ("order_by", "created_at")]).await
    }

    /// "List project merge requests" with `source_branch`: the open one of a branch.
    async fn open_of(&self, branch: &str) -> Result<Option<ForgeRequest>, ForgeError> {
        let query = [("state", "opened"), ("source_branch", branch)];
        let merges: Vec<Merge> = self.client.list(&self.merges(""), &query).await?;
        Ok(merges.into_iter().filter(Merge::is_own).min_by_key(|merge| merge.iid).map(|merge| merge.request(false)))
    }
}

/// Labels as GitLab takes them.
fn joined(labels: &BTreeSet<String>) -> String {
    labels.iter().cloned().collect::<Vec<_>>().join(",")
}

#[async_trait]
impl ForgeRead for GitLab {
    fn project(&self) -> &str {
        self.client.name()
    }

    fn longest_text(&self) -> usize {
        LONGEST
    }

    /// "Retrieve a project", "Retrieve version information"
    async fn access(&self) -> Result<ForgeAccess, ForgeError> {
        let login = self.ask_login().await?;
        let project: Project = self.client.get(self.path(""), Vec::new()).await?;
        let roles = project.permissions.map(|p| [p.project_access, p.group_access]);
        let version = self.client.find::<Version>("/version".into()).await.unwrap_or_default();
        Ok(ForgeAccess {
            login,
            may_write: roles.map(|roles| roles.iter().flatten().any(|role| role.access_level >= DEVELOPER)),
            default_branch: project.default_branch,
            version: version.map(|version| version.version),
        })
    }

    /// "List project merge requests"
    async fn open_requests(&self, prefix: &str) -> Result<Vec<ForgeRequest>, ForgeError> {
        let query = [("state", "opened"), ("order_by", "created_at"), ("sort", "asc")];
        let merges: Vec<Merge> = self.client.list(&self.merges(""), &query).await?;
        let own = merges.into_iter().filter(|merge| merge.is_own() && merge.source_branch.starts_with(prefix));
        // A list that moves while it is read may show one twice.
        let own: BTreeMap<u64, ForgeRequest> = own.map(|merge| (merge.iid, merge.request(false))).collect();
        Ok(own.into_values().collect())
    }

    /// "Retrieve a merge request"; a note of GitLab's own tells whether its branch went, which closes it. One from before it
    /// was opened again explains no later closing.
    async fn request(&self, number: u64) -> Result<Option<ForgeRequest>, ForgeError> {
        let merge = self.client.find::<Merge>(self.merges(&format!("/{number}"))).await?;
        let Some(merge) = merge.filter(Merge::is_own) else { return Ok(None) };
        let explains = |note: &Note| {
            let is_of_it = |closed: DateTime<Utc>| (closed - note.created_at).abs() <= ONE_JOB;
            note.system && note.body.starts_with(BRANCH_WENT) && merge.closed_at.is_none_or(is_of_it)
        };
        let deleted = merge.state == "closed" && self.all_notes(number).await?.iter().any(explains);
        Ok(Some(merge.request(deleted)))
    }

    /// "Retrieve approvals for a merge request" (a free edition may not have them)
    async fn review(&self, number: u64) -> Result<Review, ForgeError> {
        let approvals = self.client.find::<Approvals>(self.merges(&format!("/{number}/approvals"))).await?;
        let approvals: BTreeSet<String> =
            approvals.into_iter().flat_map(|a| a.approved_by).map(|approval| approval.user.username).collect();
        let notes = self.all_notes(number).await?;
        let login = self.login().await?;
        let ours = |note: &&Note| login.is_some_and(|login| note.is_of(login));
        let withdrawn = notes.iter().find(|note| ours(note) && carries(&note.body, WITHDRAWN));
        let withdrawn = withdrawn.map(|note| note.author.username.clone());
        // Our token may be a person's, who comments too: what is ours is told by its mark.
        let last = notes.into_iter().rfind(|n| !n.system && !n.body.trim().is_empty() && !is_marked(&n.body));
        Ok(Review {
            approvals: approvals.into_iter().collect(),
            last_comment: last.map(|note| Remark { author: note.author.username, text: note.body }),
            withdrawn,
        })
    }

    /// A mark that somebody copied makes no note of ours of theirs.
    async fn own_comments(&self, number: u64) -> Result<Option<Vec<OwnComment>>, ForgeError> {
        let Some(login) = self.login().await? else { return Ok(None) };
        let own = self.all_notes(number).await?.into_iter().filter(|note| note.is_of(login));
        Ok(Some(own.map(|note| OwnComment { id: note.id, text: note.body }).collect()))
    }

    /// "List commit statuses": only the latest of each name
    async fn status(&self, commit: &CommitId, context: &str) -> Result<Option<CommitStatus>, ForgeError> {
        let path = self.path(&format!("/repository/commits/{}/statuses", part(&commit.0)));
        let shown: Vec<Shown> = self.client.list(&path, &[("name", context)]).await?;
        Ok(shown.into_iter().next().and_then(|shown| status(context, &shown.status, shown.description)))
    }

    /// "Retrieve a repository branch"
    async fn tip(&self, branch: &str) -> Result<Option<CommitId>, ForgeError> {
        let path = self.path(&format!("/repository/branches/{}", part(branch)));
        Ok(self.client.find::<Branch>(path).await?.map(|branch| CommitId(branch.commit.id)))
    }

    fn link(&self, branch: &str, path: &str) -> String {
        format!("{}/-/blob/{}/{}", self.client.web(), parts(branch), parts(&self.client.place(path)))
    }

    fn trouble(&self) -> Option<Trouble> {
        self.client.trouble()
    }
}

#[async_trait]
impl Forge for GitLab {
    /// "Create a merge request"; a label that does not exist yet is made.
    async fn open(&self, draft: &RequestDraft) -> Result<ForgeRequest, ForgeError> {
        let RequestDraft { head, base, title, body, labels, draft: is_draft } = draft;
        let title = if *is_draft { format!("{DRAFT}{title}") } else { title.clone() };
        let wanted = json!({
            "source_branch": head, "target_branch": base, "title": title, "description": body, "labels": joined(labels),
        });
        let created = self.client.write::<Merge>(Method::POST, self.merges(""), &wanted).await;
        open_once(created.map(|merge| merge.request(false)), self.open_of(head)).await
    }

    /// "Update a merge request" with `add_labels`: others stay. Whether it is a draft is the people's to change: a mark that
    /// is there stays.
    async fn update(&self, number: u64, draft: &RequestDraft, what: &[&'static str]) -> Result<(), ForgeError> {
        let RequestDraft { title, body, base, labels, .. } = draft;
        let path = self.merges(&format!("/{number}"));
        let now: Merge = self.client.get(path.clone(), Vec::new()).await?;
        let title = if now.title.starts_with(DRAFT) { format!("{DRAFT}{title}") } else { title.clone() };
        let fields: [(&str, &str, &str); 3] =
            [("title", "title", &title), ("text", "description", body), ("base", "target_branch", base)];
        let mut wanted = chosen(what, fields);
        if what.contains(&"labels") {
            wanted.insert("add_labels".to_owned(), joined(labels).into());
        }
        if !wanted.is_empty() {
            let _: Value = self.client.write(Method::PUT, path, &wanted.into()).await?;
        }
        Ok(())
    }

    /// "Create a merge request note"
    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let _: Value = self.client.write(Method::POST, self.notes(number, ""), &json!({"body": text})).await?;
        Ok(())
    }

    /// "Update a merge request note"
    async fn edit_comment(&self, number: u64, id: u64, text: &str) -> Result<(), ForgeError> {
        let path = self.notes(number, &format!("/{id}"));
        let _: Value = self.client.write(Method::PUT, path, &json!({"body": text})).await?;
        Ok(())
    }

    /// "Update a merge request" with `state_event`
    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        let path = self.merges(&format!("/{number}"));
        let _: Value = self.client.write(Method::PUT, path, &json!({"state_event": "close"})).await?;
        Ok(())
    }

    /// "Set commit pipeline status"
    async fn send_status(&self, commit: &CommitId, status: &CommitStatus) -> Result<(), ForgeError> {
        let path = self.path(&format!("/statuses/{}", part(&commit.0)));
        let CommitStatus { context, description, .. } = status;
        let wanted = json!({"state": state_word(status.state, "failed"), "name": context, "description": description});
        match self.client.write::<Value>(Method::POST, path, &wanted).await {
            // It waits already, with other words; they cannot be changed while it does.
            Err(ForgeError::Invalid { why, .. }) if why.contains("Cannot transition status") => Ok(()),
            sent => sent.map(|_| ()),
        }
    }

    fn note(&self, trouble: Option<&Trouble>) {
        self.client.note(trouble);
    }

    /// "Merge a merge request" with `auto_merge`, which had another name before 17.11.
    async fn automate(&self, number: u64, tip: &CommitId) -> Result<Merging, ForgeError> {
        let now: Mergeable = self.client.get(self.merges(&format!("/{number}")), Vec::new()).await?;
        let status = now.detailed_merge_status.as_str();
        if now.sha.as_ref() != Some(&tip.0) || UNDECIDED.contains(&status) {
            return Ok(Merging::Later);
        }
        if now.merge_when_pipeline_succeeds {
            return Ok(Merging::ByItself);
        }
        let path = self.merges(&format!("/{number}/merge"));
        let wanted = json!({"sha": tip, "auto_merge": true, "merge_when_pipeline_succeeds": true});
        let mut merged = self.client.write::<Value>(Method::PUT, path.clone(), &wanted).await;
        // Where it has no pipeline to wait for it does not take that, and merges what is asked for without.
        if matches!(merged, Err(ForgeError::Invalid { .. })) && status == "mergeable" {
            merged = self.client.write(Method::PUT, path, &json!({"sha": tip})).await;
        }
        match merged {
            Err(ForgeError::Invalid { .. }) if PIPELINE.contains(&status) => Ok(Merging::Later),
            // It says 401 of a token that is good and may not merge.
            Err(ForgeError::Credentials { call, why }) => Err(ForgeError::Forbidden { call, why }),
            Err(ForgeError::Invalid { call, why }) => {
                let why = format!("{why} (detailed_merge_status `{status}`): merge it by hand, or mend that");
                Err(ForgeError::Invalid { call, why })
            }
            merged => merged.map(|_| Merging::ByItself),
        }
    }

    /// "Cancel merge when pipeline succeeds"
    async fn leave_to_people(&self, number: u64) -> Result<(), ForgeError> {
        let path = self.merges(&format!("/{number}"));
        let now: Mergeable = self.client.get(path.clone(), Vec::new()).await?;
        if now.merge_when_pipeline_succeeds {
            let path = format!("{path}/cancel_merge_when_pipeline_succeeds");
            let _: Value = self.client.write(Method::POST, path, &json!({})).await?;
        }
        Ok(())
    }
}
