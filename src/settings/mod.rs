//! Settings of a daemon or a command: defaults < `config/aam.toml` < `AAM_SECTION__KEY` < flags.
//!
//! Read from disk and never from a commit: a merge must not change who approves.

mod airbyte;
mod duration;
mod forge;
mod load;
mod place;
mod repository;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::plan::approval::{ApprovalRule, Way};
use crate::spec::{EngineKind, Mode};

pub use forge::{Forge, ForgeKind};
pub use load::{Flag, Origin, Origins, Setting};

/// Everything that can be set; `config/aam.toml` says what each key means.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where specs and locks are.
    pub repository: Repository,
    /// The execution plane.
    pub engine: Engine,
    /// The Airbyte installation, where that is the execution plane.
    pub airbyte: Airbyte,
    /// Where people review, if that is a forge.
    pub forge: Forge,
    /// The database.
    pub registry: Registry,
    /// The state directory.
    pub state: State,
    /// Looking for drift.
    pub drift: Drift,
    /// Who may approve what.
    pub approval: Approval,
    /// How much may change at once.
    pub safety: Safety,
    /// The daemon's rhythm.
    pub daemon: Daemon,
    /// The daemon's port.
    pub http: Http,
    /// Logs.
    pub log: Log,
}

/// Where specs and locks are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Repository {
    /// The configuration root, absolute or relative to the folder that `aam` was started for; with a remote, within it.
    pub root: PathBuf,
    /// The tracked branch; empty: the one that was checked out at the first start, or the remote's default branch then.
    pub branch: String,
    /// The repository that is fetched from and pushed to; absent: the one that holds the root.
    pub remote: Option<String>,
    /// How often the remote is looked at.
    #[serde(with = "duration")]
    pub fetch: Duration,
    /// The file of the private key for ssh, as a path or a reference to a file.
    pub ssh_key: Option<String>,
    /// The file of the hosts' public keys, likewise.
    pub known_hosts: Option<String>,
    /// For a remote that is reached by HTTP.
    pub username: Option<String>,
    /// Its password or token, as a reference.
    pub password: Option<String>,
    /// What a webhook is signed with, as a reference.
    pub webhook_secret: Option<String>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = |value: &Option<String>| value.as_ref().map(|_| "***");
        f.debug_struct("Repository")
            .field("root", &self.root)
            .field("branch", &self.branch)
            .field("remote", &self.remote)
            .field("username", &self.username)
            .field("password", &hidden(&self.password))
            .field("webhook_secret", &hidden(&self.webhook_secret))
            .finish_non_exhaustive()
    }
}

/// The execution plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Which.
    pub kind: EngineKind,
    /// Caps the mode of every spec.
    pub mode: Mode,
    /// Programs that specs may name as connectors (`type: airbyte`): what runs on this machine is not for a commit to say.
    pub commands: Vec<String>,
}

/// The Airbyte installation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Airbyte {
    /// Where it is; may hold references to secrets.
    pub url: Option<String>,
    /// Of the application that `aam` signs in as; may hold references. Absent with the secret: authentication is switched off.
    pub client_id: Option<String>,
    /// Its secret, as references.
    pub client_secret: Option<String>,
    /// The workspace of each tenant; empty: the one workspace of the installation serves the tenant `default`.
    pub workspaces: BTreeMap<String, Uuid>,
    /// Calls per second, on average.
    pub calls_per_second: NonZeroU32,
    /// Ordinary calls side by side.
    pub slots: NonZeroU32,
    /// Calls that run a connector, side by side.
    pub discover_slots: NonZeroU32,
    /// How long an ordinary call may take.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// How long a check may take.
    #[serde(with = "duration")]
    pub check_deadline: Duration,
    /// How long a discover may take.
    #[serde(with = "duration")]
    pub discover_deadline: Duration,
    /// How often all connections and jobs are listed.
    #[serde(with = "duration")]
    pub survey: Duration,
    /// The tag that marks connections as ours; empty: none.
    pub tag: String,
}

impl std::fmt::Debug for Airbyte {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = |value: &Option<String>| value.as_ref().map(|_| "***");
        f.debug_struct("Airbyte")
            .field("url", &hidden(&self.url))
            .field("client_id", &hidden(&self.client_id))
            .field("client_secret", &hidden(&self.client_secret))
            .field("workspaces", &self.workspaces)
            .finish_non_exhaustive()
    }
}

