//! What an answer that is not 2xx means: the error bodies of three forges, and what their headers say of limits.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{self, HeaderMap};
use serde_json::Value;

use crate::diag::escape;
use crate::ports::ForgeError;

/// Characters of what a forge says that are shown.
const SHOWN: usize = 300;
/// The longest that a forge is obeyed in being left alone: GitHub's limits start anew each hour.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// How long to wait where a forge names no time; GitHub's own advice for its secondary limits.
const WAIT: Duration = Duration::from_secs(60);

/// Reads an answer. `was_write`: a server in trouble may have done it all the same. `mask` takes secrets out.
pub(super) fn answered(
    call: &str,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    was_write: bool,
    mask: impl Fn(&str) -> String,
) -> ForgeError {
    let said = said(body);
    let call = call.to_owned();
    let why = shown(&mask(&said));
    match status {
        401 => ForgeError::Credentials { call, why },
        403 | 429 if status == 429 || is_limit(headers, &said) => {
            ForgeError::RateLimited { call, why, wait: wait(headers) }
        }
        403 => ForgeError::Forbidden { call, why },
        404 | 410 => ForgeError::NotFound { call, why },
        409 => ForgeError::Exists { call, why },
        422 if said.to_ascii_lowercase().contains("already exists") => ForgeError::Exists { call, why },
        300..=399 => {
            let why = format!("redirected ({status}): set [forge] url and project to where it leads");
            ForgeError::Unreachable { call, why, sent: false }
        }
        500.. | 408 => ForgeError::Unreachable { call, why: format!("{status} {why}"), sent: was_write },
        _ => ForgeError::Invalid { call, why },
    }
}

/// Whether a refusal is GitHub's primary or secondary limit.
fn is_limit(headers: &HeaderMap, said: &str) -> bool {
    number(headers, "x-ratelimit-remaining") == Some(0)
        || headers.contains_key(header::RETRY_AFTER)
        || said.to_ascii_lowercase().contains("rate limit")
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// How long to leave the forge alone: `Retry-After`, else until its limit starts anew. That moment is one of the forge's
/// clock, so it is compared with the time of its answer.
fn wait(headers: &HeaderMap) -> Duration {
    let time = |name: header::HeaderName| -> Option<DateTime<Utc>> {
        Some(DateTime::parse_from_rfc2822(headers.get(name)?.to_str().ok()?.trim()).ok()?.to_utc())
    };
    let now = time(header::DATE).unwrap_or_else(Utc::now);
    let after = number(headers, "retry-after").or_else(|| Some((time(header::RETRY_AFTER)? - now).num_seconds()));
    let reset = || {
        let reset = number(headers, "x-ratelimit-reset").or_else(|| number(headers, "ratelimit-reset"))?;
        Some(reset - now.timestamp())
    };
    let seconds = after.or_else(reset).and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(WAIT, |seconds| Duration::from_secs(seconds.max(1)).min(WAIT_MAX))
}

/// The sentence of an error body: GitHub's `message` with `errors`, GitLab's `message` (a text, a list, or lists by field) or
/// `error`, Gitea's `message`.
fn said(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return "no answer of the API: a proxy in between?".to_owned();
    };
    let mut parts: Vec<String> = Vec::new();
    for key in ["message", "error", "error_description"] {
        collect("", &value[key], &mut parts);
    }
    for error in value["errors"].as_array().into_iter().flatten() {
        let field = error["field"].as_str().unwrap_or_default();
        let code = error["message"].as_str().or_else(|| error["code"].as_str()).or_else(|| error.as_str());
        parts.extend(code.map(|code| if field.is_empty() { code.to_owned() } else { format!("{field}: {code}") }));
    }
    if parts.is_empty() { "no reason is given".to_owned() } else { parts.join("; ") }
}

fn collect(field: &str, value: &Value, to: &mut Vec<String>) {
    match value {
        Value::String(text) if field.is_empty() => to.push(text.clone()),
        Value::String(text) => to.push(format!("{field}: {text}")),
        Value::Array(items) => items.iter().for_each(|item| collect(field, item, to)),
        Value::Object(fields) => fields.iter().for_each(|(field, value)| collect(field, value, to)),
        _ => {}
    }
}

/// Escaped and cut; secrets were masked before, since half of one would be told by nobody.
pub(super) fn shown(text: &str) -> String {
    escape(&text.chars().take(SHOWN).collect::<String>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&'static str, &str)], body: &str) -> ForgeError {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        answered("POST /x", status, &headers, body.as_bytes(), true, |text| text.replace("hunter22", "***"))
    }

    #[test]
    fn answers_of_three_forges_in_words() {
        let date = ("date", "Thu, 01 Jan 2026 12:00:00 GMT");
        let reset = ("x-ratelimit-reset", "1767268890");
        let all = [
            read(401, &[], r#"{"message":"Bad credentials hunter22"}"#),
            read(403, &[], r#"{"message":"Resource not accessible by integration"}"#),
            read(403, &[("x-ratelimit-remaining", "0"), reset, date], r#"{"message":"API rate limit exceeded"}"#),
            read(403, &[("retry-after", "7")], r#"{"message":"You have exceeded a secondary rate limit"}"#),
            read(429, &[("ratelimit-reset", "1767268805"), date], "Retry later"),
            read(403, &[], r#"{"message":"secondary rate limit"}"#),
            read(404, &[], r#"{"message":"404 Project Not Found"}"#),
            read(409, &[], r#"{"message":["Another open merge request already exists for this source branch: !5"]}"#),
            read(422, &[], r#"{"message":"Validation Failed","errors":[{"field":"head","code":"invalid"}]}"#),
            read(422, &[], r#"{"message":"Validation Failed","errors":[{"message":"A pull request already exists"}]}"#),
            read(400, &[], r#"{"message":{"title":["is too long"]}}"#),
            read(502, &[], "<html>"),
            read(301, &[], ""),
        ];
        insta::assert_snapshot!(all.map(|error| error.to_string()).join("\n"), @"
        POST /x: the forge refuses the credentials: Bad credentials ***; `aam doctor` says which they are
        POST /x: the forge forbids it: Resource not accessible by integration
        POST /x: too many calls for the forge, the next one in 90 s: API rate limit exceeded
        POST /x: too many calls for the forge, the next one in 7 s: You have exceeded a secondary rate limit
        POST /x: too many calls for the forge, the next one in 5 s: no answer of the API: a proxy in between?
        POST /x: too many calls for the forge, the next one in 60 s: secondary rate limit
        POST /x: not found: 404 Project Not Found
        POST /x: there is one already: Another open merge request already exists for this source branch: !5
        POST /x: the forge does not take it: Validation Failed; head: invalid
        POST /x: there is one already: Validation Failed; A pull request already exists
        POST /x: the forge does not take it: title: is too long
        POST /x: 502 no answer of the API: a proxy in between?
        POST /x: redirected (301): set [forge] url and project to where it leads
        ");
    }
}
