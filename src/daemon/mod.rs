//! The daemon: wakes the loop on file changes, commits, time, signals and asks; starts and supervises every task.
//!
//! Events only wake the loop. Each turn gathers everything afresh, plans, and starts what is not busy already; a slow
//! source or sync keeps only its own connection busy. `watch` tells when files or branches may have changed, `remote`
//! when the repository's remote moved.

mod looks;
mod remote;
mod tasks;
mod turn;
pub mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::http::{Asked, Hook, serve, serve_hook};
use crate::reconcile::{Policy, Reconciler};
use turn::Loop;
use watch::{WatchPaths, Watcher};

/// Everything the daemon runs with.
pub struct Parts {
    /// The loop.
    pub reconciler: Arc<Reconciler>,
    /// What to watch.
    pub watch: WatchPaths,
    /// The control socket.
    pub socket: PathBuf,
    /// The port for webhooks, if there is one.
    pub hook: Option<Hook>,
    /// Times.
    pub pace: Pace,
    /// How many sources are looked at side by side; other work does not count.
    pub looks_at_once: usize,
    /// Reads the settings anew on SIGHUP; an error keeps the old ones and is logged.
    pub reload: Box<dyn Fn() -> Result<Policy, String> + Send + Sync>,
    /// Ends the engine's tasks at their next commit.
    pub stop_engine: Box<dyn Fn() -> futures_util::future::BoxFuture<'static, ()> + Send + Sync>,
}

/// Times of the loop.
#[derive(Debug, Clone)]
pub struct Pace {
    /// How often time alone may wake the loop.
    pub tick: Duration,
    /// Quiet that ends a burst of file events.
    pub quiet: Duration,
    /// The longest a burst may last.
    pub burst_max: Duration,
    /// How often the watched folders are compared with what the events told.
    pub rescan: Duration,
    /// How long a stop may take.
    pub grace: Duration,
}

/// Everything the loop reacts to.
enum Event {
    /// Files or branches may have changed.
    Wake,
    /// The engine was looked at as a whole, the remote moved, or the forge told of a decision.
    Looked,
    /// Time passed.
    Tick,
    /// A task ended.
    Done(tasks::Finished),
    /// A command asks.
    Asked(Asked),
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
    /// The watcher or a socket ended by itself.
    Lost(String),
}

/// How often systemd hears of a turn that takes long.
const PULSE: Duration = Duration::from_secs(5);

/// Looks at the whole engine whenever that is due, beside the turns: an engine that hangs delays none. Each look that was
/// made wakes the loop.
async fn survey(
    reconciler: &Reconciler,
    tick: Duration,
    looked: mpsc::Sender<()>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let looking = async {
        loop {
            match reconciler.survey().await {
                Ok(true) => drop(looked.send(()).await),
                Ok(false) => {}
                Err(error) => tracing::warn!("the engine could not be looked at: {error}"),
            }
            tokio::time::sleep(tick).await;
        }
    };
    stop.run_until_cancelled(looking).await;
    Ok(())
}

/// Looks at the requests on the forge whenever that is due, beside the turns, like [`survey`]. A decision that was read there
/// wakes the loop.
async fn requests(
    reconciler: &Reconciler,
    tick: Duration,
    decided: mpsc::Sender<()>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let looking = async {
        loop {
            match reconciler.requests().await {
                Ok(true) => drop(decided.send(()).await),
                Ok(false) => {}
                Err(error) => tracing::warn!("the requests could not be looked at: {error}"),
            }
            tokio::time::sleep(tick).await;
        }
    };
    stop.run_until_cancelled(looking).await;
    Ok(())
}

