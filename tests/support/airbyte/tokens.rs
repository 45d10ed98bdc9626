//! Tokens: given for credentials, good for a while, asked for by every call but a few.

use std::time::Instant;

use axum::http::HeaderMap;
use base64::Engine as _;
use serde_json::{Value, json};

use super::answer::{Answer, Call, Shape};
use super::state::{State, now};

/// Calls that need no token.
const ANONYMOUS: [&str; 5] = [
    "/v1/health",
    "/v1/instance_configuration",
    "/v1/applications/token",
    "/public/v1/health",
    "/public/v1/applications/token",
];

/// Calls that a reader may not make, by the start of their path; and every change.
const FOR_EDITORS: [&str; 4] =
    ["/v1/sources/discover_schema", "/v1/sources/check", "/v1/destinations/check", "/v1/commands/run"];

/// Answers the call for a token.
pub fn grant(state: &mut State, call: &Call) -> Answer {
    let given = (call.body["client_id"].as_str(), call.body["client_secret"].as_str());
    let Some((id, secret)) = &state.credentials else { return refused(state) };
    if given != (Some(id), Some(secret)) {
        return refused(state);
    }
    state.tokens_given += 1;
    let life = state.token_life;
    let claims = json!({"iat": now(), "exp": now() + life.as_secs().cast_signed(), "jti": state.tokens_given});
    let part = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let token = format!("{}.{}.c2ln", part(&json!({"alg": "HS256"})), part(&claims));
    state.tokens.insert(token.clone(), Instant::now() + life);
    if call.is_public() {
        Answer::ok(json!({"access_token": token, "token_type": "Bearer", "expires_in": life.as_secs()}))
    } else {
        Answer::ok(json!({"access_token": token}))
    }
}

fn refused(state: &State) -> Answer {
    let status = state.version.bad_credentials();
    let title = if status == 400 { "Bad Request" } else { "Unauthorized" };
    Shape::Framework.answer(status, title, "Invalid client id or token")
}

/// The answer to a call that may not be made; `None` lets it through.
pub fn gate(state: &State, call: &Call, headers: &HeaderMap, writes: bool) -> Option<Answer> {
    if ANONYMOUS.contains(&call.path.as_str()) || state.credentials.is_none() {
        return None;
    }
    let sent = headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let is_basic = sent.starts_with("Basic ") && state.version.takes_basic_auth();
    let is_good = |token: &str| state.tokens.get(token).is_some_and(|end| Instant::now() < *end);
    if !is_basic && !sent.strip_prefix("Bearer ").is_some_and(is_good) {
        return Some(unauthorized());
    }
    let for_editors = writes || FOR_EDITORS.iter().any(|start| call.path.starts_with(start));
    (for_editors && !state.is_editor).then(|| super::answer::Trouble::Forbidden.answer(false, state.version))
}

/// The framework's 401.
pub fn unauthorized() -> Answer {
    Shape::Framework.answer(401, "Unauthorized", "Unauthorized")
}
