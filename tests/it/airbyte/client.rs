//! The client's manners, against a server that answers by a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aam::engine::airbyte::client::{Access, Client, Kind, Manners};
use aam::engine::airbyte::error::{ApiError, Fate};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response};
use serde_json::{Value, json};

/// One answer: status, headers beside the content type, body. `Hang` never comes.
enum Scripted {
    Answer(u16, Vec<(&'static str, &'static str)>, String),
    Hang,
}

fn ok(body: &Value) -> Scripted {
    Scripted::Answer(200, vec![], body.to_string())
}

fn status(status: u16, body: &str) -> Scripted {
    Scripted::Answer(status, vec![], body.to_owned())
}

#[derive(Default)]
struct Script {
    /// Path the API lies below.
    prefix: &'static str,
    public: bool,
    token_life_s: u64,
    tokens: u32,
    /// What calls for a token are answered with, in order; then a token.
    refusals: VecDeque<Scripted>,
    /// Content type and body of every call for a token.
    asked: Vec<(String, Value)>,
    /// How long `POST /v1/things` takes.
    pause: Duration,
    running: usize,
    /// The most calls that ever ran side by side.
    most: usize,
    /// What `POST /v1/things` answers, in order; then `{}`.
    things: VecDeque<Scripted>,
    /// Every call as `METHOD path [token]`.
    log: Vec<String>,
}

type Shared = Arc<Mutex<Script>>;

async fn answer(State(script): State<Shared>, method: Method, headers: HeaderMap, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
    let pause = script.lock().unwrap().pause;
    if path.ends_with("/things") && !pause.is_zero() {
        let begin = |script: &mut Script| {
            script.running += 1;
            script.most = script.most.max(script.running);
        };
        begin(&mut script.lock().unwrap());
        tokio::time::sleep(pause).await;
        script.lock().unwrap().running -= 1;
    }
    let scripted = respond(&mut script.lock().unwrap(), &method, &path, &headers, &body);
    match scripted {
        Scripted::Hang => std::future::pending().await,
        Scripted::Answer(status, extra, body) => {
            let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
            let mut answer = Response::builder().status(status).header("content-type", kind);
            for (name, value) in extra {
                answer = answer.header(name, value);
            }
            answer.body(Body::from(body)).unwrap()
        }
    }
}

