//! What `[repository]` must and must not hold.

use std::path::{Component, Path};

use super::{Repository, Settings};
use crate::diag::{Diagnostic, Place};
use crate::model::{RemoteUrl, Transport};

impl Repository {
    /// The remote, if there is one. Settings that were loaded hold none that cannot be used.
    pub fn remote_url(&self, base: &Path) -> Option<RemoteUrl> {
        url_of(self.remote.as_ref()?, base).ok()
    }
}

/// A path without a scheme may be relative to the folder that `aam` was started for.
fn url_of(text: &str, base: &Path) -> Result<RemoteUrl, String> {
    let relative = ["./", "../"].iter().any(|start| text.starts_with(start));
    let joined = || std::path::absolute(base.join(text)).ok().and_then(|path| path.into_os_string().into_string().ok());
    let text = match relative {
        true => joined().ok_or("its path cannot be made absolute")?,
        false => text.to_owned(),
    };
    RemoteUrl::parse(&text).map_err(|why| why.to_string())
}

/// Everything that is missing or cannot be, at once. `place` finds the place of a key that a file sets.
pub(super) fn check(settings: &Settings, base: &Path, place: impl Fn(&str) -> Option<Place>) -> Vec<Diagnostic> {
    let repository = &settings.repository;
    let mut problems = Vec::new();
    let mut add = |key: &str, why: &str, help: Option<&str>| {
        let problem = Diagnostic::error("AAM-C002", format!("`repository.{key}`: {why}"));
        let problem = Diagnostic { place: place(&format!("repository.{key}")), ..problem };
        problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    };
    if repository.branch.starts_with('-') || repository.branch.chars().any(char::is_control) {
        add("branch", "the name of a branch neither begins with `-` nor holds a control character", None);
    }
    let Some(remote) = &repository.remote else { return problems };
    let whole = Component::CurDir;
    if !repository.root.components().all(|part| part == whole || matches!(part, Component::Normal(_))) {
        add("root", "with a remote it is a folder of the repository, and leads neither up nor elsewhere", None);
    }
    let transport = match url_of(remote, base) {
        Ok(url) => url.transport(),
        Err(why) => {
            add("remote", &why, Some("for example `ssh://git@git.example.com/team/config.git`"));
            return problems;
        }
    };
    let by_http = matches!(transport, Transport::Http | Transport::Https);
    if by_http && repository.username.is_some() != repository.password.is_some() {
        let missing = if repository.username.is_some() { "password" } else { "username" };
        let help = "for a token, the forge says which name goes with it";
        add("remote", &format!("`repository.{missing}` is not set, and one needs the other"), Some(help));
    }
    for (key, value) in [("ssh_key", &repository.ssh_key), ("known_hosts", &repository.known_hosts)] {
        let Some(value) = value else { continue };
        if value.contains("-----BEGIN") || value.contains("${env:") {
            let help = "write its path, `${file:PATH}` or `${credential:NAME}`: ssh reads the file itself, so that no copy is made";
            add(key, "a file is expected, and not what is in it", Some(help));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file with these lines in `[repository]`.
    fn said(lines: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.toml"), format!("[repository]\n{lines}\n")).unwrap();
        let problems = Settings::load(dir.path(), Some(Path::new("x.toml")), [], &[]).err().unwrap_or_default();
        let line = |d: &Diagnostic| {
            let at = d.place.as_ref().map_or(0, |place| place.line);
            format!("{at}: {} {} [{}]", d.code, d.message, d.help.as_deref().unwrap_or_default())
        };
        problems.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_place() {
        assert_eq!(said("remote = '../config.git'\nroot = './pipelines'\nfetch = '30s'"), "");
        assert_eq!(said("remote = 'https://h/x.git'\nusername = 'aam'\npassword = '${credential:token}'"), "");
        assert_eq!(said("remote = 'ssh://git@h/x'\nssh_key = '${file:/k}'\nknown_hosts = '/etc/known'"), "");
        let texts = [
            "remote = '--upload-pack=x'",
            "branch = '--upload-pack=x'",
            "remote = '/x'\nroot = '/y'",
            "remote = 'https://h/x.git'\nusername = 'aam'",
            "remote = 'https://h/x.git'\nusername = 'aam'\npassword = 'hunter2'",
            "remote = 'ssh://git@h/x'\nssh_key = '${env:KEY}'",
            "remote = '/x'\nwebhook_secret = 'hunter2'",
        ];
        let shown = texts.map(said).join("\n");
        assert!(!shown.contains("hunter2"));
        insta::assert_snapshot!(shown, @r#"
        2: AAM-C002 `repository.remote`: it begins with `-` [for example `ssh://git@git.example.com/team/config.git`]
        2: AAM-C002 `repository.branch`: the name of a branch neither begins with `-` nor holds a control character []
        3: AAM-C002 `repository.root`: with a remote it is a folder of the repository, and leads neither up nor elsewhere []
        2: AAM-C002 `repository.remote`: `repository.password` is not set, and one needs the other [for a token, the forge says which name goes with it]
        4: AAM-C005 `repository.password`: a secret stands here in plain text [write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed]
        3: AAM-C002 `repository.ssh_key`: a file is expected, and not what is in it [write its path, `${file:PATH}` or `${credential:NAME}`: ssh reads the file itself, so that no copy is made]
        3: AAM-C005 `repository.webhook_secret`: a secret stands here in plain text [write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed]
        "#);
    }
}
