//! The HTTP client of one Airbyte instance: token, base path, deadlines, retries, budget and breaker. What is asked
//! and what the answers mean is `api`'s.

use std::sync::Mutex;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use base64::Engine as _;
use reqwest::{Method, StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::breaker::{Breaker, Turned};
use super::error::{ApiError, Fate, shown};
use crate::ports::mask;

/// Largest answer that is read; catalogs of thousands of streams reach tens of megabytes.
const ANSWER_MAX: usize = 64 << 20;
/// The longest that a server's `Retry-After` is obeyed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// A token is renewed when this share of its life is over.
const TOKEN_SHARE: f64 = 0.8;
/// Assumed life of a token that does not tell its own: the shortest that any version gives.
const TOKEN_LIFE: Duration = Duration::from_secs(180);

/// How long a token is waited for: it is a row of a database for the server.
const TOKEN_DEADLINE: Duration = Duration::from_secs(20);
/// How long a refusal of the credentials counts: a turn over a thousand connections asks once, and credentials that were
/// mended in Airbyte are tried within a minute.
const REFUSAL_COUNTS: Duration = Duration::from_secs(60);
/// Characters of a refusal of the credentials that are shown.
const REFUSAL_SHOWN: usize = 300;
/// How the paths end that give tokens.
const TOKEN_PATH: &str = "/applications/token";

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

/// A bearer token.
#[derive(Clone)]
struct Token {
    value: SecretString,
    /// From when on it is renewed.
    stale: Instant,
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

    /// A token that is good for now; another one than `refused`. One fetch at a time. `None` without credentials.
    async fn token(&self, refused: Option<&Token>) -> Result<Option<Token>, ApiError> {
        let Some((id, secret)) = &self.access.credentials else { return Ok(None) };
        let asked = Instant::now();
        let mut kept = self.token.lock().await;
        let same = |a: &Token, b: &Token| a.value.expose_secret() == b.value.expose_secret();
        if let Some(token) = kept.as_ref()
            && Instant::now() < token.stale
            && !refused.is_some_and(|refused| same(refused, token))
        {
            return Ok(Some(token.clone()));
        }
        if let Some(error) = self.fetched.since(asked).or_else(|| self.fetched.refusal()) {
            return Err(error);
        }
        *kept = None;
        let token = self.fetched.note(self.fetch_token(id, secret).await)?;
        *kept = Some(token.clone());
        Ok(Some(token))
    }

    async fn fetch_token(&self, id: &str, secret: &SecretString) -> Result<Token, ApiError> {
        let instance = self.instance.get().expect("probed before");
        // Both spellings of the grant: the document requires the one and declares the other.
        let mut body = json!({"client_id": id, "client_secret": secret.expose_secret()});
        let (api, prefix) = if instance.public { (Api::Public, "/public/v1") } else { (Api::Config, "") };
        let path = if instance.public { "/applications/token" } else { "/v1/applications/token" };
        if instance.public {
            body["grant_type"] = json!("client_credentials");
            body["grant-type"] = json!("client_credentials");
        }
        let request = Request { api, method: Method::POST, path, query: &[], body: Some(&body), kind: Kind::Read };
        let asked = Instant::now();
        let deadline = self.access.manners.quick.min(TOKEN_DEADLINE);
        let answer = self.raw(&instance.base, prefix, &request, None, deadline).await;
        self.hear(answer.as_ref().err());
        let answer = answer.map_err(|e| refusal(&e, secret))?;
        let granted: Granted = decode(&request, &answer)?;
        let life = granted.life();
        Ok(Token { value: granted.access_token.into(), stale: asked + life.mul_f64(TOKEN_SHARE) })
    }

    /// Finds the base path: below the URL as given, with or without `/api`.
    async fn probe(&self) -> Result<Instance, ApiError> {
        self.admit("GET /v1/health")?;
        let found = self.find_base().await;
        self.hear(found.as_ref().err());
        if let Ok(Instance { version, .. }) = &found {
            tracing::info!(airbyte.version = %version, "Airbyte at {} is version {version}", self.access.url);
        }
        found
    }

    async fn find_base(&self) -> Result<Instance, ApiError> {
        let given = self.access.url.as_str().trim_end_matches('/');
        let root = ["/public/v1", "/v1"].iter().find_map(|end| given.strip_suffix(end)).unwrap_or(given);
        let candidates =
            if root.ends_with("/api") { vec![root.to_owned()] } else { vec![format!("{root}/api"), root.to_owned()] };
        let mut first = None;
        for candidate in candidates {
            let Ok(base) = Url::parse(&candidate) else { continue };
            match self.health(&base).await {
                Ok(()) => return self.describe(base).await,
                // nobody there: another path is no other server
                Err(e) if matches!(e.fate, Fate::NotSent | Fate::Unknown) => return Err(first.unwrap_or(e)),
                Err(e) => first = first.or(Some(e)),
            }
        }
        Err(first.unwrap_or_else(|| ApiError::new("GET /v1/health", Fate::NotSent, "the URL cannot be used")))
    }

    async fn health(&self, base: &Url) -> Result<(), ApiError> {
        let request = get("/v1/health");
        let answer = self.raw(base, "", &request, None, self.access.manners.quick).await?;
        let health: Value = decode(&request, &answer)?;
        match health.get("available").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            Some(false) => Err(ApiError::new(&request.name(), Fate::Answered(503), "Airbyte says it is not available")),
            None => Err(ApiError::new(&request.name(), Fate::Garbled, "the answer is not that of Airbyte's health")),
        }
    }

    async fn describe(&self, base: Url) -> Result<Instance, ApiError> {
        let quick = self.access.manners.quick;
        let request = get("/v1/instance_configuration");
        let said = match self.raw(&base, "", &request, None, quick).await {
            Ok(answer) => decode(&request, &answer)?,
            Err(e) if matches!(e.fate, Fate::Answered(401 | 403 | 404)) => Value::Null,
            Err(e) => return Err(e),
        };
        let public = self.raw(&base, "/public/v1", &get("/health"), None, quick).await;
        let public = match public {
            Ok(body) => !body.starts_with(b"<"),
            Err(e) if e.is_transient() => return Err(e),
            Err(_) => false,
        };
        let word = |value: &Value| value.as_str().map(shown).filter(|word| !word.is_empty());
        Ok(Instance {
            base,
            version: word(&said["version"]).unwrap_or_else(|| "unknown".into()),
            edition: word(&said["edition"]).unwrap_or_default(),
            auth: word(&said["auth"]["mode"]).unwrap_or_default(),
            public,
        })
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

fn get(path: &str) -> Request<'_> {
    Request { api: Api::Config, method: Method::GET, path, query: &[], body: None, kind: Kind::Read }
}

fn decode<T: DeserializeOwned>(request: &Request<'_>, body: &[u8]) -> Result<T, ApiError> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"null" } else { body };
    serde_json::from_slice(body).map_err(|e| {
        // serde's text repeats values of the answer, which may be settings
        let why =
            format!("the answer is not in the form that was asked for (line {}, column {})", e.line(), e.column());
        ApiError::new(&request.name(), Fate::Garbled, why)
    })
}

/// The body of an answer that is JSON and 2xx.
async fn read(name: &str, mut answer: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let status = answer.status();
    let header = |name: header::HeaderName| {
        answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let (content_type, retry_after) = (header(header::CONTENT_TYPE), header(header::RETRY_AFTER));
    let encoding = header(header::CONTENT_ENCODING);
    let is_encoded = !encoding.is_empty() && encoding != "identity";
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| transport(name, &e))? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(ApiError::new(name, Fate::TooLarge, "the answer is larger than 64 MiB"));
        }
        // nothing was asked to be compressed, and what is all the same is inflated by nobody
        if !is_encoded {
            body.extend_from_slice(&chunk);
        }
    }
    if status.is_redirection() {
        return Err(ApiError::new(
            name,
            Fate::Garbled,
            format!("redirected ({status}): set [airbyte] url to where it leads"),
        ));
    }
    if !status.is_success() {
        let mut error = ApiError::answered(name, status.as_u16(), &content_type, &body);
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            error.retry_after = wanted_pause(&retry_after);
        }
        return Err(error);
    }
    if is_encoded {
        let why =
            format!("the answer is compressed ({}), which was not asked for: a proxy in between?", shown(&encoding));
        return Err(ApiError::new(name, Fate::Garbled, why));
    }
    // Paths outside the API are answered by the web page with 200.
    if content_type.contains("html") {
        let why = "a web page came instead of an answer of the API: set [airbyte] url to the address of the API";
        return Err(ApiError::new(name, Fate::Garbled, why));
    }
    Ok(body)
}

