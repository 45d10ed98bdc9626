//! Serves the control socket; every request is handed to the daemon's loop and waits for its answer.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Answer, Request};

/// A request with the place for its answer. Dropping it unanswered tells the client that the daemon is stopping.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// Binds the socket (a leftover of a killed daemon is replaced: the caller holds the daemon's lock) and serves until
/// `stop`.
pub async fn serve(path: &Path, asked: mpsc::Sender<Asked>, stop: CancellationToken) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let app = Router::new().route("/v1/ask", post(ask)).with_state(asked);
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
    let _ = std::fs::remove_file(path);
    served
}

async fn ask(
    State(asked): State<mpsc::Sender<Asked>>,
    Json(request): Json<Request>,
) -> Result<Json<Answer>, StatusCode> {
    let (answer, answered) = oneshot::channel();
    asked.send(Asked { request, answer }).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    answered.await.map(Json).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}
