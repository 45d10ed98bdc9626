//! The HTTP client of one project: sign-in, deadlines, retries of reads, lists to their end, and rest where a forge asks
//! for it. What is asked and what the answers mean is the languages'.

use std::sync::Mutex;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use chrono::Utc;
use reqwest::{Method, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::app::proof;
use super::error::{answered, shown};
use super::{Access, Credentials, Kind, notes, part};
use crate::ports::{ForgeError, Trouble, mask};

/// Largest answer that is read.
const ANSWER_MAX: usize = 32 << 20;
/// Items on a page: what the most careful of the three forges allows by default.
const PAGE: usize = 50;
/// A list with more pages is not what was asked for.
const PAGES_MAX: usize = 400;
/// A token of an installation is renewed after this much of its hour.
const TOKEN_LIFE: Duration = Duration::from_secs(45 * 60);

/// How a forge is treated.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Deadline of a call.
    pub deadline: Duration,
    /// Pause before a read is tried again; doubled once.
    pub pause: Duration,
}

impl Default for Manners {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(30), pause: Duration::from_millis(500) }
    }
}

/// The client.
pub(super) struct Client {
    http: reqwest::Client,
    access: Access,
    /// `github.com/acme/config`
    name: String,
    /// Where the API is: `https://api.github.com`.
    base: String,
    /// The token of an App's installation, and from when on it is renewed.
    token: tokio::sync::Mutex<Option<(SecretString, Instant)>>,
    /// Every secret that was used, to be masked.
    secrets: Mutex<Vec<SecretString>>,
    /// Until when the forge wants to be left alone, and what it said.
    rests: Mutex<Option<(Instant, String)>>,
}

/// A call, complete but for the base.
struct Call<'a> {
    method: Method,
    path: String,
    query: Vec<(&'a str, String)>,
    body: Option<&'a Value>,
}

impl Call<'_> {
    fn name(&self) -> String {
        shown(&format!("{} {}", self.method, self.path))
    }

    fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

/// An answer, whole.
struct Answer {
    body: Vec<u8>,
    /// Whether the list goes on; absent where nobody says.
    next: Option<bool>,
}

