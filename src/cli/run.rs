//! `aam run`: the daemon.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::{Context, Exit};
use crate::daemon::{self, Pace, Parts};
use crate::wiring;

/// Run the daemon in the foreground
///
/// Reconciles on commits, file changes and schedules. SIGHUP reloads the settings and looks at the remote, SIGTERM stops.
#[derive(Debug, Args)]
pub struct Run {}

/// Runs `aam run`.
pub async fn run(_: &Run, context: &Context) -> anyhow::Result<Exit> {
    let settings = wiring::settings(&context.root, context.config.as_deref())?;
    crate::telemetry::start(&settings.log)?;
    let app = Arc::new(wiring::open(&context.root, context.config.as_deref()).await?);
    let _only = wiring::daemon_lock(&app.state)?;
    let daemon = &app.settings.daemon;
    let (root, config) = (context.root.clone(), context.config.clone());
    let engine = app.clone();
    let parts = Parts {
        reconciler: app.reconciler.clone(),
        watch: wiring::watch_paths(&context.root, &app.settings).await?,
        hook: wiring::hook(&context.root, &app.settings),
        socket: wiring::control_socket(&app.state)?,
        pace: Pace {
            tick: daemon.tick,
            quiet: daemon.quiet,
            burst_max: daemon.burst_max,
            rescan: daemon.rescan,
            grace: daemon.shutdown_grace,
        },
        looks_at_once: wiring::looks_at_once(&app.settings),
        reload: Box::new(move || {
            wiring::settings(&root, config.as_deref()).map(|s| wiring::policy(&s)).map_err(|e| format!("{e:#}"))
        }),
        stop_engine: Box::new(move || {
            let app = engine.clone();
            Box::pin(async move { app.stop_engine().await })
        }),
    };
    let ended = daemon::run(parts).await;
    if let Some(app) = Arc::into_inner(app) {
        app.close_now().await.context("stopping")?;
    }
    ended.context("running the daemon")?;
    Ok(Exit::InSync)
}
