//! What `aam import` asks the adapters: what Airbyte holds, whether a spec says the same, and a file that is not there yet.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::engine::airbyte::AirbyteEngine;
use crate::model::RepoPath;
use crate::ports::{EngineConnection, EngineEndpoint, EngineError};
use crate::reconcile::StepError;
use crate::settings::Settings;
use crate::spec::Connection;

pub use crate::engine::airbyte::import::{Files, Found, Import, Imported, ImportedEnd, LeftOut, Secret, draft};

/// An Airbyte that is only looked at: no registry is behind it, and nothing here writes to it.
pub struct Looker(AirbyteEngine);

impl Looker {
    /// The instance that the settings name; with `workspaces`, these instead of theirs.
    pub fn open(settings: &Settings, root: &Path, workspaces: &BTreeMap<String, uuid::Uuid>) -> anyhow::Result<Self> {
        let mut settings = settings.clone();
        if !workspaces.is_empty() {
            settings.airbyte.workspaces.clone_from(workspaces);
        }
        super::app::airbyte(&settings, root).map(Self)
    }

    /// Everything that it holds.
    pub async fn holdings(&self) -> Result<Found, EngineError> {
        self.0.holdings().await
    }

    /// What a plan would write to bring the connection to its spec and lock.
    pub fn unlike(
        &self,
        connection: &Connection,
        live: &EngineConnection,
        ends: [&EngineEndpoint; 2],
    ) -> Result<Vec<String>, StepError> {
        crate::reconcile::unlike(&self.0, connection, &live.is, ends)
    }
}

/// Writes a file below the configuration root that is not there yet; `false` if something stands there.
pub fn put_new(root: &Path, path: &RepoPath, text: &str) -> io::Result<bool> {
    crate::repo::put_new(root, path, text)
}