impl Default for Airbyte {
    fn default() -> Self {
        let number = |n| NonZeroU32::new(n).expect("none of them is zero");
        Self {
            url: None,
            client_id: None,
            client_secret: None,
            workspaces: BTreeMap::new(),
            calls_per_second: number(10),
            slots: number(4),
            discover_slots: number(4),
            deadline: Duration::from_secs(60),
            check_deadline: Duration::from_secs(5 * 60),
            discover_deadline: Duration::from_secs(12 * 60),
            survey: Duration::from_secs(60),
            tag: "aam".to_owned(),
        }
    }
}

/// The database.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// Where it is, with `${env:…}` or `${file:…}` for its secret parts; absent: a private cluster.
    pub url: Option<String>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("url", &self.url.as_ref().map(|_| "***")).finish()
    }
}

/// The state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// Absolute, or relative to the folder that `aam` was started for.
    pub directory: PathBuf,
}

/// Looking for drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drift {
    /// At most so many repairs are open.
    pub max_open: u32,
    /// How often a source is looked at, where its spec says nothing.
    #[serde(with = "duration")]
    pub check: Duration,
}

/// Who may approve what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Approval {
    /// How what is automatic gets to the tracked branch: as a commit, or by a request that the forge merges by itself.
    pub automatic: Way,
    /// Each must be met by whoever approves; none: everybody may who can move the tracked branch.
    pub rules: Vec<ApprovalRule>,
}

/// How much may change at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Safety {
    /// So many connections may always go at once.
    pub change_budget_min: u32,
    /// Or this share of all of them, in percent.
    pub change_budget_percent: u32,
}

/// The daemon's rhythm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Daemon {
    /// How often schedules and branches are looked at.
    #[serde(with = "duration")]
    pub tick: Duration,
    /// How often everything is read afresh.
    #[serde(with = "duration")]
    pub rescan: Duration,
    /// A burst of file events ends after this much quiet.
    #[serde(with = "duration")]
    pub quiet: Duration,
    /// A burst is not waited for longer than this.
    #[serde(with = "duration")]
    pub burst_max: Duration,
    /// How long running steps may take to finish after SIGTERM.
    #[serde(with = "duration")]
    pub shutdown_grace: Duration,
    /// How long a connection's lease holds without renewal.
    #[serde(with = "duration")]
    pub lease_ttl: Duration,
}

/// The daemon's port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port; absent: there is no port.
    pub listen: Option<std::net::SocketAddr>,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, or directives like `info,aam::engine=debug`.
    pub level: String,
    /// For whom.
    pub format: LogFormat,
}

/// For whom logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For eyes.
    Human,
    /// One JSON object per line.
    Json,
}

impl Settings {
    /// What is in force where nobody says anything. With Airbyte nothing is written before a person raises the mode, and a
    /// look starts a pod, so it is rarer.
    pub fn defaults_of(kind: EngineKind) -> Self {
        let mut settings = Self { engine: Engine { kind, ..Engine::default() }, ..Self::default() };
        if kind == EngineKind::Airbyte {
            settings.engine.mode = Mode::Observe;
            settings.drift.check = Duration::from_secs(24 * 3600);
        }
        settings
    }
}

impl Default for Repository {
    fn default() -> Self {
        Self {
            root: ".".into(),
            branch: String::new(),
            remote: None,
            fetch: Duration::from_secs(60),
            ssh_key: None,
            known_hosts: None,
            username: None,
            password: None,
            webhook_secret: None,
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self { kind: EngineKind::Embedded, mode: Mode::Manage, commands: Vec::new() }
    }
}

impl Default for State {
    fn default() -> Self {
        Self { directory: ".aam".into() }
    }
}

impl Default for Drift {
    fn default() -> Self {
        Self { max_open: 5, check: Duration::from_secs(15 * 60) }
    }
}

impl Default for Safety {
    fn default() -> Self {
        Self { change_budget_min: 3, change_budget_percent: 10 }
    }
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            rescan: Duration::from_secs(60),
            quiet: Duration::from_millis(150),
            burst_max: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(10),
            lease_ttl: Duration::from_secs(10),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Human }
    }
}
