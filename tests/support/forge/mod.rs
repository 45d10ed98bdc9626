//! A stand-in for a forge: a server with state that speaks the API of GitHub, GitLab or Gitea for the calls that `aam` makes
//! and those that people make in the browser, over a real bare repository.
//!
//! A request whose branch is missing is refused, a merge merges with git, a squash deletes the branch, a deleted branch
//! closes its request. It fails by script ([`Standin::script`]), has tokens of several rights,
//! short pages and limits.
#![allow(dead_code, reason = "tests and the example each use a part")]

mod bare;
mod gitea;
mod github;
mod gitlab;
mod server;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

pub use bare::Bare;

/// Whose API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    GitHub,
    GitLab,
    Gitea,
}

/// What a token may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Write,
    Read,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    pub number: u64,
    pub author: String,
    pub title: String,
    pub body: String,
    pub labels: Vec<String>,
    pub base: String,
    pub head: String,
    /// From a fork, whose branch has the same name.
    pub fork: bool,
    pub draft: bool,
    pub state: Standing,
    /// What happened to it and its branch.
    pub past: Vec<Happened>,
    pub by: Option<String>,
    pub commit: Option<String>,
    pub comments: Vec<Comment>,
    pub reviews: Vec<Review>,
    /// Who had it merge by itself.
    pub auto: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Open,
    Merged,
    Closed,
}

/// Something that happened to a request or its branch.
#[derive(Debug, Clone)]
pub struct Happened {
    pub what: What,
    pub by: String,
    pub at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Closed,
    Deleted,
    Reopened,
}

#[derive(Debug, Clone)]
pub struct Comment {
    pub id: u64,
    pub author: String,
    pub body: String,
    pub at: u64,
    /// Written by the forge itself.
    pub system: bool,
}

#[derive(Debug, Clone)]
pub struct Review {
    pub id: u64,
    pub author: String,
    pub approves: bool,
    pub body: String,
    pub at: u64,
}

#[derive(Debug, Clone)]
pub struct Status {
    pub commit: String,
    pub context: String,
    pub state: String,
    pub description: String,
}

/// How a call fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered like this and has no effect.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The connection ends within the answer; it has no effect.
    Cut,
    /// It has its effect, and the connection ends within the answer.
    CutAfter,
    /// It has its effect, and is answered with a gateway's error.
    Lost,
}

/// The truth.
pub struct State {
    pub kind: Kind,
    pub url: String,
    pub project: String,
    pub bare: Bare,
    /// Token, login, rights.
    pub tokens: Vec<(String, String, Right)>,
    pub requests: Vec<Request>,
    pub labels: Vec<String>,
    pub statuses: Vec<Status>,
    /// Checks without which nothing is merged.
    pub required: Vec<String>,
    /// Whether requests may merge by themselves.
    pub auto_merge: bool,
    /// Items on a page at most.
    pub page: usize,
    /// Where links to other pages lead, if not here.
    pub links: Option<String>,
    rules: Vec<(String, usize, Fault)>,
    /// Every call: `POST /repos/acme/config/pulls`.
    pub calls: Vec<String>,
    /// What apps signed in with.
    pub proofs: Vec<String>,
    /// Grows by a second with everything that is written.
    time: u64,
    ids: u64,
}

/// A running stand-in; it ends when it is dropped.
pub struct Standin {
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
    /// `http://127.0.0.1:4711`
    pub url: String,
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The token that may write; its user is `aam-bot`.
pub const TOKEN: &str = "tok-write-4711";
/// The token that may read only; its user is `reader`.
pub const READER: &str = "tok-read-4711";
/// The project.
pub const PROJECT: &str = "acme/config";

impl Standin {
    /// Starts over a bare repository, on a free port.
    pub async fn start(kind: Kind, bare: &Path) -> Self {
        Self::on(0, kind, bare).await
    }

