//! `[forge]`: where people review, and what it must and must not hold.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Settings, duration};
use crate::diag::{Diagnostic, Place};

/// Where people review.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Forge {
    /// Which; absent: none, and nothing else counts.
    pub kind: Option<ForgeKind>,
    /// Its web address, where it is not the one that everybody uses.
    pub url: Option<String>,
    /// `owner/name`
    pub project: Option<String>,
    /// A token, as references.
    pub token: Option<String>,
    /// Of a GitHub App.
    pub app_id: Option<String>,
    /// The app's installation for the project's owner.
    pub installation_id: Option<u64>,
    /// The app's private key as PEM, as references.
    pub private_key: Option<String>,
    /// Labels that each request has.
    pub labels: Vec<String>,
    /// Whether requests are opened as drafts.
    pub draft: bool,
    /// Whether the plan is told on the requests of people.
    pub plan: bool,
    /// How often requests are looked at.
    #[serde(with = "duration")]
    pub check: Duration,
    /// How long a call may take.
    #[serde(with = "duration")]
    pub deadline: Duration,
}

/// Which forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForgeKind {
    /// GitHub, Enterprise too.
    GitHub,
    /// GitLab.
    GitLab,
    /// Gitea or Forgejo.
    Gitea,
}

impl ForgeKind {
    /// Where everybody's is, if there is such a one.
    fn usual(self) -> Option<&'static str> {
        match self {
            Self::GitHub => Some("https://github.com"),
            Self::GitLab => Some("https://gitlab.com"),
            Self::Gitea => None,
        }
    }

    /// Where a token is made.
    fn token_from(self) -> &'static str {
        match self {
            Self::GitHub => {
                "GitHub makes one under Settings, Developer settings, Fine-grained tokens: this repository, with Contents, \
                 Pull requests and Commit statuses for reading and writing"
            }
            Self::GitLab => {
                "GitLab makes one in the project's Settings, Access tokens: the role Developer and the scope `api`"
            }
            Self::Gitea => {
                "Gitea makes one under Settings, Applications: the scopes `write:repository`, `write:issue` and `read:user`"
            }
        }
    }
}

impl Default for Forge {
    fn default() -> Self {
        Self {
            kind: None,
            url: None,
            project: None,
            token: None,
            app_id: None,
            installation_id: None,
            private_key: None,
            labels: vec!["aam".to_owned()],
            draft: false,
            plan: true,
            check: Duration::from_secs(30),
            deadline: Duration::from_secs(30),
        }
    }
}

impl std::fmt::Debug for Forge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forge").field("kind", &self.kind).field("project", &self.project).finish_non_exhaustive()
    }
}

impl Forge {
    /// Its web address: as set, or the one that everybody uses.
    pub fn address(&self) -> Option<&str> {
        given(&self.url).or_else(|| self.kind?.usual())
    }
}

/// Project and, where it is not the one that everybody uses, address, as `[repository] remote` tells them: where the project
/// is left out, which an own address may still go with. Nothing is guessed where they could be several things.
pub(super) fn derived(settings: &Settings, base: &Path) -> Vec<(&'static str, String)> {
    let forge = &settings.forge;
    let remote = settings.repository.remote_url(base);
    let (Some(kind), None, Some(remote)) = (forge.kind, given(&forge.project), remote) else { return Vec::new() };
    let Some((host, path)) = remote.server() else { return Vec::new() };
    let path = path.trim_matches('/');
    let mut path = path.strip_suffix(".git").unwrap_or(path);
    let web = |address: &str| address.split_once("://").map(|(_, rest)| rest.trim_end_matches('/').to_owned());
    let mut found = Vec::new();
    match given(&forge.url) {
        Some(url) => {
            // it may lie below a folder of the server, and then so does what is cloned by HTTP
            let below = web(url).and_then(|web| Some(format!("{}/", web.split_once('/')?.1)));
            path = below.and_then(|below| path.strip_prefix(below.as_str())).unwrap_or(path);
        }
        None => {
            // github.com and gitlab.com take ssh at a name of its own, too, where its port is closed
            let usual = kind.usual().and_then(web);
            let is = |usual: &String| {
                [usual.clone(), format!("ssh.{usual}"), format!("altssh.{usual}")].contains(&host.to_owned())
            };
            if !usual.as_ref().is_some_and(is) {
                let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                found.push(("forge.url", remote.origin().unwrap_or_else(|| format!("https://{shown}"))));
            }
        }
    }
    let parts = path.split('/').count();
    if parts == 2 || (parts > 2 && kind == ForgeKind::GitLab) {
        found.push(("forge.project", path.to_owned()));
        return found;
    }
    Vec::new()
}

fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.trim().is_empty())
}

/// Everything that is missing or cannot be, at once. `place` finds the place of a key that a file sets.
pub(super) fn check(settings: &Settings, place: impl Fn(&str) -> Option<Place>) -> Vec<Diagnostic> {
    let forge = &settings.forge;
    let mut problems = Vec::new();
    let mut add = |key: &str, problem: Diagnostic| problems.push(Diagnostic { place: place(key), ..problem });
    let wrong = |key: &str, why: &str| Diagnostic::error("AAM-C002", format!("`{key}`: {why}"));
    let missing = |key: &str, help: &str| {
        Diagnostic::error("AAM-C004", format!("`forge.{key}` is not set, which a forge needs")).help(help)
    };
    let (token, app, key) = (given(&forge.token), given(&forge.app_id), given(&forge.private_key));
    let (project, installation) = (given(&forge.project), forge.installation_id);
    let Some(kind) = forge.kind else {
        let set = [("url", given(&forge.url)), ("project", project), ("token", token), ("app_id", app)];
        if let Some((first, _)) = set.iter().find(|(_, value)| value.is_some()) {
            add(&format!("forge.{first}"), missing("kind", "\"github\", \"gitlab\" or \"gitea\""));
        }
        return problems;
    };
    match forge.address() {
        None => add("forge.kind", missing("url", "the address of its web page, `url = \"https://forge.example.com\"`")),
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") && !url.starts_with("${") => {
            let why = "an address that begins with http:// or https:// is expected";
            add("forge.url", wrong("forge.url", why).help("for example `https://forge.example.com`"));
        }
        Some(url) if url.split("://").nth(1).is_some_and(|rest| rest.split('/').next().unwrap_or("").contains('@')) => {
            add("forge.url", wrong("forge.url", "an address without a user is expected").help(kind.token_from()));
        }
        Some(_) => {}
    }
    match project {
        None => {
            let help = "as in the address of its page, `project = \"acme/data-config\"`; [repository] remote tells it, too, if it is there";
            add("forge.kind", missing("project", help));
        }
        Some(project) => {
            let parts: Vec<&str> = project.split('/').collect();
            let odd =
                |part: &&str| part.is_empty() || matches!(*part, "." | "..") || part.contains(char::is_whitespace);
            let enough = if kind == ForgeKind::GitLab { parts.len() >= 2 } else { parts.len() == 2 };
            if !enough || parts.iter().any(odd) {
                add("forge.project", wrong("forge.project", "`owner/name` is expected, as in the address of its page"));
            }
        }
    }
    let is_app = app.is_some() || key.is_some() || installation.is_some();
    match (token, is_app) {
        (None, false) => {
            let or = if kind == ForgeKind::GitHub {
                "; or set app_id, installation_id and private_key of an app"
            } else {
                ""
            };
            let help = format!("as `token = \"${{env:AAM_FORGE_TOKEN}}\"`; {}{or}", kind.token_from());
            add("forge.kind", missing("token", &help));
        }
        (Some(_), true) => add("forge.token", wrong("forge.token", "either a token or an app signs in, not both")),
        (Some(_), false) => {}
        (None, true) if kind != ForgeKind::GitHub => {
            add("forge.app_id", wrong("forge.app_id", "only GitHub has apps").help(kind.token_from()));
        }
        (None, true) => {
            const PAGE: &str = "the app's page under Settings, Developer settings, GitHub Apps shows it";
            if app.is_none() {
                add("forge.kind", missing("app_id", PAGE));
            }
            if installation.is_none() {
                add(
                    "forge.kind",
                    missing("installation_id", "the number at the end of the address of the installation's page"),
                );
            }
            if key.is_none() {
                let help = "as `private_key = \"${file:/etc/aam/app.pem}\"`; the app's page makes one";
                add("forge.kind", missing("private_key", help));
            }
        }
    }
    if forge.labels.iter().any(|label| label.trim().is_empty() || label.contains(',')) {
        add("forge.labels", wrong("forge.labels", "a label is a text without commas"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is derived from a remote for a forge with these settings.
    fn of(remote: &str, forge: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let token = if forge.contains("token") { "" } else { "token = '${env:T}'\n" };
        let file = format!("[repository]\nremote = '{remote}'\n[forge]\n{forge}{token}");
        std::fs::write(dir.path().join("x.toml"), file).unwrap();
        let from = match Settings::load(dir.path(), Some(Path::new("x.toml")), [], &[]) {
            Ok((settings, origins)) => {
                let place = |key: &str| origins.iter().find(|setting| setting.key == key).unwrap().origin.to_string();
                let forge = &settings.forge;
                format!(
                    "{} ({}) {} ({})",
                    forge.address().unwrap_or("-"),
                    place("forge.url"),
                    forge.project.as_deref().unwrap_or("-"),
                    place("forge.project")
                )
            }
            Err(problems) => problems.iter().map(|d| d.message.clone()).collect::<Vec<_>>().join("; "),
        };
        from.replace("x.toml:", "line ").replace("as repository.remote says", "remote")
    }

    #[test]
    fn the_remote_says_where_the_project_is_unless_settings_do() {
        let (github, gitlab, gitea) = ("kind = 'github'\n", "kind = 'gitlab'\n", "kind = 'gitea'\n");
        let all = [
            ("https://github.com/acme/config.git", github.to_owned()),
            ("ssh://git@github.com/acme/config.git", github.to_owned()),
            ("ssh://git@ssh.github.com:443/acme/config", github.to_owned()),
            ("https://git.example.com:8443/acme/config.git/", github.to_owned()),
            ("ssh://git@gitlab.com/group/sub/name.git", gitlab.to_owned()),
            ("ssh://git@[::1]:2222/group/sub/name.git", gitlab.to_owned()),
            ("https://forge.example.com/acme/config", gitea.to_owned()),
            (
                "https://forge.example.com/git/acme/config.git",
                format!("{gitea}url = 'https://forge.example.com/git/'\n"),
            ),
            ("ssh://git@git.example.com/acme/config", format!("{gitea}url = 'https://forge.example.com'\n")),
            ("https://mirror.example.com/acme/config.git", format!("{github}project = 'acme/other'\n")),
            ("https://forge.example.com/git/acme/config.git", gitea.to_owned()),
            ("ssh://git@github.com/config.git", github.to_owned()),
            ("/srv/acme/config.git", github.to_owned()),
            ("git@github.com:acme/config.git", github.to_owned()),
        ];
        let shown = all.map(|(remote, forge)| format!("{remote}\n  {}", of(remote, &forge)));
        insta::assert_snapshot!(shown.join("\n"), @r"
        https://github.com/acme/config.git
          https://github.com (default) acme/config (remote)
        ssh://git@github.com/acme/config.git
          https://github.com (default) acme/config (remote)
        ssh://git@ssh.github.com:443/acme/config
          https://github.com (default) acme/config (remote)
        https://git.example.com:8443/acme/config.git/
          https://git.example.com:8443 (remote) acme/config (remote)
        ssh://git@gitlab.com/group/sub/name.git
          https://gitlab.com (default) group/sub/name (remote)
        ssh://git@[::1]:2222/group/sub/name.git
          https://[::1] (remote) group/sub/name (remote)
        https://forge.example.com/acme/config
          https://forge.example.com (remote) acme/config (remote)
        https://forge.example.com/git/acme/config.git
          https://forge.example.com/git/ (line 5) acme/config (remote)
        ssh://git@git.example.com/acme/config
          https://forge.example.com (line 5) acme/config (remote)
        https://mirror.example.com/acme/config.git
          https://github.com (default) acme/other (line 5)
        https://forge.example.com/git/acme/config.git
          `forge.url` is not set, which a forge needs; `forge.project` is not set, which a forge needs
        ssh://git@github.com/config.git
          `forge.project` is not set, which a forge needs
        /srv/acme/config.git
          `forge.project` is not set, which a forge needs
        git@github.com:acme/config.git
          `repository.remote`: write ssh://git@HOST/PATH, https://HOST/PATH or an absolute path; `forge.project` is not set, which a forge needs
        ");
    }
}
