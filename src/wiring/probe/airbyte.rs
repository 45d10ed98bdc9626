//! What `aam doctor` asks an Airbyte installation. Everything here reads.

use std::path::Path;

use futures_util::future::try_join_all;
use uuid::Uuid;

use crate::engine::airbyte::AirbyteEngine;
use crate::engine::airbyte::api::Workspace;
use crate::engine::airbyte::error::{ApiError, Fate};
use crate::model::TenantId;
use crate::ports::{EndpointHandle, EngineError, EngineRead as _};
use crate::settings::Settings;

/// The installation that the settings name.
pub struct Installation(AirbyteEngine);

/// What it says of itself without being signed in to.
pub struct Facts {
    /// Everything lies below: `http://localhost:8000/api`.
    pub base: String,
    /// `1.8.0`; `unknown` if it does not tell.
    pub version: String,
    /// `community`; empty if it does not tell.
    pub edition: String,
    /// `none`, `simple`, `oidc`; empty if it does not tell.
    pub auth: String,
    /// Whether the public API answers beside the Config API.
    pub public: bool,
}

/// Why a question was not answered, by who can mend it.
pub enum Trouble {
    /// Nothing listens there, or nothing comes back.
    Silent(String),
    /// Something answers that is not Airbyte's API: a web page, a proxy without the prefix.
    Stranger(String),
    /// A proxy answers, and nothing behind it.
    Down(String),
    /// The credentials are wrong.
    Refused(String),
    /// It asks for credentials, and none are set.
    SignedOut(String),
    /// They are good, and may not do that.
    Forbidden(String),
    /// Anything else.
    Other(String),
}

impl Trouble {
    fn of(error: &ApiError) -> Self {
        let why = error.to_string();
        match error.fate {
            Fate::NotSent | Fate::HeldBack | Fate::Unknown => Self::Silent(why),
            Fate::Garbled | Fate::TooLarge | Fate::Answered(404 | 405) => Self::Stranger(why),
            Fate::Answered(502..=504) => Self::Down(why),
            Fate::Refused => Self::Refused(why),
            Fate::Answered(401) => Self::SignedOut(why),
            Fate::Answered(403) => Self::Forbidden(why),
            Fate::Answered(_) => Self::Other(why),
        }
    }
}

/// A workspace, as the credentials see it.
pub struct Seen {
    /// Its id.
    pub id: Uuid,
    /// Its name, not unique.
    pub name: String,
}

/// The installation that the settings name; nothing is sent yet.
pub fn airbyte(settings: &Settings, root: &Path) -> anyhow::Result<Installation> {
    Ok(Installation(crate::wiring::app::airbyte(settings, root)?))
}

impl Installation {
    /// What it says of itself.
    pub async fn facts(&self) -> Result<Facts, Trouble> {
        let instance = self.0.api().client.instance().await.map_err(|e| Trouble::of(&e))?;
        Ok(Facts {
            base: instance.base.to_string(),
            version: instance.version.clone(),
            edition: instance.edition.clone(),
            auth: instance.auth.clone(),
            public: instance.public,
        })
    }

    /// The workspaces that the credentials see.
    pub async fn workspaces(&self) -> Result<Vec<Seen>, Trouble> {
        let all = self.0.api().workspaces().await.map_err(|e| Trouble::of(&e))?;
        Ok(all.into_iter().map(|Workspace { workspace_id, name }| Seen { id: workspace_id, name }).collect())
    }

    /// How many connections these workspaces have.
    pub async fn connections(&self, workspaces: &[Uuid]) -> Result<usize, Trouble> {
        let all = workspaces.iter().map(|workspace| self.0.api().connections(*workspace));
        Ok(try_join_all(all).await.map_err(|e| Trouble::of(&e))?.iter().map(Vec::len).sum())
    }

    /// The workspace of a tenant.
    pub async fn workspace(&self, tenant: &TenantId) -> Result<Uuid, EngineError> {
        self.0.workspace(tenant).await
    }

    /// Tries the settings of a source: against its specification, then by running its check.
    pub async fn check_source(&self, source: &EndpointHandle) -> Result<(), EngineError> {
        self.0.check(source).await
    }

    /// Tries the settings of a destination.
    pub async fn check_destination(&self, destination: &EndpointHandle) -> Result<(), EngineError> {
        self.0.check_destination(destination).await
    }
}
