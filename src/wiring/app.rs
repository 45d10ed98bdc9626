//! A whole `aam`: settings, adapters and the loop, joined.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::airbyte::client::{Access, Manners};
use crate::engine::airbyte::landing::AirbyteLanding;
use crate::engine::airbyte::{AirbyteEngine, Place};
use crate::engine::embedded::EmbeddedEngine;
use crate::forge::{self, Credentials};
use crate::model::TenantId;
use crate::plan::{Confirmed, Limits};
use crate::ports::{Clock, EngineWrite, Forge, Landing, NewestRows, Registry, Repo, Sampler};
use crate::reconcile::{Doors, Policy, Reconciler, RequestPolicy};
use crate::registry::{ManagedCluster, PgRegistry};
use crate::secrets::{LocalSecrets, resolve_text};
use crate::settings::{ForgeKind, Settings};
use crate::spec::{EngineKind, Schedule};
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;

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
    /// The embedded engine's tasks, if it is the engine.
    embedded: Option<EmbeddedEngine>,
    cluster: Option<ManagedCluster>,
}

impl App {
    /// Opens repository, registry and engine. Starts the private cluster if no registry URL is set and none runs.
    pub async fn open(root: &Path, settings: Settings) -> anyhow::Result<Self> {
        let state = root.join(&settings.state.directory);
        let base = root;
        let root = super::repo::root(base, &settings);
        let root = std::fs::canonicalize(&root)
            .with_context(|| format!("opening the configuration repository {}", root.display()))?;
        std::fs::create_dir_all(&state).with_context(|| format!("making the state folder {}", state.display()))?;
        let state = std::fs::canonicalize(&state)?;
        let secrets = LocalSecrets::open(&root, &state, environment())?;
        let repo = super::repo::open(base, &settings, &state).await?;
        let (registry, cluster) = open_registry(&settings, &root, &state).await?;
        let registry = Arc::new(registry);
        let (engine, landing, embedded): (Arc<dyn EngineWrite>, Arc<dyn Landing>, Option<EmbeddedEngine>) =
            match settings.engine.kind {
                EngineKind::Embedded => {
                    let engine =
                        EmbeddedEngine::open(registry.pool().clone(), super::probe::programs(&settings, &root)).await?;
                    let engine = engine.with_ttl(settings.daemon.lease_ttl);
                    (Arc::new(engine.clone()), Arc::new(engine.clone()), Some(engine))
                }
                EngineKind::Airbyte => (Arc::new(airbyte(&settings, &root)?), Arc::new(AirbyteLanding), None),
            };
        let doors = Doors {
            engine,
            landing,
            newest: embedded.is_none().then(|| Arc::new(AirbyteLanding) as Arc<dyn NewestRows>),
            sampler: embedded.clone().map(|engine| Arc::new(engine) as Arc<dyn Sampler>),
            registry: registry.clone(),
            events: registry.clone(),
            repo: repo.repo(Some(registry)),
            forge: forge(&settings, &root, &state, &super::repo::prefix(base, &settings).await)?,
            secrets: Arc::new(secrets),
            clock: Arc::new(SystemClock),
        };
        let holder = format!("{}:{}", std::process::id(), uuid::Uuid::now_v7().simple());
        let reconciler = Arc::new(Reconciler::new(doors, policy(&settings), holder));
        Ok(Self { settings, reconciler, state, embedded, cluster })
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
        if let Some(engine) = &self.embedded {
            engine.shutdown().await;
        }
    }

