//! A whole `aam`: settings, adapters and the loop, joined.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::embedded::EmbeddedEngine;
use crate::plan::{Confirmed, Limits};
use crate::ports::{Clock, Registry, Repo};
use crate::reconcile::{Doors, Policy, Reconciler};
use crate::registry::{ManagedCluster, PgRegistry};
use crate::secrets::{LocalSecrets, resolve_text};
use crate::settings::Settings;
use crate::spec::Schedule;
use anyhow::Context as _;
use chrono::{DateTime, Utc};

/// The machine's clock.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        // Microseconds: what PostgreSQL keeps, so that a time read back equals the one written.
        let now = Utc::now();
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }
}

/// Settings, adapters and the loop. [`App::close`] when done: a cluster that this process started is stopped with it.
pub struct App {
    /// The settings in force.
    pub settings: Settings,
    /// The loop.
    pub reconciler: Arc<Reconciler>,
    /// Where caches, sockets and the private cluster are.
    pub state: PathBuf,
    engine: EmbeddedEngine,
    cluster: Option<ManagedCluster>,
}

impl App {
    /// Opens repository, registry and engine. Starts the private cluster if no registry URL is set and none runs.
    pub async fn open(root: &Path, settings: Settings) -> anyhow::Result<Self> {
        let state = root.join(&settings.state.directory);
        let root = root.join(&settings.repository.root);
        let root = std::fs::canonicalize(&root)
            .with_context(|| format!("opening the configuration repository {}", root.display()))?;
        std::fs::create_dir_all(&state).with_context(|| format!("making the state folder {}", state.display()))?;
        let state = std::fs::canonicalize(&state)?;
        let secrets = LocalSecrets::open(&root, &state, environment())?;
        let branch = Some(settings.repository.branch.as_str()).filter(|branch| !branch.is_empty());
        let repo = crate::repo::open(&root, branch, &state).await?;
        let (registry, cluster) = open_registry(&settings, &root, &state).await?;
        let engine = EmbeddedEngine::open(registry.pool().clone(), super::probe::programs(&settings, &root)).await?;
        let registry = Arc::new(registry);
        let doors = Doors {
            engine: Arc::new(engine.clone()),
            landing: Arc::new(engine.clone()),
            registry: registry.clone(),
            events: registry,
            repo,
            secrets: Arc::new(secrets),
            clock: Arc::new(SystemClock),
        };
        let holder = format!("{}:{}", std::process::id(), uuid::Uuid::now_v7().simple());
        let reconciler = Arc::new(Reconciler::new(doors, policy(&settings), holder));
        Ok(Self { settings, reconciler, state, engine, cluster })
    }

    /// The registry.
    pub fn registry(&self) -> &dyn Registry {
        &*self.reconciler.doors().registry
    }

    /// The repository.
    pub fn repo(&self) -> &dyn Repo {
        &*self.reconciler.doors().repo
    }

    /// Ends the engine's tasks at their next commit.
    pub async fn stop_engine(&self) {
        self.engine.shutdown().await;
    }

    /// Ends the engine's tasks, and the private cluster if nobody else uses it.
    pub async fn close(self) -> anyhow::Result<()> {
        self.engine.shutdown().await;
        self.close_now().await
    }

    /// [`App::close`] without waiting for the engine's tasks: they had their time to end.
    pub async fn close_now(self) -> anyhow::Result<()> {
        if let Some(cluster) = self.cluster {
            cluster.stop().await?;
        }
        Ok(())
    }
}

async fn open_registry(
    settings: &Settings,
    root: &Path,
    state: &Path,
) -> anyhow::Result<(PgRegistry, Option<ManagedCluster>)> {
    if let Some(url) = &settings.registry.url {
        let url = resolve_text(url, root, |name| std::env::var(name).ok())?;
        return Ok((PgRegistry::connect(secrecy::ExposeSecret::expose_secret(&url)).await?, None));
    }
    let cluster = ManagedCluster::start(state).await?;
    let open = async {
        cluster.ensure_database("aam").await?;
        PgRegistry::open(cluster.options("aam")).await
    };
    match open.await {
        Ok(registry) => Ok((registry, Some(cluster))),
        Err(error) => {
            cluster.stop().await?;
            Err(error.into())
        }
    }
}

/// What the settings say about the loop.
pub fn policy(settings: &Settings) -> Policy {
    Policy {
        mode_cap: settings.engine.mode,
        look: Schedule::Every(settings.drift.check),
        limits: Limits {
            max_open: settings.drift.max_open as usize,
            budget_min: settings.safety.change_budget_min as usize,
            budget_percent: settings.safety.change_budget_percent as usize,
            confirmed: Confirmed::Nothing,
        },
        lease_ttl: settings.daemon.lease_ttl,
    }
}

/// This process' environment, as far as it is text.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