/// Seconds or an HTTP date; nonsense counts as nothing said.
fn wanted_pause(header: &str) -> Option<Duration> {
    let header = header.trim();
    let seconds = if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        header.parse().unwrap_or(u64::MAX)
    } else {
        let at = chrono::DateTime::parse_from_rfc2822(header).ok()?;
        u64::try_from((at.to_utc() - chrono::Utc::now()).num_seconds()).ok()?
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// A failure below HTTP. Its text is ours: the library's names the whole URL.
fn transport(name: &str, error: &reqwest::Error) -> ApiError {
    let chain = || std::iter::successors(Some(error as &dyn std::error::Error), |link| link.source());
    let why = chain().last().map(|deepest| shown(&deepest.to_string())).unwrap_or_default();
    if error.is_connect() || error.is_builder() {
        let code = chain().find_map(no_connection).unwrap_or("unreachable");
        return ApiError::new(name, Fate::NotSent, format!("no connection to Airbyte: {why}")).coded(code);
    }
    let why = format!("the connection broke before the answer was complete: {why}");
    ApiError::new(name, Fate::Unknown, why).coded("cut")
}

/// Why there is no connection, in a word, if this link of the chain tells.
fn no_connection(link: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    use std::io::ErrorKind;
    if link.to_string() == "dns error" {
        return Some("dns");
    }
    if let Some(error) = link.downcast_ref::<rustls::Error>() {
        return Some(if matches!(error, rustls::Error::InvalidCertificate(_)) { "certificate" } else { "tls" });
    }
    let error = link.downcast_ref::<std::io::Error>()?;
    match error.kind() {
        ErrorKind::ConnectionRefused => Some("refused"),
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => Some("reset"),
        ErrorKind::TimedOut => Some("deadline"),
        // what it is about is no link of the chain
        _ => no_connection(error.get_ref()?),
    }
}

/// The token endpoint's refusal; it may repeat what was sent.
fn refusal(error: &ApiError, secret: &SecretString) -> ApiError {
    let error = error.masked(|text| mask(std::slice::from_ref(secret), text));
    // what is ours comes after it, and stays
    let sentence: String = error.sentence.chars().take(REFUSAL_SHOWN).collect();
    match error.fate {
        // Bad credentials are answered with 400, 401 or 500, depending on the version.
        Fate::Answered(400 | 401 | 403 | 422) => ApiError {
            fate: Fate::Refused,
            sentence: format!(
                "the credentials were refused: {sentence}; `abctl local credentials` shows client id and secret"
            ),
            ..error
        },
        Fate::Answered(500) => ApiError {
            sentence: format!("{sentence}; some versions of Airbyte refuse wrong credentials like this"),
            ..error
        },
        _ => error,
    }
}

/// The token endpoint's answer.
#[derive(serde::Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds; the Config API does not say.
    expires_in: Option<u64>,
}