    /// Ends the engine's tasks, and the private cluster if nobody else uses it.
    pub async fn close(self) -> anyhow::Result<()> {
        self.stop_engine().await;
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

/// The client of the Airbyte installation that the settings name. Nothing is sent yet.
pub fn airbyte(settings: &Settings, root: &Path) -> anyhow::Result<AirbyteEngine> {
    let airbyte = &settings.airbyte;
    let text = |value: &Option<String>| {
        value.as_ref().map(|value| resolve_text(value, root, |name| std::env::var(name).ok())).transpose()
    };
    let url = text(&airbyte.url)?.context("[airbyte] url is not set")?;
    let url = url.expose_secret().parse().context("[airbyte] url is no URL")?;
    let credentials = text(&airbyte.client_id)?.zip(text(&airbyte.client_secret)?);
    let workspaces = airbyte.workspaces.iter().map(|(tenant, id)| Ok((TenantId::new(tenant)?, *id)));
    let place = Place {
        workspaces: workspaces.collect::<anyhow::Result<_>>().context("[airbyte.workspaces]")?,
        tag: airbyte.tag.clone(),
    };
    let manners = Manners {
        calls_per_second: airbyte.calls_per_second.get(),
        slots: airbyte.slots.get() as usize,
        slow_slots: airbyte.discover_slots.get() as usize,
        quick: airbyte.deadline,
        check: airbyte.check_deadline,
        discover: airbyte.discover_deadline,
    };
    let credentials = credentials.map(|(id, secret)| (id.expose_secret().to_owned(), secret));
    Ok(AirbyteEngine::new(Access { url, credentials, manners }, place)?)
}

/// The address of a forge: what its token goes to is encrypted, or this machine.
fn forge_url(text: &str) -> anyhow::Result<reqwest::Url> {
    let url: reqwest::Url = text.parse().context("[forge] url is no URL")?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<core::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    anyhow::ensure!(
        url.scheme() == "https" || (url.scheme() == "http" && here),
        "[forge] url would show the token to everybody on the way: write https://, http:// is for this machine alone"
    );
    Ok(url)
}

/// The client of the forge that the settings name, for a configuration at this place in its repository. Nothing is sent yet.
pub fn forge(settings: &Settings, root: &Path, state: &Path, prefix: &str) -> anyhow::Result<Option<Arc<dyn Forge>>> {
    let set = &settings.forge;
    let Some(kind) = set.kind else { return Ok(None) };
    let text = |value: &Option<String>| {
        value.as_ref().map(|value| resolve_text(value, root, |name| std::env::var(name).ok())).transpose()
    };
    let url = text(&set.address().map(str::to_owned))?.context("[forge] url is not set")?;
    let credentials = match (text(&set.token)?, text(&set.private_key)?, &set.app_id, set.installation_id) {
        (Some(token), ..) => Credentials::Token(token),
        (None, Some(key), Some(id), Some(installation)) => Credentials::App { id: id.clone(), installation, key },
        _ => anyhow::bail!("[forge] has neither a token nor an app"),
    };
    let access = forge::Access {
        kind: match kind {
            ForgeKind::GitHub => forge::Kind::GitHub,
            ForgeKind::GitLab => forge::Kind::GitLab,
            ForgeKind::Gitea => forge::Kind::Gitea,
        },
        url: forge_url(url.expose_secret())?,
        project: set.project.clone().context("[forge] project is not set")?,
        prefix: prefix.to_owned(),
        state: state.to_owned(),
        credentials,
        manners: forge::Manners { deadline: set.deadline, ..forge::Manners::default() },
    };
    Ok(Some(forge::open(access)?))
}

async fn open_registry(
    settings: &Settings,
    root: &Path,
    state: &Path,
) -> anyhow::Result<(PgRegistry, Option<ManagedCluster>)> {
    if let Some(url) = &settings.registry.url {
        let url = resolve_text(url, root, |name| std::env::var(name).ok())?;
        return Ok((PgRegistry::connect(url.expose_secret()).await?, None));
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

/// How many sources the daemon looks at side by side: as many discovers as Airbyte is asked for at once, else one for each
/// of 16 sources, which are systems of their own.
pub fn looks_at_once(settings: &Settings) -> usize {
    match settings.engine.kind {
        EngineKind::Airbyte => settings.airbyte.discover_slots.get() as usize,
        EngineKind::Embedded => 16,
    }
}

/// What the settings say about the loop.
pub fn policy(settings: &Settings) -> Policy {
    Policy {
        engine: settings.engine.kind,
        mode_cap: settings.engine.mode,
        look: Schedule::Every(settings.drift.check),
        limits: Limits {
            max_open: settings.drift.max_open as usize,
            budget_min: settings.safety.change_budget_min as usize,
            budget_percent: settings.safety.change_budget_percent as usize,
            confirmed: Confirmed::Nothing,
        },
        approval: settings.approval.rules.clone(),
        automatic: settings.approval.automatic,
        lease_ttl: settings.daemon.lease_ttl,
        survey: chrono::TimeDelta::from_std(settings.airbyte.survey).unwrap_or(chrono::TimeDelta::MAX),
        requests: RequestPolicy {
            labels: settings.forge.labels.iter().cloned().collect(),
            draft: settings.forge.draft,
            every: chrono::TimeDelta::from_std(settings.forge.check).unwrap_or(chrono::TimeDelta::MAX),
            plan: settings.forge.plan,
        },
    }
}

/// This process' environment, as far as it is text.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_a_forge_encrypted_or_stays_here() {
        for good in ["https://git.example.com", "http://127.0.0.1:3000/x", "http://[::1]:3000", "http://localhost"] {
            forge_url(good).unwrap();
        }
        for bad in [
            "http://git.example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "ftp://localhost",
        ] {
            assert!(forge_url(bad).unwrap_err().to_string().contains("write https://"), "{bad}");
        }
    }
}
