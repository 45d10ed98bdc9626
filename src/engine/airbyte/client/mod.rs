//! The HTTP client of one Airbyte instance: deadlines, retries, budget and breaker; `token`, `probe` (base path and version) and
//! `answer` have the rest. What is asked and what the answers mean is `api`'s.

mod answer;
mod probe;
mod token;

use std::sync::Mutex;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::{Method, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use self::answer::{decode, read, transport};
use self::token::{TOKEN_PATH, Token};
use super::breaker::{Breaker, Turned};
use super::error::{ApiError, Fate};

/// How long a refusal of the credentials counts: a turn over a thousand connections asks once, and credentials that were
/// mended in Airbyte are tried within a minute.
const REFUSAL_COUNTS: Duration = Duration::from_secs(60);

/// What the settings say about an instance.
#[derive(Debug, Clone)]
pub struct Access {
    /// `http://localhost:8000`, with a proxy's prefix if there is one; `/api` may be part of it.
    pub url: Url,
    /// Client id and secret; absent where authentication is switched off.
    pub credentials: Option<(String, SecretString)>,
    /// Times and limits.
    pub manners: Manners,
}

/// How an instance is treated.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Calls per second, on average; three seconds' worth may come at once.
    pub calls_per_second: u32,
    /// Ordinary calls side by side; the public API has five server threads.
    pub slots: usize,
    /// Calls that run a connector, side by side.
    pub slow_slots: usize,
    /// Deadline of ordinary calls.
    pub quick: Duration,
    /// Deadline of a check.
    pub check: Duration,
    /// Deadline of a discover.
    pub discover: Duration,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            calls_per_second: 10,
            slots: 4,
            slow_slots: 4,
            quick: Duration::from_secs(60),
            check: Duration::from_secs(5 * 60),
            discover: Duration::from_secs(12 * 60),
        }
    }
}

/// Which of the two APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/v1`: POST with JSON, everything with types.
    Config,
    /// `/public/v1`: REST.
    Public,
}

/// What kind of call it is: decides deadline, slot and whether it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Changes nothing: tried again when time may heal it.
    Read,
    /// Changes something: sent once.
    Write,
    /// Runs a connector's check.
    Check,
    /// Runs a connector's discover.
    Discover,
}

/// What the instance said of itself when it was first asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Everything lies below: `http://localhost:8000/api`.
    pub base: Url,
    /// `1.8.0`; `unknown` if it does not tell.
    pub version: String,
    /// `community`; empty if it does not tell.
    pub edition: String,
    /// `none`, `simple`, `oidc`; empty if it does not tell.
    pub auth: String,
    /// Whether the public API answers too.
    pub public: bool,
}

/// One Airbyte instance.
pub struct Client {
    http: reqwest::Client,
    access: Access,
    instance: OnceCell<Instance>,
    /// The last probe that failed.
    probed: Failure,
    token: tokio::sync::Mutex<Option<Token>>,
    /// The last fetch of a token that failed.
    fetched: Failure,
    quick: Semaphore,
    slow: Semaphore,
    /// When the budget allows the next call.
    due: Mutex<Option<Instant>>,
    breaker: Breaker,
}

/// How something that one caller does for all failed last: those who waited meanwhile share it instead of each waiting for
/// the same silence again.
#[derive(Debug, Default)]
struct Failure(Mutex<Option<(Instant, ApiError)>>);

impl Failure {
    /// The failure, if it came after this moment.
    fn since(&self, asked: Instant) -> Option<ApiError> {
        let last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| *at > asked).map(|(_, error)| error.clone())
    }

    /// The refusal, if it is young enough to count still.
    fn refusal(&self) -> Option<ApiError> {
        let last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let counts = |at: Instant, error: &ApiError| error.fate == Fate::Refused && at.elapsed() < REFUSAL_COUNTS;
        last.as_ref().filter(|(at, error)| counts(*at, error)).map(|(_, error)| error.clone())
    }

    fn note<T>(&self, outcome: Result<T, ApiError>) -> Result<T, ApiError> {
        if let Err(error) = &outcome {
            *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((Instant::now(), error.clone()));
        }
        outcome
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// A request, complete but for base path and token.
struct Request<'a> {
    api: Api,
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, String)],
    body: Option<&'a Value>,
    kind: Kind,
}

