//! Asks a running daemon.

use std::path::{Path, PathBuf};

use super::{Answer, Request};

/// A daemon that did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is there but did not answer.
    #[error("asking the daemon at {socket}")]
    Ask {
        /// Its socket.
        socket: PathBuf,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// It is stopping, or nothing can be read.
    #[error("the daemon gave no answer: it is stopping, or cannot read its registry or repository (its log says)")]
    Stopping,
}

/// A running daemon.
pub struct Control {
    socket: PathBuf,
    client: reqwest::Client,
}

impl Control {
    /// The daemon that listens there; `None` if none does (no socket, or a leftover that refuses).
    pub fn find(socket: &Path) -> Result<Option<Self>, ClientError> {
        if std::os::unix::net::UnixStream::connect(socket).is_err() {
            return Ok(None);
        }
        let client = reqwest::Client::builder().unix_socket(socket).build();
        let client = client.map_err(|source| ClientError::Ask { socket: socket.to_owned(), source })?;
        Ok(Some(Self { socket: socket.to_owned(), client }))
    }

    /// Asks and waits for the answer, however long it takes: a settled answer comes when its syncs are done.
    pub async fn ask(&self, request: &Request) -> Result<Answer, ClientError> {
        let failed = |source| ClientError::Ask { socket: self.socket.clone(), source };
        let answer = self.client.post("http://aam/v1/ask").json(request).send().await.map_err(failed)?;
        if answer.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE {
            return Err(ClientError::Stopping);
        }
        answer.error_for_status().map_err(failed)?.json().await.map_err(failed)
    }
}
