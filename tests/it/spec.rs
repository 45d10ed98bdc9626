//! Specs: hostile files, problems with places, secrets, last good versions, locks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aam::diag::Diagnostic;
use aam::diag::render::{Theme, terminal};
use aam::model::{Catalog, ConnectionId, RepoPath, Unreadable};
use aam::spec::lock::sealed;
use aam::spec::{EngineKind, Input, Lock, Mode, Resolution, Schedule, resolve};

mod choices;
mod engines;
mod files;
mod locks;
mod secrets;
mod standing;

/// A repository in memory.
#[derive(Default, Clone)]
struct Repo {
    files: BTreeMap<RepoPath, Arc<[u8]>>,
    unreadable: BTreeMap<String, Unreadable>,
    last_good: BTreeMap<String, String>,
    engine: EngineKind,
}

impl Repo {
    fn of(files: &[(&str, &str)]) -> Self {
        files.iter().fold(Self::default(), |repo, (path, text)| repo.with(path, text.as_bytes()))
    }

    fn with(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.insert(RepoPath::new(path).unwrap(), bytes.into());
        self
    }

    fn resolve(&self) -> Resolution {
        resolve(&Input {
            files: &self.files,
            unreadable: &self.unreadable,
            last_good: &self.last_good,
            engine: self.engine,
            mode_cap: Mode::Manage,
            look: Schedule::Every(Duration::from_secs(900)),
        })
    }

    /// Resolves, and keeps what was good for the next time.
    fn settle(&mut self) -> Resolution {
        let resolution = self.resolve();
        self.last_good.clone_from(&resolution.good);
        resolution
    }
}

/// What a person sees.
fn check(files: &[(&str, &str)]) -> String {
    terminal(&Repo::of(files).resolve().diagnostics, Theme::PLAIN)
}

/// The same with Airbyte as the engine.
fn check_airbyte(files: &[(&str, &str)]) -> String {
    let repo = Repo { engine: EngineKind::Airbyte, ..Repo::of(files) };
    terminal(&repo.resolve().diagnostics, Theme::PLAIN)
}

/// One line for each problem.
fn brief(diagnostics: &[Diagnostic]) -> String {
    let line = |d: &Diagnostic| {
        let place = d.place.as_ref().map(|p| format!("{}:{}:{}", p.file, p.line, p.column)).unwrap_or_default();
        format!("{} {} {}\n", aam::diag::escape(&place), d.code, aam::diag::escape(&d.message))
    };
    diagnostics.iter().map(line).collect()
}

const WAREHOUSE: (&str, &str) = (
    "connectors.d/warehouse.yaml",
    "kind: destination\ntype: postgres\nconfig: {host: localhost, database: w, username: aam, password: '${env:W}'}\n",
);

/// A connection that is right, with more lines behind it.
fn connection(more: &str) -> String {
    format!("kind: connection\nsource: {{type: file, config: {{path: /data}}}}\ndestination: warehouse\n{more}")
}

/// The id of the lock in these tests.
const ID: &str = "0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11";

/// A whole lock of one stream, `public/orders`.
fn lock_of(id: &str) -> Lock {
    let body = serde_json::json!({"public/orders": {
        "key": ["id"], "cursor": "any", "modes": ["full_refresh", "incremental"],
        "fields": {"id": "integer!", "customer_id": "integer", "total": "decimal(10,2)", "updated_at": "timestamp_tz!"}
    }});
    let catalog = Catalog::from_body(&body).unwrap();
    sealed(Lock { id: ConnectionId(id.parse().unwrap()), version: 1, fingerprint: catalog.fingerprint(), catalog })
}