/// Runs until SIGTERM or SIGINT: then no new step begins, running ones get `grace` to end. A second signal ends at once.
/// What was cut off is resumed by the next start.
pub async fn run(parts: Parts) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let (asked, mut asks) = mpsc::channel(64);
    let mut services: JoinSet<std::io::Result<()>> = JoinSet::new();
    let (socket, stopped) = (parts.socket.clone(), stop.clone());
    services.spawn(async move { serve(&socket, asked, stopped).await });
    let (_watcher, mut wakes) = Watcher::start(&parts.watch, parts.pace.quiet, parts.pace.burst_max, parts.pace.rescan);
    let (looked, mut looks) = mpsc::channel(1);
    parts.reconciler.survey_apart();
    let (reconciler, stopped) = (parts.reconciler.clone(), stop.clone());
    let decided = looked.clone();
    services.spawn(async move { survey(&reconciler, parts.pace.tick, looked, stopped).await });
    let (fetched, mut fetches) = mpsc::channel(1);
    let look = Arc::new(Notify::new());
    let repo = parts.reconciler.doors().repo.clone();
    services.spawn(remote::follow(repo, look.clone(), fetched, stop.clone()));
    if let Some(hook) = parts.hook {
        services.spawn(serve_hook(hook, look.clone(), stop.clone()));
    }
    let (reconciler, stopped) = (parts.reconciler.clone(), stop.clone());
    services.spawn(async move { requests(&reconciler, parts.pace.tick, decided, stopped).await });
    let mut work = Loop::new(parts.reconciler.clone(), parts.looks_at_once);
    let mut tick = tokio::time::interval(parts.pace.tick);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    notify_systemd(&[NotifyState::Ready]);
    tracing::info!("aam is running");
    loop {
        let event = tokio::select! {
            biased;
            _ = terminate.recv() => Event::Stop,
            _ = interrupt.recv() => Event::Stop,
            _ = hangup.recv() => Event::Reload,
            done = work.next_done() => Event::Done(done),
            Some(asked) = asks.recv() => Event::Asked(asked),
            Some(()) = looks.recv() => Event::Looked,
            Some(()) = fetches.recv() => Event::Looked,
            wake = wakes.recv() => wake.map_or_else(|| Event::Lost("the file watcher ended".into()), |_| Event::Wake),
            Some(ended) = services.join_next() => Event::Lost(format!("a socket ended: {ended:?}")),
            _ = tick.tick() => Event::Tick,
        };
        let react = async {
            match event {
                Event::Wake => {
                    work.turn().await;
                    work.show_uncommitted().await;
                }
                Event::Looked => work.turn().await,
                Event::Tick => work.tick().await,
                Event::Done(done) => {
                    work.finished(&done);
                    work.turn().await;
                }
                Event::Asked(asked) => work.asked(asked).await,
                Event::Reload => {
                    look.notify_one();
                    reload(&parts.reload, &parts.reconciler, &mut work).await;
                }
                Event::Lost(what) => return Err(std::io::Error::other(what)),
                Event::Stop => return Ok(true),
            }
            Ok(false)
        };
        // A turn may be dropped where it waits: it only reads until its items are started, and starting does not wait.
        let stopping = tokio::select! {
            biased;
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            stopping = react => stopping?,
            () = pulse() => unreachable!("it beats for ever"),
        };
        if stopping {
            break;
        }
        notify_systemd(&[NotifyState::Watchdog]);
    }
    notify_systemd(&[NotifyState::Stopping]);
    tracing::info!("stopping: running steps get {:?} to end", parts.pace.grace);
    stop.cancel();
    let ending = async {
        (parts.stop_engine)().await;
        work.drain().await;
    };
    tokio::select! {
        ended = tokio::time::timeout(parts.pace.grace, ending) => {
            if ended.is_err() {
                tracing::warn!("steps were still running after {:?}; the next start resumes them", parts.pace.grace);
            }
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Tells systemd for ever that the daemon lives, however long a registry takes to answer.
async fn pulse() {
    loop {
        tokio::time::sleep(PULSE).await;
        notify_systemd(&[NotifyState::Watchdog]);
    }
}

async fn reload(read: &(dyn Fn() -> Result<Policy, String> + Send + Sync), reconciler: &Reconciler, work: &mut Loop) {
    if let Ok(reloading) = NotifyState::monotonic_usec_now() {
        notify_systemd(&[NotifyState::Reloading, reloading]);
    }
    match read() {
        Ok(policy) => {
            reconciler.set_policy(policy);
            reconciler.forget_secrets(None);
            tracing::info!("settings reloaded");
        }
        Err(why) => tracing::error!("settings not reloaded, the old ones stay in force: {why}"),
    }
    work.turn().await;
    notify_systemd(&[NotifyState::Ready]);
}

/// Tells systemd, if it listens.
fn notify_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {error}");
    }
}
