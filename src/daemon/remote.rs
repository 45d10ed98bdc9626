//! Looks at the repository's remote: on its interval, and whenever somebody says that something moved there.
//!
//! A task of its own, so that a remote that hangs delays no turn. It wakes the loop when a branch moved, and when the
//! remote went or came back, since what is pushed waits for it.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::ports::Repo;

/// The shortest pause between two looks, however often somebody asks (1 s).
const PAUSE: Duration = Duration::from_secs(1);

/// Looks until `stop`. Without a remote it only waits.
pub(super) async fn follow(
    repo: Arc<dyn Repo>,
    look: Arc<Notify>,
    moved: mpsc::Sender<()>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let following = async {
        let mut trouble: Option<String> = None;
        loop {
            let fetched = repo.fetch().await;
            match (&fetched, &trouble) {
                (Ok(true), _) => tracing::info!("the remote moved: what it has is fetched"),
                (Ok(false), Some(_)) => tracing::info!("the remote can be looked at again"),
                (Err(error), known) if known.as_ref() != Some(&error.why) => {
                    tracing::warn!("{error}; what was fetched before stays in force");
                }
                _ => {}
            }
            let now = fetched.as_ref().err().map(|error| error.why.clone());
            if matches!(fetched, Ok(true)) || now.is_some() != trouble.is_some() {
                // Full means that a wake waits already.
                let _ = moved.try_send(());
            }
            trouble = now;
            tokio::time::sleep(PAUSE).await;
            let next = repo.info().await.ok().and_then(|info| info.remote).and_then(|remote| remote.next_at);
            let rest = next.map_or(Duration::from_secs(60), |at| (at - Utc::now()).to_std().unwrap_or_default());
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = look.notified() => {}
            }
        }
    };
    stop.run_until_cancelled(following).await;
    Ok(())
}
