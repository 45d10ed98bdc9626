//! What `aam doctor` asks the adapters, one question each: none needs the others to be well, and none changes anything
//! but that it may start the private cluster, as every command does.

mod airbyte;

use std::path::{Path, PathBuf};

use crate::connector::Programs;
use crate::engine::embedded;
use crate::ports::{EndpointHandle, EngineError, Registry, RegistryError, Repo, RepoError, SecretError, Secrets};
use crate::registry::{Facts, ManagedCluster, PgRegistry, probe, probe_url};
use crate::repo::git;
use crate::secrets::{LocalSecrets, resolve_text};
use crate::settings::Settings;
use crate::spec::Endpoint;

pub use crate::repo::git::Below;
pub use airbyte::{Facts as AirbyteFacts, Installation, Seen as SeenWorkspace, Trouble as AirbyteTrouble, airbyte};

/// The version of the `git` program.
pub async fn git_version(root: &Path) -> Result<String, RepoError> {
    git::version(root).await
}

/// What git makes of a folder that exists.
pub async fn folder_in_git(folder: &Path) -> Result<Below, RepoError> {
    git::below(folder).await
}

/// The configuration repository.
pub async fn repository(base: &Path, settings: &Settings, state: &Path) -> Result<std::sync::Arc<dyn Repo>, RepoError> {
    Ok(super::repo::open(base, settings, state).await?.repo(None))
}

/// Whether the repository's remote would take a repair branch; in words why not.
pub async fn may_push(base: &Path, settings: &Settings, state: &Path) -> Result<Result<(), String>, RepoError> {
    super::repo::clone(base, settings, state).await?.may_push().await
}

/// Where the files that specs name relatively are.
pub fn root(base: &Path, settings: &Settings) -> PathBuf {
    super::repo::root(base, settings)
}

/// The folder and major version of the PostgreSQL binaries that the private cluster uses.
pub fn binaries(state: &Path) -> Result<(PathBuf, u32), RegistryError> {
    ManagedCluster::binaries(state)
}

/// A registry that answered; [`Answering::close`] when done.
pub struct Answering {
    /// What its database says of itself.
    pub facts: Facts,
    /// The registry, if its schema is that of this binary.
    pub registry: Option<Box<dyn Registry>>,
    cluster: Option<ManagedCluster>,
}

impl Answering {
    /// Leaves the private cluster; stops it if nobody else uses it.
    pub async fn close(self) -> Result<(), RegistryError> {
        drop(self.registry);
        if let Some(cluster) = self.cluster {
            cluster.stop().await?;
        }
        Ok(())
    }
}

/// Asks the registry; `None`: it is a private cluster that no command has made yet. Never migrates.
pub async fn registry(settings: &Settings, root: &Path, state: &Path) -> anyhow::Result<Option<Answering>> {
    if let Some(url) = &settings.registry.url {
        let url = resolve_text(url, root, |name| std::env::var(name).ok())?;
        let url = secrecy::ExposeSecret::expose_secret(&url);
        let facts = probe_url(url).await?;
        let current = facts.schema == facts.newest;
        let registry =
            if current { Some(Box::new(PgRegistry::connect(url).await?) as Box<dyn Registry>) } else { None };
        return Ok(Some(Answering { facts, registry, cluster: None }));
    }
    if !ManagedCluster::is_made(state) {
        return Ok(None);
    }
    let cluster = ManagedCluster::start(state).await?;
    let asked = async {
        cluster.ensure_database("aam").await?;
        let facts = probe(cluster.options("aam")).await?;
        let current = facts.schema == facts.newest;
        let registry = if current {
            Some(Box::new(PgRegistry::open(cluster.options("aam")).await?) as Box<dyn Registry>)
        } else {
            None
        };
        Ok::<_, RegistryError>((facts, registry))
    };
    match asked.await {
        Ok((facts, registry)) => Ok(Some(Answering { facts, registry, cluster: Some(cluster) })),
        Err(error) => {
            cluster.stop().await?;
            Err(error.into())
        }
    }
}

/// Fills in an endpoint's secrets. The key of fingerprints is not needed for that, so none is made.
pub fn resolve(endpoint: &Endpoint, root: &Path) -> Result<EndpointHandle, SecretError> {
    let nowhere = tempfile::tempdir()
        .map_err(|e| SecretError { reference: endpoint.name.to_string(), why: format!("no temporary folder: {e}") })?;
    let secrets = LocalSecrets::open(root, nowhere.path(), super::app::environment())?;
    let config = secrets.resolve(&endpoint.config)?;
    Ok(EndpointHandle {
        id: None,
        name: endpoint.name.to_string(),
        tenant: endpoint.name.tenant.clone(),
        connector: endpoint.connector.clone(),
        config,
        airbyte: endpoint.airbyte.clone(),
    })
}

/// What the settings let run as connectors; manifests lie below the configuration root.
pub fn programs(settings: &Settings, root: &Path) -> Programs {
    Programs { allowed: settings.engine.commands.clone(), root: root.to_owned() }
}

/// Why the manifest of a connector that is a program cannot be used, if so.
pub fn manifest_problem(root: &Path, manifest: &str) -> Option<String> {
    crate::connector::manifest(root, manifest).err()
}

/// Tries a source.
pub async fn check_source(source: &EndpointHandle, settings: &Settings, root: &Path) -> Result<(), EngineError> {
    embedded::check_source(source, &programs(settings, root)).await
}

/// Tries a destination.
pub async fn check_destination(destination: &EndpointHandle) -> Result<(), EngineError> {
    embedded::check_destination(destination).await
}

/// Watches these folders for a moment, as the daemon does.
pub fn watch(folders: &[PathBuf]) -> Result<(), String> {
    use notify::Watcher as _;
    let mut watcher = notify::recommended_watcher(|_| {}).map_err(|e| e.to_string())?;
    folders.iter().try_for_each(|folder| {
        watcher.watch(folder, notify::RecursiveMode::Recursive).map_err(|e| format!("{}: {e}", folder.display()))
    })
}

/// The folders below the configuration root that hold files of ours.
pub fn spec_folders() -> impl Iterator<Item = &'static str> {
    crate::repo::FOLDERS.into_iter()
}