impl Request<'_> {
    fn name(&self) -> String {
        let prefix = if self.api == Api::Public { "/public" } else { "" };
        format!("{} {prefix}{}", self.method, self.path)
    }
}

impl Client {
    /// Makes the client; nothing is sent before the first call.
    pub fn new(access: Access) -> Result<Self, ApiError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("aam/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            // A redirect would carry the token to wherever the answer points.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| ApiError::new("making the HTTP client", Fate::NotSent, e.to_string()))?;
        let (quick, slow) = (Semaphore::new(access.manners.slots), Semaphore::new(access.manners.slow_slots));
        Ok(Self {
            http,
            access,
            instance: OnceCell::new(),
            probed: Failure::default(),
            token: tokio::sync::Mutex::default(),
            fetched: Failure::default(),
            quick,
            slow,
            due: Mutex::default(),
            breaker: Breaker::default(),
        })
    }

    /// `POST` of the Config API.
    pub async fn config<T: DeserializeOwned>(
        &self,
        kind: Kind,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_value(body).expect("requests are plain data");
        let request = Request { api: Api::Config, method: Method::POST, path, query: &[], body: Some(&body), kind };
        decode(&request, &self.send(&request).await?)
    }

    /// A call of the public API.
    pub async fn public<T: DeserializeOwned>(
        &self,
        kind: Kind,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<T, ApiError> {
        let request = Request { api: Api::Public, method, path, query, body, kind };
        decode(&request, &self.send(&request).await?)
    }

    /// How long a discover may take.
    pub fn discover_deadline(&self) -> Duration {
        self.access.manners.discover
    }

    /// A place among the calls that run a connector, for a run that is asked for and followed by quick calls.
    pub async fn slow_slot(&self) -> SemaphorePermit<'_> {
        self.slow.acquire().await.expect("never closed")
    }

    /// What the instance said of itself; asked once, with the first call.
    pub async fn instance(&self) -> Result<&Instance, ApiError> {
        let asked = Instant::now();
        let probe = async || match self.probed.since(asked) {
            Some(error) => Err(error),
            None => self.probed.note(self.probe().await),
        };
        self.instance.get_or_try_init(probe).await
    }

