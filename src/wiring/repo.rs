//! The configuration repository that the settings name: the one that holds the root, or the clone of a remote.

use std::path::{Component, Path, PathBuf};

use secrecy::SecretString;

use crate::ports::{Remedy, RepoError};
use crate::repo::Opened;
use crate::repo::git::{Access, GitRepo, Login, Remote, common_dir};
use crate::secrets::resolve_text;
use crate::settings::Settings;

/// Where the files that specs name relatively are. A remote's repository is not checked out, so with one it is the folder
/// that `aam` was started for, whose settings are read there, too.
pub(super) fn root(base: &Path, settings: &Settings) -> PathBuf {
    match settings.repository.remote {
        Some(_) => base.to_owned(),
        None => base.join(&settings.repository.root),
    }
}

/// Opens it.
pub(super) async fn open(base: &Path, settings: &Settings, state: &Path) -> Result<Opened, RepoError> {
    if settings.repository.remote.is_some() {
        return Ok(Opened::Git(Box::new(clone(base, settings, state).await?)));
    }
    crate::repo::open(&root(base, settings), branch(settings), state).await
}

/// Opens the clone of the remote that the settings name.
pub(super) async fn clone(base: &Path, settings: &Settings, state: &Path) -> Result<GitRepo, RepoError> {
    let access = access(base, settings)?;
    let desk = base.join(&settings.repository.root);
    let is_desk = desk.join("connectors.d").is_dir() && common_dir(&desk).await?.is_some();
    let prefix = below(&settings.repository.root);
    let remote = Remote::new(access, settings.repository.fetch);
    GitRepo::open_clone(remote, prefix, is_desk.then_some(desk), branch(settings), state).await
}

/// Where the configuration lies in its repository: empty, or ends with `/`.
pub(super) async fn prefix(base: &Path, settings: &Settings) -> String {
    match settings.repository.remote {
        Some(_) => below(&settings.repository.root),
        // a folder without git has no forge
        None => crate::repo::git::prefix(&root(base, settings)).await.unwrap_or_default(),
    }
}

fn below(root: &Path) -> String {
    let folders = root.components().filter(|part| matches!(part, Component::Normal(_)));
    folders.map(|part| format!("{}/", part.as_os_str().to_string_lossy())).collect()
}

fn branch(settings: &Settings) -> Option<&str> {
    Some(settings.repository.branch.as_str()).filter(|branch| !branch.is_empty())
}

fn access(base: &Path, settings: &Settings) -> Result<Access, RepoError> {
    let repository = &settings.repository;
    let wrong = |why: String| RepoError { what: "[repository]".to_owned(), why, remedy: Remedy::Person };
    let url = repository.remote_url(base).ok_or_else(|| wrong("remote cannot be used".to_owned()))?;
    let path = |value: &Option<String>| value.as_ref().map(|value| file(value, base)).transpose().map_err(wrong);
    let (user, password, base) = (repository.username.clone(), repository.password.clone(), base.to_owned());
    let login: Login = Box::new(move || {
        let Some((user, password)) = user.as_ref().zip(password.as_ref()) else { return Ok(None) };
        Ok(Some((user.clone(), secret(password, &base)?)))
    });
    Ok(Access { url, ssh_key: path(&repository.ssh_key)?, known_hosts: path(&repository.known_hosts)?, login })
}

/// What a setting refers to, read now.
pub(super) fn secret(text: &str, base: &Path) -> Result<SecretString, String> {
    resolve_text(text, base, |name| std::env::var(name).ok()).map_err(|e| e.to_string())
}

/// The file that a path or a reference names. It is handed on as it is: no copy of a key is ever made.
fn file(text: &str, base: &Path) -> Result<PathBuf, String> {
    let reference = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let path = match reference.map(|reference| reference.split_once(':')) {
        None => PathBuf::from(text),
        Some(Some(("file", path))) => PathBuf::from(path),
        Some(Some(("credential", name))) if !name.contains('/') && !name.starts_with('.') => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
            let folder = folder.ok_or("aam does not run under systemd with LoadCredential=")?;
            PathBuf::from(folder).join(name)
        }
        Some(_) => return Err(format!("`{}` names no file", text.escape_debug())),
    };
    std::path::absolute(base.join(path)).map_err(|e| e.to_string())
}