impl Client {
    pub(super) fn new(access: Access) -> Result<Self, ForgeError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("aam/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            // A redirect would carry the token to wherever the answer points.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|e| ForgeError::Unreachable {
                call: "making the HTTP client".into(),
                why: e.to_string(),
                sent: false,
            })?;
        let web = access.url.as_str().trim_end_matches('/').to_owned();
        let base = match access.kind {
            Kind::GitHub if access.url.host_str() == Some("github.com") => "https://api.github.com".to_owned(),
            Kind::GitHub => format!("{web}/api/v3"),
            Kind::GitLab => format!("{web}/api/v4"),
            Kind::Gitea => format!("{web}/api/v1"),
        };
        let secrets = match &access.credentials {
            Credentials::Token(token) => vec![token.clone()],
            Credentials::App { key, .. } => vec![key.clone()],
        };
        let host = web.split_once("://").map_or(web.as_str(), |(_, host)| host);
        let name = format!("{host}/{}", access.project);
        Ok(Self {
            http,
            name,
            base,
            access,
            token: tokio::sync::Mutex::default(),
            secrets: Mutex::new(secrets),
            rests: Mutex::default(),
        })
    }

    /// `github.com/acme/config`
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// `acme/config`
    pub(super) fn project(&self) -> &str {
        &self.access.project
    }

    /// What was noted of the project.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        notes::read(&self.access.state, &self.name)
    }

    /// Notes what fails.
    pub(super) fn note(&self, trouble: Option<&Trouble>) {
        notes::write(&self.access.state, &self.name, trouble);
    }

    /// The project's web page.
    pub(super) fn web(&self) -> String {
        format!("{}/{}", self.access.url.as_str().trim_end_matches('/'), self.access.project)
    }

    /// A file's path from the top of the repository.
    pub(super) fn place(&self, path: &str) -> String {
        format!("{}{path}", self.access.prefix)
    }

    /// Whether we are an app and no user.
    pub(super) fn is_app(&self) -> bool {
        matches!(self.access.credentials, Credentials::App { .. })
    }

    /// One object.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: String,
        query: Vec<(&str, String)>,
    ) -> Result<T, ForgeError> {
        let call = Call { method: Method::GET, path, query, body: None };
        let answer = self.read(&call).await?;
        decode(&call, &answer.body)
    }

    /// One object, `None` if there is none.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: String) -> Result<Option<T>, ForgeError> {
        match self.get(path, Vec::new()).await {
            Ok(found) => Ok(Some(found)),
            Err(ForgeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A list, to its end. Pages are counted and no link of an answer is followed, which could lead anywhere.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, ForgeError> {
        let size = if self.access.kind == Kind::Gitea { "limit" } else { "per_page" };
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let mut query: Vec<_> = query.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
            query.extend([(size, PAGE.to_string()), ("page", page.to_string())]);
            let call = Call { method: Method::GET, path: path.to_owned(), query, body: None };
            let answer = self.read(&call).await?;
            let items: Vec<T> = decode(&call, &answer.body)?;
            let full = items.len() >= PAGE;
            all.extend(items);
            if !answer.next.unwrap_or(full) {
                return Ok(all);
            }
        }
        let why = format!("the list has no end after {PAGES_MAX} pages");
        Err(ForgeError::Unreachable { call: format!("GET {path}"), why, sent: false })
    }

    /// A write: sent once.
    pub(super) async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: &Value,
    ) -> Result<T, ForgeError> {
        let call = Call { method, path, query: Vec::new(), body: Some(body) };
        let answer = self.send(&call).await?;
        decode(&call, &answer.body)
    }

    /// The app behind the credentials; only for an app.
    pub(super) async fn app<T: DeserializeOwned>(&self) -> Result<T, ForgeError> {
        let call = Call { method: Method::GET, path: "/app".to_owned(), query: Vec::new(), body: None };
        let proof = self.proof(&call.name())?;
        decode(&call, &self.exchange(&call, &proof).await?.body)
    }

    /// A read is tried again when time may heal it; a forge that asks to be left alone is.
    async fn read(&self, call: &Call<'_>) -> Result<Answer, ForgeError> {
        let once = || self.send(call);
        let pauses = ExponentialBuilder::default().with_min_delay(self.access.manners.pause).with_max_times(2);
        once.retry(pauses.with_jitter()).when(|e| matches!(e, ForgeError::Unreachable { .. })).await
    }

    /// Once, with the token of now.
    async fn send(&self, call: &Call<'_>) -> Result<Answer, ForgeError> {
        let token = self.token().await?;
        let outcome = self.exchange(call, &token).await;
        if matches!(outcome, Err(ForgeError::Credentials { .. })) {
            // An installation's token may be taken back before its hour is over.
            *self.token.lock().await = None;
        }
        outcome
    }

    /// One call, one answer, within the deadline.
    async fn exchange(&self, call: &Call<'_>, token: &SecretString) -> Result<Answer, ForgeError> {
        self.admit(call)?;
        let url = format!("{}{}", self.base, call.path);
        let url: Url = url.parse().map_err(|_| ForgeError::Unreachable {
            call: call.name(),
            why: "[forge] url and project make no address".into(),
            sent: false,
        })?;
        let mut builder = self.http.request(call.method.clone(), url).header(header::ACCEPT, self.accepts());
        builder = match self.access.kind {
            Kind::GitHub => builder.bearer_auth(token.expose_secret()).header("x-github-api-version", "2022-11-28"),
            Kind::GitLab => builder.header("private-token", token.expose_secret()),
            Kind::Gitea => builder.header(header::AUTHORIZATION, format!("token {}", token.expose_secret())),
        };
        if !call.query.is_empty() {
            builder = builder.query(&call.query);
        }
        if let Some(body) = call.body {
            builder = builder.json(body);
        }
        let whole = async {
            let answer = builder.send().await.map_err(|e| transport(call, &e))?;
            self.whole(call, answer).await
        };
        let deadline = self.access.manners.deadline;
        let outcome = tokio::time::timeout(deadline, whole).await.unwrap_or_else(|_| {
            let why = format!("no whole answer within {} s", deadline.as_secs_f32());
            Err(ForgeError::Unreachable { call: call.name(), why, sent: call.is_write() })
        });
        if let Err(ForgeError::RateLimited { why, wait, .. }) = &outcome {
            *lock(&self.rests) = Some((Instant::now() + *wait, why.clone()));
        }
        outcome
    }

    fn accepts(&self) -> &'static str {
        match self.access.kind {
            Kind::GitHub => "application/vnd.github+json",
            Kind::GitLab | Kind::Gitea => "application/json",
        }
    }

    /// An error while the forge wants to be left alone.
    fn admit(&self, call: &Call<'_>) -> Result<(), ForgeError> {
        let rests = lock(&self.rests).clone();
        match rests.map(|(until, why)| (until.saturating_duration_since(Instant::now()), why)) {
            Some((wait, why)) if !wait.is_zero() => Err(ForgeError::RateLimited { call: call.name(), why, wait }),
            _ => Ok(()),
        }
    }

    async fn whole(&self, call: &Call<'_>, mut answer: reqwest::Response) -> Result<Answer, ForgeError> {
        let status = answer.status();
        let headers = answer.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| transport(call, &e))? {
            if body.len() + chunk.len() > ANSWER_MAX {
                let why = "the answer is larger than 32 MiB".to_owned();
                return Err(ForgeError::Unreachable { call: call.name(), why, sent: call.is_write() });
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let masked = |text: &str| mask(&lock(&self.secrets), text);
            return Err(answered(&call.name(), status.as_u16(), &headers, &body, call.is_write(), masked));
        }
        let link = headers.get(header::LINK).and_then(|link| link.to_str().ok());
        Ok(Answer { body, next: link.map(|link| link.contains("rel=\"next\"")) })
    }

    /// The token, or that of the App's installation.
    async fn token(&self) -> Result<SecretString, ForgeError> {
        let installation = match &self.access.credentials {
            Credentials::Token(token) => return Ok(token.clone()),
            Credentials::App { installation, .. } => *installation,
        };
        let mut kept = self.token.lock().await;
        if let Some((token, _)) = kept.as_ref().filter(|(_, stale)| Instant::now() < *stale) {
            return Ok(token.clone());
        }
        // "Create an installation access token for an app"; a token more is no harm, so it is as good as a read.
        let path = format!("/app/installations/{installation}/access_tokens");
        let call = Call { method: Method::POST, path, query: Vec::new(), body: None };
        let proof = self.proof(&call.name())?;
        let answer = self.exchange(&call, &proof).await.map_err(|e| match e {
            ForgeError::Unreachable { call, why, .. } => ForgeError::Unreachable { call, why, sent: false },
            other => other,
        })?;
        let granted: Granted = decode(&call, &answer.body)?;
        let token = SecretString::from(granted.token);
        lock(&self.secrets).push(token.clone());
        *kept = Some((token.clone(), Instant::now() + TOKEN_LIFE));
        Ok(token)
    }

    fn proof(&self, call: &str) -> Result<SecretString, ForgeError> {
        let Credentials::App { id, key, .. } = &self.access.credentials else {
            return Err(ForgeError::Credentials { call: call.to_owned(), why: "a token is no app".to_owned() });
        };
        proof(id, key, Utc::now()).map_err(|why| ForgeError::Credentials { call: call.to_owned(), why })
    }

    /// `/repos/acme/config`, with the names as parts of a path.
    pub(super) fn repo(&self) -> String {
        let (owner, name) = self.access.project.split_once('/').unwrap_or((&self.access.project, ""));
        format!("/repos/{}/{}", part(owner), part(name))
    }

    /// GitHub's GraphQL, for what the REST API does not have; it lies beside that, also on an own server. What it refuses it
    /// answers with 200.
    pub(super) async fn graphql(&self, query: &str, variables: &Value) -> Result<(), ForgeError> {
        const CALL: &str = "POST /graphql";
        let body = json!({"query": query, "variables": variables});
        let answer: Value = self.write(Method::POST, "/../graphql".to_owned(), &body).await?;
        let Some(error) = answer["errors"].as_array().and_then(|errors| errors.first()) else { return Ok(()) };
        let why = shown(error["message"].as_str().unwrap_or("no reason is given"));
        Err(match error["type"].as_str() {
            Some("RATE_LIMITED") => {
                ForgeError::RateLimited { call: CALL.to_owned(), why, wait: Duration::from_secs(60) }
            }
            Some("FORBIDDEN" | "INSUFFICIENT_SCOPES") => ForgeError::Forbidden { call: CALL.to_owned(), why },
            _ => ForgeError::Invalid { call: CALL.to_owned(), why },
        })
    }
}

#[derive(Deserialize)]
struct Granted {
    token: String,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn decode<T: DeserializeOwned>(call: &Call<'_>, body: &[u8]) -> Result<T, ForgeError> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"null" } else { body };
    serde_json::from_slice(body).map_err(|e| ForgeError::Unreachable {
        call: call.name(),
        why: format!(
            "the answer is not in the API's form (line {}, column {}): a proxy in between?",
            e.line(),
            e.column()
        ),
        sent: call.is_write(),
    })
}

/// A failure below HTTP. Its text is ours: the library's names the whole URL.
fn transport(call: &Call<'_>, error: &reqwest::Error) -> ForgeError {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let why = shown(&deepest.to_string());
    let unsent = error.is_connect() || error.is_builder();
    let what =
        if unsent { "no connection to the forge" } else { "the connection broke before the answer was complete" };
    ForgeError::Unreachable { call: call.name(), why: format!("{what}: {why}"), sent: call.is_write() && !unsent }
}