    /// Starts on this port.
    pub async fn on(port: u16, kind: Kind, bare: &Path) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let token = |token: &str, login: &str, right| (token.to_owned(), login.to_owned(), right);
        let state = State {
            kind,
            url: url.clone(),
            project: PROJECT.to_owned(),
            bare: Bare::new(PathBuf::from(bare)),
            tokens: vec![token(TOKEN, "aam-bot", Right::Write), token(READER, "reader", Right::Read)],
            requests: Vec::new(),
            labels: Vec::new(),
            statuses: Vec::new(),
            required: Vec::new(),
            auto_merge: true,
            page: 100,
            links: None,
            rules: Vec::new(),
            calls: Vec::new(),
            proofs: Vec::new(),
            time: 0,
            ids: 100,
        };
        let state = Arc::new(Mutex::new(state));
        let task = tokio::spawn(server::serve(listener, state.clone()));
        Self { state, task, url }
    }

    /// Looks into the truth, or changes it.
    pub fn edit<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        state.notice();
        let done = change(&mut state);
        state.notice();
        done
    }

    /// The next so many calls that begin like this fail: `POST /repos/acme/config/pulls`; `""` is every call.
    pub fn script(&self, call: &str, times: usize, fault: Fault) {
        lock(&self.state).rules.push((call.to_owned(), times, fault));
    }

    /// Takes all rules back.
    pub fn heal(&self) {
        lock(&self.state).rules.clear();
    }

    /// How many calls began like this.
    pub fn calls(&self, begin: &str) -> usize {
        lock(&self.state).calls.iter().filter(|call| call.starts_with(begin)).count()
    }
}

