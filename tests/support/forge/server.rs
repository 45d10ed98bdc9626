//! The HTTP side: signs in, fails by script, answers, cuts lists into pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State as Extract};
use axum::http::{Response, StatusCode, header};
use futures_util::stream;
use serde_json::{Value, json};

use super::{Fault, Kind, Right, State, gitea, github, gitlab, lock};

/// A call, taken apart.
pub struct Call {
    pub method: String,
    /// Below the API, each part decoded.
    pub path: Vec<String>,
    pub query: BTreeMap<String, String>,
    pub body: Value,
    pub login: String,
    pub right: Right,
}

/// An answer; a list is cut into pages.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    /// Not cut into pages.
    pub whole: bool,
}

impl Answer {
    pub fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    pub fn new(status: u16, body: Value) -> Self {
        Self { status, body, whole: false }
    }

    pub fn error(status: u16, message: &str) -> Self {
        Self::new(status, json!({"message": message}))
    }
}

impl Call {
    /// A text of the body.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.body[key].as_str()
    }

    /// Keys of the body that the API's documents do not have.
    pub fn strange(&self, known: &[&str]) -> Option<String> {
        self.body.as_object()?.keys().find(|key| !known.contains(&key.as_str())).cloned()
    }
}

pub async fn serve(listener: tokio::net::TcpListener, state: Arc<Mutex<State>>) {
    let app = Router::new().fallback(answer).with_state(state);
    axum::serve(listener, app).await.expect("it serves until it is dropped");
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let byte = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], byte) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

async fn answer(Extract(state): Extract<Arc<Mutex<State>>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 10 << 20).await.unwrap_or_default();
    let mut state = lock(&state);
    state.notice();
    let prefix = match state.kind {
        Kind::GitHub => "/api/v3",
        Kind::GitLab => "/api/v4",
        Kind::Gitea => "/api/v1",
    };
    // GraphQL lies beside the REST API.
    let beside = head.uri.path().strip_prefix("/api").filter(|path| state.kind == Kind::GitHub && *path == "/graphql");
    let Some(path) = beside.or_else(|| head.uri.path().strip_prefix(prefix)) else {
        return plain(404, &[("content-type", "text/html".to_owned())], "<html>no API here</html>".to_owned());
    };
    let name = format!("{} {path}", head.method);
    state.calls.push(name.clone());
    let fault = state.fault(&name);
    match &fault {
        Some(Fault::Answer(status, headers, body)) => return plain(*status, headers, body.clone()),
        Some(Fault::Cut) => return cut(),
        _ => {}
    }
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = match state.kind {
        Kind::GitHub => header("authorization").strip_prefix("Bearer ").unwrap_or_default(),
        Kind::GitLab => header("private-token"),
        Kind::Gitea => header("authorization").strip_prefix("token ").unwrap_or_default(),
    };
    if state.kind == Kind::GitHub && path.starts_with("/app") {
        state.proofs.push(token.to_owned());
        return finish(&state, github::app(path, token), ("", &BTreeMap::new()), fault.as_ref());
    }
    let Some((_, login, right)) = state.tokens.iter().find(|(known, ..)| known == token).cloned() else {
        let message = if state.kind == Kind::GitHub { "Bad credentials" } else { "401 Unauthorized" };
        return finish(&state, Answer::error(401, message), ("", &BTreeMap::new()), None);
    };
    let query = head.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let query: BTreeMap<String, String> = query.map(|(key, value)| (decoded(key), decoded(value))).collect();
    let call = Call {
        method: head.method.to_string(),
        path: path.split('/').skip(1).map(decoded).collect(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        query,
        login,
        right,
    };
    let given = match state.kind {
        Kind::GitHub => github::answer(&mut state, &call),
        Kind::GitLab => gitlab::answer(&mut state, &call),
        Kind::Gitea => gitea::answer(&mut state, &call),
    };
    state.notice();
    finish(&state, given, (&format!("{}{prefix}{path}", state.url), &call.query), fault.as_ref())
}

fn finish(
    state: &State,
    given: Answer,
    (at, query): (&str, &BTreeMap<String, String>),
    fault: Option<&Fault>,
) -> Response<Body> {
    match fault {
        Some(Fault::CutAfter) => return cut(),
        Some(Fault::Lost) => return plain(502, &[("content-type", "text/html".to_owned())], "<html>502".to_owned()),
        _ => {}
    }
    let mut headers = vec![("content-type", "application/json".to_owned())];
    let mut body = given.body;
    if let (Value::Array(items), 200) = (&mut body, given.status)
        && !given.whole
    {
        let number = |key: &str| query.get(key).and_then(|n| n.parse::<usize>().ok());
        let usual = if state.kind == Kind::GitHub { 30 } else { 20 };
        let size = number("per_page").or_else(|| number("limit")).unwrap_or(usual).min(state.page);
        let page = number("page").unwrap_or(1).max(1);
        let rest = items.len().saturating_sub(page * size);
        let kept: Vec<Value> = std::mem::take(items).into_iter().skip((page - 1) * size).take(size).collect();
        *items = kept;
        let others = query.iter().filter(|(key, _)| *key != "page").map(|(key, value)| format!("{key}={value}&"));
        let base = format!("{}?{}", state.links.as_deref().unwrap_or(at), others.collect::<String>());
        let url = |page: usize| format!("<{base}page={page}>");
        let mut links = Vec::new();
        if rest > 0 {
            links.push(format!("{}; rel=\"next\"", url(page + 1)));
        }
        links.push(format!("{}; rel=\"first\"", url(1)));
        headers.push(("link", links.join(", ")));
    }
    let text = if body.is_null() { String::new() } else { body.to_string() };
    plain(given.status, &headers, text)
}

fn plain(status: u16, headers: &[(&'static str, String)], body: String) -> Response<Body> {
    let mut answer = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    for (name, value) in headers {
        answer = answer.header(*name, value);
    }
    answer.body(Body::from(body)).expect("a response")
}

/// An answer that ends before its end.
fn cut() -> Response<Body> {
    let parts = [Ok(Bytes::from_static(b"[{\"num")), Err(std::io::Error::other("cut"))];
    Response::builder()
        .status(200)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, 1000)
        .body(Body::from_stream(stream::iter(parts)))
        .expect("a response")
}
