//! The one thing that can be reached over TCP: `POST /hooks/git`, which wakes a look at the repository's remote.
//!
//! It tells nothing and takes nothing from the request but the proof that its sender knows the secret: who forges one can
//! make `aam` look, and no more. Neither its host nor its origin counts. Everything else on the port is not found.
//!
//! A connection carries one request and has a time for it. Its body is hashed as it comes and never kept, so that what many
//! senders cost is known; and when there are too many, the oldest gives way, so that those who only wait keep nobody out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit, Mac};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A larger body is not read (5 MiB): of a push with so many commits the next look by interval knows.
const MAX_BODY: usize = 5 * 1024 * 1024;

/// So many connections are open at once; a further one ends the oldest.
const AT_ONCE: usize = 64;

/// Whose request is not there and answered by then is cut off (10 s).
const PATIENCE: Duration = Duration::from_secs(10);

/// A pause after the system could not hand over a connection, because it has too many files open for example.
const PAUSE: Duration = Duration::from_millis(100);

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
}

/// Serves the port until `stop`; each request with a good signature wakes `look`.
pub async fn serve_hook(hook: Hook, look: Arc<Notify>, stop: CancellationToken) -> std::io::Result<()> {
    let failed = |e: std::io::Error| std::io::Error::new(e.kind(), format!("listening on {}: {e}", hook.listen));
    let listener = TcpListener::bind(hook.listen).await.map_err(failed)?;
    tracing::info!("webhooks are taken at http://{}/hooks/git", listener.local_addr()?);
    let app = Router::new().fallback(answer).with_state(Arc::new(Serving { secret: hook.secret, look }));
    // Nobody who holds a connection open keeps the daemon from stopping.
    stop.run_until_cancelled(accept(&listener, &app)).await;
    Ok(())
}

async fn accept(listener: &TcpListener, app: &Router) {
    let mut connections = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        open.retain(|connection| !connection.is_finished());
        if open.len() >= AT_ONCE
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let service = TowerToHyperService::new(app.clone());
        let serving = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
        // Who breaks off, or is cut off, is owed no word.
        open.push_back(connections.spawn(async { drop(tokio::time::timeout(PATIENCE, serving).await) }));
    }
}

async fn answer(State(serving): State<Arc<Serving>>, request: Request) -> StatusCode {
    if request.method() != Method::POST || request.uri().path() != "/hooks/git" {
        return StatusCode::NOT_FOUND;
    }
    let (head, body) = request.into_parts();
    let Some(proof) = Proof::of(&head.headers) else { return StatusCode::UNAUTHORIZED };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return StatusCode::PAYLOAD_TOO_LARGE;
    }
    let secret = match (serving.secret)() {
        Ok(secret) => secret,
        Err(why) => {
            tracing::error!("a webhook cannot be checked: {why}");
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
    };
    match proof.holds(body, &secret).await {
        Some(true) => {
            serving.look.notify_one();
            StatusCode::NO_CONTENT
        }
        Some(false) => StatusCode::UNAUTHORIZED,
        None => StatusCode::PAYLOAD_TOO_LARGE,
    }
}

/// What a sender says to show that it knows the secret.
enum Proof {
    /// Of the body, as GitHub, Gitea and Forgejo make it.
    Signature(Vec<u8>),
    /// The secret itself, as GitLab sends it.
    Secret(Vec<u8>),
}

impl Proof {
    /// `None` where there is none: then not a byte of the body is read.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let github = value("x-hub-signature-256").and_then(|value| value.strip_prefix("sha256="));
        let signature = github.or_else(|| value("x-gitea-signature")).and_then(|hexed| hex::decode(hexed).ok());
        let token = || headers.get("x-gitlab-token").map(|token| Self::Secret(token.as_bytes().to_vec()));
        signature.map(Self::Signature).or_else(token)
    }

    /// Whether it shows that; all comparisons take the same time wherever they differ. `None`: the body is too large, or ends
    /// early.
    async fn holds(&self, body: Body, secret: &SecretString) -> Option<bool> {
        let secret = secret.expose_secret().as_bytes();
        if secret.is_empty() {
            return Some(false);
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        let signature = match self {
            Self::Signature(signature) => signature,
            Self::Secret(token) => {
                // equal MACs mean equal texts, of whatever length
                let same = mac.clone().chain_update(secret).finalize().into_bytes();
                mac.update(token);
                return Some(mac.verify_slice(&same).is_ok());
            }
        };
        let (mut chunks, mut size) = (body.into_data_stream(), 0);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.ok()?;
            size += chunk.len();
            if size > MAX_BODY {
                return None;
            }
            mac.update(&chunk);
        }
        Some(mac.verify_slice(signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_knows_the_secret_is_heard() {
        // GitHub's own example of its documentation
        let (secret, body) = ("It's a Secret to Everybody", &b"Hello, World!"[..]);
        let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let heard = async |name: &'static str, value: &str, secret: &str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            let Some(proof) = Proof::of(&headers) else { return false };
            proof.holds(Body::from(body), &secret.to_owned().into()).await == Some(true)
        };
        assert!(heard("x-hub-signature-256", &format!("sha256={signature}"), secret).await);
        assert!(heard("x-gitea-signature", signature, secret).await);
        assert!(heard("x-gitlab-token", secret, secret).await);
        for (name, value) in [
            ("x-hub-signature-256", signature),
            ("x-hub-signature-256", "sha256="),
            ("x-gitea-signature", &signature.replace('7', "8")),
            ("x-gitea-signature", "no hex"),
            ("x-gitlab-token", "It's a Secret to Everybod"),
            ("x-gitlab-token", ""),
            ("host", secret),
        ] {
            assert!(!heard(name, value, secret).await, "{name}: {value}");
        }
        assert!(!heard("x-gitlab-token", "", "").await, "an empty secret is none");
    }
}