impl Granted {
    /// As told, else as the token itself says, else the shortest that any version gives.
    fn life(&self) -> Duration {
        let told = self.expires_in.map(Duration::from_secs);
        told.or_else(|| jwt_life(&self.access_token)).unwrap_or(TOKEN_LIFE)
    }
}

/// `exp` − now of a JSON Web Token, by the machine's clock; `exp` − `iat` if that clock is off by more than the life.
fn jwt_life(token: &str) -> Option<Duration> {
    let claims = token.split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let expires = claims.get("exp")?.as_i64()?;
    let life = claims.get("iat").and_then(Value::as_i64).map(|issued| expires - issued);
    let left = expires - chrono::Utc::now().timestamp();
    let seconds = match life {
        Some(life) if left <= 0 || left > life => life,
        _ => left,
    };
    u64::try_from(seconds).ok().map(Duration::from_secs)
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
    use serde::Deserialize as _;

    use super::*;

    fn life(granted: &Value) -> Duration {
        Granted::deserialize(granted).unwrap().life()
    }

    #[test]
    fn the_life_of_a_token_is_first_as_told_then_as_it_says_itself_then_the_shortest_of_all() {
        let now = chrono::Utc::now().timestamp();
        let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        let token = |claims: Value| format!("{}.{}.c2ln", part(json!({"alg": "HS256"})), part(claims));
        let quarter = token(json!({"iat": now, "exp": now + 900}));
        assert_eq!(life(&json!({"access_token": quarter, "expires_in": 60})).as_secs(), 60);
        assert!((890..=900).contains(&life(&json!({"access_token": quarter})).as_secs()));
        let other_clock = token(json!({"iat": now - 7200, "exp": now - 6300}));
        assert_eq!(life(&json!({"access_token": other_clock})).as_secs(), 900);
        for opaque in ["opaque".to_owned(), "a.b.c".to_owned(), token(json!({}))] {
            assert_eq!(life(&json!({"access_token": opaque})), TOKEN_LIFE);
        }
    }
}
