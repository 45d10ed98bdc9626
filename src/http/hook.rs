//! The one thing that can be reached over TCP: `POST /hooks/git`, which wakes a look at the repository's remote.
//!
//! It tells nothing and takes nothing from the request but the proof that its sender knows the secret: who forges one can
//! make `aam` look, and no more. Neither its host nor its origin counts. Everything else on the port is not found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// A larger body is not read (5 MiB): of a push with so many commits the next look by interval knows.
const MAX_BODY: usize = 5 * 1024 * 1024;

/// So many requests are read at once; more are turned away.
const AT_ONCE: usize = 8;

/// Headers that a signature comes in. A request with none of them takes no place.
const SIGNATURES: [&str; 3] = ["x-hub-signature-256", "x-gitea-signature", "x-gitlab-token"];

/// Who sends slower is turned away (10 s).
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the secret that webhooks are signed with, anew for each request.
pub type HookSecret = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// A port for webhooks.
pub struct Hook {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What senders must know.
    pub secret: HookSecret,
}

struct Serving {
    secret: HookSecret,
    look: Arc<Notify>,
    places: Semaphore,
}

/// Serves the port until `stop`; each request with a good signature wakes `look`.
pub async fn serve_hook(hook: Hook, look: Arc<Notify>, stop: CancellationToken) -> std::io::Result<()> {
    let failed = |e: std::io::Error| std::io::Error::new(e.kind(), format!("listening on {}: {e}", hook.listen));
    let listener = TcpListener::bind(hook.listen).await.map_err(failed)?;
    tracing::info!("webhooks are taken at http://{}/hooks/git", listener.local_addr()?);
    let serving = Arc::new(Serving { secret: hook.secret, look, places: Semaphore::new(AT_ONCE) });
    let app = Router::new().fallback(answer).with_state(serving);
    let served = async { axum::serve(listener, app).await };
    // Nobody who holds a connection open keeps the daemon from stopping.
    stop.run_until_cancelled(served).await.unwrap_or(Ok(()))
}

async fn answer(State(serving): State<Arc<Serving>>, request: Request) -> StatusCode {
    if request.method() != Method::POST || request.uri().path() != "/hooks/git" {
        return StatusCode::NOT_FOUND;
    }
    if !SIGNATURES.iter().any(|name| request.headers().contains_key(*name)) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(_place) = serving.places.try_acquire() else { return StatusCode::SERVICE_UNAVAILABLE };
    let (head, body) = request.into_parts();
    if body.size_hint().lower() > MAX_BODY as u64 {
        return StatusCode::PAYLOAD_TOO_LARGE;
    }
    let body = match tokio::time::timeout(PATIENCE, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE,
        Err(_) => return StatusCode::REQUEST_TIMEOUT,
    };
    let secret = match (serving.secret)() {
        Ok(secret) => secret,
        Err(why) => {
            tracing::error!("a webhook cannot be checked: {why}");
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
    };
    if !is_signed(&head.headers, &body, &secret) {
        return StatusCode::UNAUTHORIZED;
    }
    serving.look.notify_one();
    StatusCode::NO_CONTENT
}

/// Whether a request proves that its sender knows the secret, in the way of GitHub, Gitea and Forgejo, or GitLab. All
/// comparisons take the same time wherever they differ.
fn is_signed(headers: &HeaderMap, body: &[u8], secret: &SecretString) -> bool {
    let secret = secret.expose_secret().as_bytes();
    if secret.is_empty() {
        return false;
    }
    let mac = |data: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        mac.update(data);
        mac
    };
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let github = value("x-hub-signature-256").and_then(|value| value.strip_prefix("sha256="));
    let signature = github.or_else(|| value("x-gitea-signature")).and_then(|hexed| hex::decode(hexed).ok());
    if let Some(signature) = signature {
        return mac(body).verify_slice(&signature).is_ok();
    }
    // GitLab sends the secret itself: equal MACs mean equal texts, of whatever length.
    headers
        .get("x-gitlab-token")
        .is_some_and(|token| mac(token.as_bytes()).verify_slice(&mac(secret).finalize().into_bytes()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_secret_is_heard() {
        // GitHub's own example of its documentation
        let (secret, body) = ("It's a Secret to Everybody", &b"Hello, World!"[..]);
        let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let heard = |name: &'static str, value: &str, secret: &str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            is_signed(&headers, body, &secret.to_owned().into())
        };
        assert!(heard("x-hub-signature-256", &format!("sha256={signature}"), secret));
        assert!(heard("x-gitea-signature", signature, secret));
        assert!(heard("x-gitlab-token", secret, secret));
        for (name, value) in [
            ("x-hub-signature-256", signature),
            ("x-hub-signature-256", "sha256="),
            ("x-gitea-signature", &signature.replace('7', "8")),
            ("x-gitea-signature", "no hex"),
            ("x-gitlab-token", "It's a Secret to Everybod"),
            ("x-gitlab-token", ""),
            ("host", secret),
        ] {
            assert!(!heard(name, value, secret), "{name}: {value}");
        }
        assert!(!heard("x-gitlab-token", "", ""), "an empty secret is none");
    }
}