pub(crate) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// A request.
    pub fn request(&mut self, number: u64) -> &mut Request {
        self.requests.iter_mut().find(|r| r.number == number).expect("a request with that number")
    }

    /// Opens one.
    pub fn open(&mut self, author: &str, title: &str, body: &str, head: &str, base: &str) -> u64 {
        let number = self.requests.len() as u64 + 1;
        self.requests.push(Request {
            number,
            author: author.to_owned(),
            title: title.to_owned(),
            body: body.to_owned(),
            labels: Vec::new(),
            base: base.to_owned(),
            head: head.to_owned(),
            fork: false,
            draft: false,
            state: Standing::Open,
            past: Vec::new(),
            by: None,
            commit: None,
            comments: Vec::new(),
            reviews: Vec::new(),
            auto: None,
        });
        number
    }

    /// A person comments.
    pub fn comment(&mut self, number: u64, author: &str, body: &str) -> u64 {
        let (id, at) = (self.id(), self.tick());
        let comment = Comment { id, author: author.to_owned(), body: body.to_owned(), at, system: false };
        self.request(number).comments.push(comment);
        id
    }

    /// A person reviews.
    pub fn review(&mut self, number: u64, author: &str, approves: bool, body: &str) {
        let (id, at) = (self.id(), self.tick());
        let (author, body) = (author.to_owned(), body.to_owned());
        self.request(number).reviews.push(Review { id, author, approves, body, at });
    }

    /// A person closes it.
    pub fn close(&mut self, number: u64, by: &str) {
        let (id, at) = (self.id(), self.tick());
        let request = self.request(number);
        (request.state, request.by) = (Standing::Closed, Some(by.to_owned()));
        let said = Comment { id, author: by.to_owned(), body: "closed".to_owned(), at, system: true };
        request.comments.push(said);
        request.past.push(Happened { what: What::Closed, by: by.to_owned(), at });
    }

    /// Time passes.
    pub fn wait(&mut self, seconds: u64) {
        self.time += seconds;
    }

    /// A person merges it, with a merge commit or as a squash, which deletes the branch. False: git could not.
    pub fn merge(&mut self, number: u64, by: &str, squash: bool) -> bool {
        let Request { head, base, title, .. } = self.request(number).clone();
        let Some(commit) = self.bare.merge(&base, &head, &title, squash) else { return false };
        if squash {
            self.bare.delete(&head);
        }
        let request = self.request(number);
        (request.state, request.by, request.commit) = (Standing::Merged, Some(by.to_owned()), Some(commit));
        true
    }

    /// A person puts its commits on top of the base branch, as new ones. False: git could not.
    pub fn rebase(&mut self, number: u64, by: &str) -> bool {
        let Request { head, base, .. } = self.request(number).clone();
        let Some(commit) = self.bare.rebase(&base, &head) else { return false };
        let request = self.request(number);
        (request.state, request.by, request.commit) = (Standing::Merged, Some(by.to_owned()), Some(commit));
        true
    }

    /// A person opens it again. False: it is not closed, its branch is gone, or another has its place.
    pub fn reopen(&mut self, number: u64) -> bool {
        let Request { head, state, .. } = self.request(number).clone();
        let taken = self.requests.iter().any(|other| other.state == Standing::Open && other.head == head);
        if state != Standing::Closed || taken || self.bare.tip(&head).is_none() {
            return false;
        }
        let at = self.tick();
        let request = self.request(number);
        (request.state, request.by) = (Standing::Open, None);
        request.past.push(Happened { what: What::Reopened, by: "grace".to_owned(), at });
        true
    }

    /// Whether every required check of a request's tip is good.
    pub fn is_good(&self, number: u64) -> bool {
        let request = self.requests.iter().find(|request| request.number == number).expect("a request");
        let tip = self.bare.tip(&request.head).unwrap_or_default();
        let good = |check: &String| {
            let of = self.statuses.iter().rev().find(|status| status.commit == tip && status.context == *check);
            of.is_some_and(|status| status.state == "success")
        };
        self.required.iter().all(good)
    }

    /// A check of a branch' tip comes out good.
    pub fn pass(&mut self, branch: &str, check: &str) {
        let commit = self.bare.tip(branch).expect("a branch");
        let (context, state) = (check.to_owned(), "success".to_owned());
        self.statuses.push(Status { commit, context, state, description: String::new() });
    }

    /// What a forge sees by itself: a branch that came in is merged, one that went closes its request, and what was to merge by
    /// itself does once its checks are good.
    fn notice(&mut self) {
        self.notice_branches();
        let waits = |r: &&Request| r.state == Standing::Open && r.auto.is_some();
        let waiting: Vec<(u64, Option<String>)> =
            self.requests.iter().filter(waits).map(|r| (r.number, r.auto.clone())).collect();
        for (number, by) in waiting {
            if self.is_good(number) {
                self.merge(number, &by.expect("somebody had it merge by itself"), false);
            }
        }
    }

    fn notice_branches(&mut self) {
        let (gitlab, id, at) = (self.kind == Kind::GitLab, self.id(), self.tick());
        for request in &mut self.requests {
            let happened = |what| Happened { what, by: "aam-bot".to_owned(), at };
            if request.state == Standing::Closed
                && !request.fork
                && request.past.last().is_some_and(|last| last.what == What::Closed)
                && self.bare.tip(&request.head).is_none()
            {
                request.past.push(happened(What::Deleted));
            }
            if request.state != Standing::Open || request.fork {
                continue;
            }
            let base = self.bare.tip(&request.base);
            match self.bare.tip(&request.head) {
                None => {
                    (request.state, request.by) = (Standing::Closed, Some("aam-bot".to_owned()));
                    request.past.extend([What::Closed, What::Deleted].map(happened));
                    if gitlab {
                        let said = format!("deleted source branch `{}`", request.head);
                        let author = "aam-bot".to_owned();
                        request.comments.push(Comment { id, author, body: said, at, system: true });
                    }
                }
                Some(tip) if base.as_ref().is_some_and(|base| self.bare.holds(base, &tip)) => {
                    (request.state, request.commit) = (Standing::Merged, base);
                    request.by = Some("aam-bot".to_owned());
                }
                _ => {}
            }
        }
    }

    /// The fault that a call meets.
    fn fault(&mut self, call: &str) -> Option<Fault> {
        let rule = self.rules.iter_mut().find(|(begin, left, _)| *left > 0 && call.starts_with(begin.as_str()))?;
        rule.1 -= 1;
        Some(rule.2.clone())
    }
}

/// A time as the forges write it.
fn time(at: u64) -> Value {
    Value::from(format!("2026-01-01T{:02}:{:02}:{:02}Z", at / 3600, at / 60 % 60, at % 60))
}
