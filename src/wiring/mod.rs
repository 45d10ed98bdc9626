//! Joins the edges with concrete adapters: the only module that names them.

mod app;
pub mod import;
pub mod probe;
mod repo;
pub mod sample;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::daemon::watch::WatchPaths;
use crate::diag::render::{Theme, terminal};
use crate::http::Hook;
use crate::ports::Snapshot;
use crate::settings::{Origins, Settings};

pub use crate::repo::git::merge_of;
pub use app::{App, forge, looks_at_once, policy};

/// Opens everything, works with it, and closes it however the work ended.
pub async fn with_app<T>(
    root: &Path,
    config: Option<&Path>,
    work: impl AsyncFnOnce(&App) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let app = open(root, config).await?;
    let worked = work(&app).await;
    app.close().await?;
    worked
}

/// Reads the files below a configuration root as they lie there, edited or not.
pub fn read_worktree(root: &Path) -> io::Result<Snapshot> {
    crate::repo::tree::read_tree(root)
}

/// Makes ring the one TLS provider of the process; without it the first client panics. Before anything else, in `main`.
pub fn install_tls() {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The settings of a configuration repository. All problems at once, rendered.
pub fn settings(root: &Path, config: Option<&Path>) -> anyhow::Result<Settings> {
    settings_with_origins(root, config).map(|(settings, _)| settings)
}

/// The configuration root that the settings name.
pub fn config_root(root: &Path, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    Ok(root.join(settings(root, config)?.repository.root))
}

/// The settings, and where each comes from.
pub fn settings_with_origins(root: &Path, config: Option<&Path>) -> anyhow::Result<(Settings, Origins)> {
    Settings::load(root, config, app::environment(), &[]).map_err(|problems| {
        let text = terminal(&problems, Theme::PLAIN);
        anyhow::anyhow!("the settings cannot be used\n{text}")
    })
}

/// Why this machine knows nothing of what runs, if so: it has no registry, and none is made for a look.
pub fn can_look(root: &Path, settings: &Settings) -> Result<(), String> {
    let state = root.join(&settings.state.directory);
    match &settings.registry.url {
        Some(url) => {
            let root = root.join(&settings.repository.root);
            let resolved = crate::secrets::resolve_text(url, &root, |name| std::env::var(name).ok());
            resolved.map(|_| ()).map_err(|error| format!("[registry] url: {error}"))
        }
        None if crate::registry::ManagedCluster::is_made(&state) => Ok(()),
        None => Err("no registry is configured, and there is none on this machine".to_owned()),
    }
}

/// Opens everything with the settings of a configuration repository.
pub async fn open(root: &Path, config: Option<&Path>) -> anyhow::Result<App> {
    App::open(root, settings(root, config)?).await
}

/// The daemon's control socket. A unix socket's path holds at most 107 bytes, so a deep state folder has it elsewhere, in a
/// folder that only this user may enter.
pub fn control_socket(state: &Path) -> io::Result<PathBuf> {
    const NAME: &str = "control.sock";
    let usual = state.join(NAME);
    if usual.as_os_str().len() <= 107 {
        return Ok(usual);
    }
    Ok(crate::registry::private_folder_for(state)?.join(NAME))
}

/// Makes sure that one daemon runs in a state folder; held until dropped.
pub fn daemon_lock(state: &Path) -> anyhow::Result<File> {
    let path = state.join("daemon.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("a daemon runs already in {}: stop it first, or use another state folder", state.display());
    }
    Ok(file)
}

/// What the daemon watches. The clone of a remote is moved by fetches alone, which tell of themselves.
pub async fn watch_paths(base: &Path, settings: &Settings) -> anyhow::Result<WatchPaths> {
    let root = base.join(&settings.repository.root);
    if settings.repository.remote.is_some() {
        return Ok(WatchPaths { root, git_common_dir: None });
    }
    let root = std::fs::canonicalize(root)?;
    let git_common_dir = crate::repo::git::common_dir(&root).await?;
    Ok(WatchPaths { root, git_common_dir })
}

/// The port for webhooks, if the settings name both where it listens and what they are signed with.
pub fn hook(base: &Path, settings: &Settings) -> Option<Hook> {
    let secret = settings.repository.webhook_secret.clone()?;
    let (listen, base) = (settings.http.listen?, base.to_owned());
    let read = move || repo::secret(&secret, &base);
    Some(Hook { listen, secret: std::sync::Arc::new(read) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_of_a_deep_state_folder_lies_where_only_its_user_may_go() {
        use std::os::unix::fs::PermissionsExt;
        let top = tempfile::tempdir().unwrap();
        assert_eq!(control_socket(top.path()).unwrap(), top.path().join("control.sock"));
        let deep = top.path().join("d".repeat(100));
        let socket = control_socket(&deep).unwrap();
        let folder = socket.parent().unwrap();
        assert!(socket.as_os_str().len() <= 107);
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::remove_dir(folder).unwrap();
        std::os::unix::fs::symlink(top.path(), folder).unwrap();
        let error = control_socket(&deep).unwrap_err().to_string();
        assert!(error.contains("is there but is no folder of user"), "{error}");
        std::fs::remove_file(folder).unwrap();
    }
}