fn respond(script: &mut Script, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) -> Scripted {
    let token = headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or("-").replace("Bearer ", "");
    let Some(path) = path.strip_prefix(script.prefix).and_then(|path| path.strip_prefix("/api")) else {
        return status(200, "<html>the web page</html>");
    };
    script.log.push(format!("{method} {path} {token}"));
    match path {
        "/v1/health" => ok(&json!({"available": true})),
        "/v1/instance_configuration" => {
            ok(&json!({"version": "1.8.0", "edition": "community", "auth": {"mode": "simple"}}))
        }
        "/public/v1/health" if script.public => status(200, "Successful operation"),
        "/public/v1/health" => status(404, r#"{"message":"Not Found"}"#),
        "/public/v1/applications/token" | "/v1/applications/token" => {
            let asked: Value = serde_json::from_slice(body).unwrap();
            let kind = headers["content-type"].to_str().unwrap().to_owned();
            script.asked.push((kind, asked.clone()));
            if let Some(refusal) = script.refusals.pop_front() {
                return refusal;
            }
            if asked["client_secret"] != "canary-secret" {
                return status(
                    400,
                    &json!({"message": "Bad Request", "_embedded": {"errors": [
                    {"message": format!("Invalid client id or token {}", asked["client_secret"])}]}})
                    .to_string(),
                );
            }
            script.tokens += 1;
            ok(
                &json!({"access_token": format!("t{}", script.tokens), "token_type": "Bearer", "expires_in": script.token_life_s}),
            )
        }
        _ => script.things.pop_front().unwrap_or_else(|| ok(&json!({}))),
    }
}

struct Server {
    script: Shared,
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(script: Script) -> Self {
        let prefix = script.prefix;
        let script = Arc::new(Mutex::new(script));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{prefix}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(script.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { script, url, task }
    }

    fn client(&self, secret: Option<&str>) -> Client {
        client(&self.url, secret, Manners { quick: Duration::from_millis(400), ..Manners::default() })
    }

    /// The calls since the last look, without the probe's.
    fn log(&self) -> String {
        let log = std::mem::take(&mut self.script.lock().unwrap().log);
        let probe = ["/v1/health", "/v1/instance_configuration", "/public/v1/health"];
        log.into_iter().filter(|l| !probe.contains(&l.split(' ').nth(1).unwrap())).collect::<Vec<_>>().join("\n")
    }

    fn will(&self, things: impl IntoIterator<Item = Scripted>) {
        self.script.lock().unwrap().things = things.into_iter().collect();
    }
}

fn client(url: &str, secret: Option<&str>, manners: Manners) -> Client {
    aam::wiring::install_tls();
    let credentials = secret.map(|secret| ("id".to_owned(), secret.to_owned().into()));
    Client::new(Access { url: url.parse().unwrap(), credentials, manners }).unwrap()
}

async fn read(client: &Client) -> Result<Value, ApiError> {
    client.config(Kind::Read, "/v1/things", &json!({})).await
}

async fn write(client: &Client) -> Result<Value, ApiError> {
    client.config(Kind::Write, "/v1/things", &json!({})).await
}

#[tokio::test]
async fn the_base_path_is_found_below_a_proxy_prefix_and_with_or_without_api() {
    let server = Server::start(Script { prefix: "/data/airbyte", public: true, ..Script::default() }).await;
    for end in ["", "/", "/api", "/api/", "/api/v1", "/api/public/v1"] {
        let client = client(&format!("{}{end}", server.url), None, Manners::default());
        let instance = client.instance().await.unwrap();
        assert_eq!(instance.base.as_str(), format!("{}/api", server.url), "{end}");
        assert_eq!((instance.version.as_str(), instance.auth.as_str(), instance.public), ("1.8.0", "simple", true));
    }
}

#[tokio::test]
async fn a_web_page_with_status_200_is_not_taken_for_the_api() {
    let server = Server::start(Script { prefix: "/elsewhere", ..Script::default() }).await;
    let url = server.url.replace("/elsewhere", "");
    let error = client(&url, None, Manners::default()).instance().await.unwrap_err();
    insta::assert_snapshot!(error, @"GET /v1/health: a web page came instead of an answer of the API: set [airbyte] url to the address of the API");
    assert_eq!(error.fate, Fate::Garbled);
}

#[tokio::test]
async fn a_token_serves_both_apis_and_is_renewed_before_it_expires() {
    let server = Server::start(Script { public: true, token_life_s: 1, ..Script::default() }).await;
    let client = server.client(Some("canary-secret"));
    read(&client).await.unwrap();
    client.public::<Value>(Kind::Read, Method::GET, "/jobs", &[("limit", "20".into())], None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    read(&client).await.unwrap();
    insta::assert_snapshot!(server.log(), @"
    POST /public/v1/applications/token -
    POST /v1/things t1
    GET /public/v1/jobs t1
    POST /public/v1/applications/token -
    POST /v1/things t2
    ");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_even_for_a_write() {
    let server = Server::start(Script { token_life_s: 900, ..Script::default() }).await;
    let client = server.client(Some("canary-secret"));
    server.will([status(401, r#"{"message":"Unauthorized"}"#), ok(&json!({"a": 1}))]);
    assert_eq!(write(&client).await.unwrap(), json!({"a": 1}));
    server.will([status(401, "{}"), status(401, "{}"), ok(&json!({}))]);
    let error = write(&client).await.unwrap_err();
    assert_eq!(error.fate, Fate::Refused, "a second 401 is a real failure");
    insta::assert_snapshot!(server.log(), @"
    POST /v1/applications/token -
    POST /v1/things t1
    POST /v1/applications/token -
    POST /v1/things t2
    POST /v1/things t2
    POST /v1/applications/token -
    POST /v1/things t3
    ");
}

#[tokio::test]
async fn bad_credentials_are_asked_for_once_and_never_shown() {
    let server = Server::start(Script::default()).await;
    let error = read(&server.client(Some("wrong-canary"))).await.unwrap_err();
    assert_eq!(error.fate, Fate::Refused);
    insta::assert_snapshot!(error, @r#"POST /v1/applications/token: the credentials were refused: Invalid client id or token "***"; `abctl local credentials` shows client id and secret (Bad Request)"#);
    insta::assert_snapshot!(server.log(), @"POST /v1/applications/token -");
}

#[tokio::test]
async fn what_the_token_endpoint_repeats_is_masked_wherever_it_stands() {
    let server = Server::start(Script::default()).await;
    let secret = format!("canary \"{}\"\nsecret", "s3".repeat(300));
    let said = json!({"message": "bad", "exceptionClassName": secret,
        "validationErrors": [{"propertyPath": secret, "message": format!("{secret} is none")}]});
    server.script.lock().unwrap().refusals = [status(422, &said.to_string())].into();
    let error = read(&server.client(Some(&secret))).await.unwrap_err();
    insta::assert_snapshot!(error, @"POST /v1/applications/token: ***: the credentials were refused: *** is none; `abctl local credentials` shows client id and secret");
    assert!(!format!("{error:?}").contains("s3s3"), "{error:?}");
}

#[tokio::test]
async fn a_refusal_of_the_credentials_is_never_tried_again_in_a_loop() {
    let server = Server::start(Script::default()).await;
    let mistaken = server.client(Some("wrong-canary"));
    for _ in 0..10 {
        assert_eq!(read(&mistaken).await.unwrap_err().fate, Fate::Refused);
        assert!(!write(&mistaken).await.unwrap_err().may_have_happened());
    }
    insta::assert_snapshot!(server.log(), @"POST /v1/applications/token -");

    // as some versions refuse them; it may heal, so a later call asks anew
    let client = server.client(Some("canary-secret"));
    server.script.lock().unwrap().refusals = [status(500, "{}")].into();
    insta::assert_snapshot!(read(&client).await.unwrap_err(), @"POST /v1/applications/token: 500 {}; some versions of Airbyte refuse wrong credentials like this");
    insta::assert_snapshot!(server.log(), @"POST /v1/applications/token -");
    read(&client).await.unwrap();
}

#[tokio::test]
async fn a_token_call_that_ran_into_the_servers_limit_is_tried_again() {
    let server = Server::start(Script { token_life_s: 900, ..Script::default() }).await;
    let client = server.client(Some("canary-secret"));
    server.script.lock().unwrap().refusals = [status(408, "{}")].into();
    read(&client).await.unwrap();
    insta::assert_snapshot!(server.log(), @"
    POST /v1/applications/token -
    POST /v1/applications/token -
    POST /v1/things t1
    ");
}

#[tokio::test]
async fn a_token_is_asked_for_in_json_and_of_the_public_api_with_both_spellings_of_the_grant() {
    for public in [true, false] {
        let server = Server::start(Script { public, token_life_s: 900, ..Script::default() }).await;
        read(&server.client(Some("canary-secret"))).await.unwrap();
        let (kind, body) = server.script.lock().unwrap().asked.pop().unwrap();
        let grant = if public { json!("client_credentials") } else { Value::Null };
        assert_eq!((kind.as_str(), &body["grant_type"], &body["grant-type"]), ("application/json", &grant, &grant));
    }
}

#[tokio::test]
async fn at_most_four_calls_are_in_flight() {
    let pause = Duration::from_millis(50);
    let server = Server::start(Script { pause, ..Script::default() }).await;
    let client = client(&server.url, None, Manners { calls_per_second: 1000, ..Manners::default() });
    futures_util::future::join_all((0..20).map(|_| read(&client))).await;
    assert_eq!(server.script.lock().unwrap().most, 4);
}

#[tokio::test]
async fn reads_wait_for_the_budget() {
    let server = Server::start(Script::default()).await;
    let client = client(&server.url, None, Manners { calls_per_second: 100, ..Manners::default() });
    let began = Instant::now();
    futures_util::future::join_all((0..350).map(|_| read(&client))).await;
    // never before: later is no fault
    assert!(began.elapsed() >= Duration::from_millis(480), "350 calls in {:?}", began.elapsed());
}

#[tokio::test]
async fn the_version_is_read_once_per_start() {
    let server = Server::start(Script::default()).await;
    let client = server.client(None);
    for _ in 0..3 {
        read(&client).await.unwrap();
    }
    assert_eq!(client.instance().await.unwrap().version, "1.8.0");
    let asked = |path: &str| server.script.lock().unwrap().log.iter().filter(|line| line.contains(path)).count();
    assert_eq!((asked("/v1/instance_configuration"), asked("/v1/things")), (1, 3));
}

#[tokio::test]
async fn without_credentials_no_token_is_asked_for() {
    let server = Server::start(Script::default()).await;
    read(&server.client(None)).await.unwrap();
    insta::assert_snapshot!(server.log(), @"POST /v1/things -");
}

#[tokio::test]
async fn reads_are_tried_again_and_writes_never() {
    let server = Server::start(Script::default()).await;
    let client = server.client(None);
    let page = || status(502, "<html>bad gateway</html>");
    server.will([page(), Scripted::Hang, ok(&json!({"a": 1}))]);
    assert_eq!(read(&client).await.unwrap(), json!({"a": 1}));
    assert_eq!(server.log().lines().count(), 3);
    for (scripted, may_have_happened) in
        [(page(), true), (Scripted::Hang, true), (status(500, ""), true), (status(409, "{}"), false)]
    {
        server.will([scripted]);
        assert_eq!(write(&client).await.unwrap_err().may_have_happened(), may_have_happened);
        assert_eq!(server.log().lines().count(), 1);
    }
}

#[tokio::test]
async fn what_time_does_not_heal_is_not_tried_again() {
    let server = Server::start(Script::default()).await;
    let client = server.client(None);
    let bodies = [(400, "{}"), (403, "{}"), (404, "{}"), (413, "<html>"), (422, "{}"), (501, "{}"), (200, "not json")];
    for (code, body) in bodies {
        server.will([status(code, body)]);
        let error = read(&client).await.unwrap_err();
        assert_eq!(server.log().lines().count(), 1, "{error}");
    }
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let server = Server::start(Script::default()).await;
    let client = server.client(None);
    server.will([Scripted::Answer(429, vec![("retry-after", "2")], "{}".into())]);
    let began = Instant::now();
    read(&client).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2));
    for nonsense in ["-5", "soon", ""] {
        server.will([Scripted::Answer(429, vec![("retry-after", nonsense)], "{}".into())]);
        read(&client).await.unwrap();
    }
}

#[tokio::test]
async fn a_pause_that_a_server_wants_is_five_minutes_at_most() {
    let server = Server::start(Script::default()).await;
    let client = server.client(None);
    let wanted = [
        ("7", Some(7)),
        ("301", Some(300)),
        ("99999999999999999999999", Some(300)),
        ("Wed, 21 Oct 2099 07:28:00 GMT", Some(300)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("-5", None),
        ("1e9", None),
        ("", None),
    ];
    for (header, seconds) in wanted {
        server.will([Scripted::Answer(429, vec![("retry-after", header)], "{}".into())]);
        let pause = write(&client).await.unwrap_err().retry_after;
        assert_eq!(pause, seconds.map(Duration::from_secs), "{header}");
        // one that is heard is forgotten by the breaker
        write(&client).await.unwrap();
    }
}

#[tokio::test]
async fn one_call_that_is_to_wait_holds_up_no_other() {
    let server = Server::start(Script::default()).await;
    let client = server.client(None);
    server.will([Scripted::Answer(429, vec![("retry-after", "200")], "{}".into())]);
    let mut waiting = Box::pin(read(&client));
    let others = async {
        while !server.log().contains("things") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..8 {
            read(&client).await.unwrap();
        }
    };
    tokio::select! {
        early = &mut waiting => panic!("it waits: {early:?}"),
        () = others => {}
    }
}

#[tokio::test]
async fn a_redirect_never_carries_the_token_elsewhere() {
    let server = Server::start(Script { token_life_s: 900, ..Script::default() }).await;
    let client = server.client(Some("canary-secret"));
    server.will([Scripted::Answer(302, vec![("location", "/api/v1/other")], String::new())]);
    let error = read(&client).await.unwrap_err();
    insta::assert_snapshot!(error, @"POST /v1/things: redirected (302 Found): set [airbyte] url to where it leads");
    assert!(!server.log().contains("/v1/other"));
}

#[tokio::test]
async fn a_server_that_is_gone_is_left_alone_after_some_tries() {
    let server = Server::start(Script::default()).await;
    let client = server.client(None);
    client.instance().await.unwrap();
    server.task.abort();
    let mut last = None;
    for _ in 0..6 {
        last = Some(write(&client).await.unwrap_err());
    }
    let last = last.unwrap();
    assert_eq!(last.fate, Fate::HeldBack, "{last}");
    assert!(!last.may_have_happened());
}