    /// Sends it by the manners of its kind; the body of a 2xx answer.
    async fn send(&self, request: &Request<'_>) -> Result<Vec<u8>, ApiError> {
        self.instance().await.map_err(|e| unsent(request.kind, e))?;
        let once = || self.send_once(request);
        // Four tries at most: a read that fails longer is the loop's to try again.
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(30))
            .with_max_times(3)
            .with_jitter();
        once.retry(pauses)
            .when(|e| worth_another(request.kind, e))
            .adjust(|e, pause| pause.map(|pause| e.retry_after.unwrap_or(pause)))
            .await
    }

    /// Sends it once; with a refused token a second time with a new one.
    async fn send_once(&self, request: &Request<'_>) -> Result<Vec<u8>, ApiError> {
        self.admit(&request.name())?;
        let token = self.token(None).await.map_err(|e| unsent(request.kind, e))?;
        match self.exchange(request, token.as_ref()).await {
            Err(e) if e.fate == Fate::Answered(401) && token.is_some() => {
                let token = self.token(token.as_ref()).await.map_err(|e| unsent(request.kind, e))?;
                self.exchange(request, token.as_ref()).await.map_err(|e| match e.fate {
                    Fate::Answered(401) => ApiError { fate: Fate::Refused, ..e },
                    _ => e,
                })
            }
            other => other,
        }
    }

    /// One request, one answer, within slot, budget, breaker and deadline.
    async fn exchange(&self, request: &Request<'_>, token: Option<&Token>) -> Result<Vec<u8>, ApiError> {
        let manners = &self.access.manners;
        let (slots, deadline) = match request.kind {
            Kind::Read | Kind::Write => (&self.quick, manners.quick),
            Kind::Check => (&self.slow, manners.check),
            Kind::Discover => (&self.slow, manners.discover),
        };
        let _slot = slots.acquire().await.expect("never closed");
        self.wait_for_budget().await;
        let base = &self.instance.get().expect("probed before").base;
        let prefix = if request.api == Api::Public { "/public/v1" } else { "" };
        let outcome = self.raw(base, prefix, request, token, deadline).await;
        self.hear(outcome.as_ref().err());
        outcome
    }

    /// An error while the server is left alone.
    fn admit(&self, call: &str) -> Result<(), ApiError> {
        self.breaker.admit().map_err(|(down, rest)| {
            let why = format!("Airbyte has not answered for {}; the next try is in {}", seconds(down), seconds(rest));
            ApiError::new(call, Fate::HeldBack, why)
        })
    }

    fn hear(&self, failure: Option<&ApiError>) {
        match self.breaker.heard(!failure.is_some_and(ApiError::counts_against_the_server)) {
            Some(Turned::Opened) => {
                let why = failure.map(ToString::to_string).unwrap_or_default();
                tracing::warn!("Airbyte at {} does not answer ({why}); calls are held back", self.access.url);
            }
            Some(Turned::Closed(down)) => {
                tracing::info!("Airbyte at {} answers again after {}", self.access.url, seconds(down));
            }
            None => {}
        }
    }

    /// The request itself.
    async fn raw(
        &self,
        base: &Url,
        prefix: &str,
        request: &Request<'_>,
        token: Option<&Token>,
        deadline: Duration,
    ) -> Result<Vec<u8>, ApiError> {
        let name = request.name();
        let url = format!("{}{prefix}{}", base.as_str().trim_end_matches('/'), request.path);
        let mut builder = self.http.request(request.method.clone(), url).header(header::ACCEPT, "application/json");
        if !request.query.is_empty() {
            builder = builder.query(request.query);
        }
        if let Some(token) = token {
            builder = builder.bearer_auth(token.value.expose_secret());
        }
        if let Some(body) = request.body {
            builder = builder.json(body);
        }
        let whole = async {
            let answer = builder.send().await.map_err(|e| transport(&name, &e))?;
            read(&name, answer).await
        };
        match tokio::time::timeout(deadline, whole).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let why = format!("no whole answer within {}", seconds(deadline));
                Err(ApiError::new(&name, Fate::Unknown, why).coded("deadline"))
            }
        }
    }

    /// Waits for this call's place in the budget.
    async fn wait_for_budget(&self) {
        let gap = Duration::from_secs(1) / self.access.manners.calls_per_second.max(1);
        let at = {
            let mut due = self.due.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // What was not used is kept for three seconds.
            let earliest = Instant::now() - Duration::from_secs(3).min(gap * self.access.manners.calls_per_second * 3);
            let at = due.map_or(earliest, |due| due.max(earliest));
            *due = Some(at + gap);
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

/// Whether a call is sent again. A run of a connector goes on in Airbyte after a broken answer: it is not started twice.
fn worth_another(kind: Kind, error: &ApiError) -> bool {
    match kind {
        // a 500 may be how this version refuses credentials: they are never tried in a loop
        Kind::Read if error.fate == Fate::Answered(500) && error.call.ends_with(TOKEN_PATH) => false,
        Kind::Read => error.is_transient() && error.fate != Fate::HeldBack,
        Kind::Check | Kind::Discover => matches!(error.fate, Fate::NotSent | Fate::Answered(429 | 503)),
        Kind::Write => false,
    }
}

/// What failed before a write was sent: whatever became of that, the write has not happened.
fn unsent(kind: Kind, error: ApiError) -> ApiError {
    match kind {
        Kind::Write if error.may_have_happened() => ApiError { fate: Fate::NotSent, ..error },
        _ => error,
    }
}

/// `12s`, or `1.5s` below ten.
fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64() {
        s if s < 10.0 => format!("{s:.1}s"),
        s => format!("{s:.0}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_calls_at_once_go_by_the_budget_of_a_second() {
        crate::wiring::install_tls();
        let manners = Manners { calls_per_second: 20, ..Manners::default() };
        let url = "http://localhost:8000".parse().unwrap();
        let client = Client::new(Access { url, credentials: None, manners }).unwrap();
        let all_gone = async |calls: usize| {
            let began = Instant::now();
            futures_util::future::join_all((0..calls).map(|_| client.wait_for_budget())).await;
            began.elapsed().as_millis()
        };
        // three seconds' worth at once, and the other 40 one each 50 ms
        assert_eq!(all_gone(100).await, 39 * 50);
        assert_eq!(all_gone(20).await, 20 * 50, "nothing is left to come at once");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(all_gone(62).await, 50, "no more than that is kept");
    }
}
