//! What came back: a body that is JSON, an error of Airbyte's, or why there is neither.

use std::time::Duration;

use reqwest::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::Request;
use crate::engine::airbyte::error::{ApiError, Fate, shown};

/// Largest answer that is read; catalogs of thousands of streams reach tens of megabytes.
const ANSWER_MAX: usize = 64 << 20;
/// The longest that a server's `Retry-After` is obeyed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

pub(super) fn decode<T: DeserializeOwned>(request: &Request<'_>, body: &[u8]) -> Result<T, ApiError> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"null" } else { body };
    serde_json::from_slice(body).map_err(|e| {
        // serde's text repeats values of the answer, which may be settings
        let why =
            format!("the answer is not in the form that was asked for (line {}, column {})", e.line(), e.column());
        ApiError::new(&request.name(), Fate::Garbled, why)
    })
}

/// The body of an answer that is JSON and 2xx.
pub(super) async fn read(name: &str, mut answer: reqwest::Response) -> Result<Vec<u8>, ApiError> {
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
pub(super) fn transport(name: &str, error: &reqwest::Error) -> ApiError {
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
