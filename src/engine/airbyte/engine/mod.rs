//! The engine door on one Airbyte instance: what looking (`read`) and changing (`write`) have in common.

mod read;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::api::{Airbyte, Connection as Live, Definition, Kept, RunError};
use super::client::{Access, Client};
use super::error::{ApiError, shown};
use super::seen::Seen;
use super::told::choose_definition;
use crate::model::TenantId;
use crate::ports::{EndpointHandle, EngineError, EngineId, Job, ObjectKind, Remedy, ResolvedConfig};

/// How long the list of connectors of a workspace counts.
const DEFINITIONS_COUNT: Duration = Duration::from_secs(600);

/// What the settings say beyond how the instance is reached.
#[derive(Debug, Clone)]
pub struct Place {
    /// Tenant → workspace; empty: the one workspace of the installation serves the tenant `default`.
    pub workspaces: BTreeMap<TenantId, Uuid>,
    /// The tag that marks connections as ours; empty: none.
    pub tag: String,
}

/// An Airbyte instance as the engine.
pub struct AirbyteEngine {
    api: Airbyte,
    place: Place,
    only: OnceCell<Uuid>,
    definitions: Mutex<Definitions>,
    jobs: Mutex<SeenJobs>,
    seen: Mutex<Arc<Seen>>,
    looks: Mutex<BTreeMap<Uuid, Arc<tokio::sync::Mutex<()>>>>,
}

/// The connectors of each workspace, and when they were listed.
type Definitions = BTreeMap<(ObjectKind, Uuid), (tokio::time::Instant, Vec<Definition>)>;

/// The newest jobs by connection, as surveys saw them.
#[derive(Debug, Default)]
struct SeenJobs {
    until: Option<DateTime<Utc>>,
    newest: BTreeMap<EngineId, Job>,
}

fn person(what: &str, why: impl Into<String>) -> EngineError {
    EngineError { what: what.to_owned(), why: why.into(), remedy: Remedy::Person, retry_after: None }
}

/// A failed call that only reads.
pub(super) fn unread(what: &str, error: &ApiError) -> EngineError {
    EngineError {
        what: what.to_owned(),
        why: error.to_string(),
        remedy: error.remedy(),
        retry_after: error.retry_after,
    }
}

/// A check or a discover that did not succeed; the connector's words may repeat settings.
fn failed_run(what: &str, error: &RunError, config: &ResolvedConfig) -> EngineError {
    match error {
        RunError::Api(error) => unread(what, &error.masked(|text| config.mask(text))),
        // what a connector says no to may be a source that is down
        RunError::Connector(why) => EngineError {
            what: what.to_owned(),
            why: shown(&config.mask(why)),
            remedy: Remedy::Retry,
            retry_after: None,
        },
    }
}

fn uuid(what: &str, id: &EngineId) -> Result<Uuid, EngineError> {
    id.0.parse().map_err(|_| person(what, format!("{} is no id of Airbyte's", id.0)))
}

pub(super) fn engine_id(id: Uuid) -> EngineId {
    EngineId(id.to_string())
}

impl AirbyteEngine {
    /// Nothing is sent before the first question.
    pub fn new(access: Access, place: Place) -> Result<Self, EngineError> {
        let client = Client::new(access).map_err(|e| unread("opening Airbyte", &e))?;
        Ok(Self {
            api: Airbyte::new(client),
            place,
            only: OnceCell::new(),
            definitions: Mutex::default(),
            jobs: Mutex::default(),
            seen: Mutex::default(),
            looks: Mutex::default(),
        })
    }

    /// The questions themselves, for import and `aam doctor`.
    pub fn api(&self) -> &Airbyte {
        &self.api
    }

    /// The workspace of a tenant.
    pub async fn workspace(&self, tenant: &TenantId) -> Result<Uuid, EngineError> {
        let what = format!("finding the workspace of tenant {tenant}");
        if let Some(workspace) = self.place.workspaces.get(tenant) {
            return Ok(*workspace);
        }
        if !self.place.workspaces.is_empty() || *tenant != TenantId::default() {
            return Err(person(
                &what,
                format!("none is set: add `{tenant} = \"<workspace id>\"` below [airbyte.workspaces]"),
            ));
        }
        self.only.get_or_try_init(|| self.find_only_workspace(&what)).await.copied()
    }

    async fn find_only_workspace(&self, what: &str) -> Result<Uuid, EngineError> {
        let all = self.api.workspaces().await.map_err(|e| unread(what, &e))?;
        match all.as_slice() {
            [one] => Ok(one.workspace_id),
            [] => Err(person(what, "Airbyte shows no workspace to these credentials")),
            many => {
                let names: Vec<_> =
                    many.iter().map(|w| format!("{} ({})", crate::diag::escape(&w.name), w.workspace_id)).collect();
                let why = format!(
                    "there are {}: name the right one below [airbyte.workspaces]: {}",
                    many.len(),
                    names.join(", ")
                );
                Err(person(what, why))
            }
        }
    }

    /// The workspaces that are ours to look at, with whose they are.
    pub(super) async fn tenants(&self) -> Result<Vec<(TenantId, Uuid)>, EngineError> {
        match self.place.workspaces.is_empty() {
            true => Ok(vec![(TenantId::default(), self.workspace(&TenantId::default()).await?)]),
            false => Ok(self.place.workspaces.iter().map(|(tenant, id)| (tenant.clone(), *id)).collect()),
        }
    }

    /// Every workspace that is ours to look at.
    async fn workspaces(&self) -> Result<Vec<Uuid>, EngineError> {
        match self.place.workspaces.is_empty() {
            true => Ok(vec![self.workspace(&TenantId::default()).await?]),
            false => Ok(self.place.workspaces.values().copied().collect()),
        }
    }

    /// The connector that a spec's `type:` means in a workspace.
    pub async fn definition(
        &self,
        kind: ObjectKind,
        workspace: Uuid,
        connector: &str,
    ) -> Result<Definition, EngineError> {
        let what = format!("finding the {} connector {}", kind.word(), crate::diag::escape(connector));
        let known = {
            let known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&(kind, workspace)).filter(|(at, _)| at.elapsed() < DEFINITIONS_COUNT).map(|(_, all)| all.clone())
        };
        let all = match known {
            Some(all) => all,
            None => {
                let all = self.api.definitions(kind, workspace).await.map_err(|e| unread(&what, &e))?;
                let now = tokio::time::Instant::now();
                self.definitions
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert((kind, workspace), (now, all.clone()));
                all
            }
        };
        choose_definition(kind, &all, connector).map_err(|why| person(&what, why))
    }

    fn name_of<'h>(&self, handle: &'h EndpointHandle) -> &'h str {
        handle.airbyte.name.as_deref().unwrap_or(&handle.name)
    }

    /// Workspace and connector of a source or destination.
    async fn parts(&self, kind: ObjectKind, handle: &EndpointHandle) -> Result<(Uuid, Uuid), EngineError> {
        let workspace = self.workspace(&handle.tenant).await?;
        Ok((workspace, self.definition(kind, workspace, &handle.connector).await?.id))
    }

    fn is_ours(&self, live: &Live) -> bool {
        !self.place.tag.is_empty() && live.tags.iter().any(|tag| tag["name"] == json!(self.place.tag))
    }

    pub(super) async fn list_connections(&self, what: &str, workspace: Uuid) -> Result<Vec<Kept<Live>>, EngineError> {
        let mut all = self.api.connections(workspace).await.map_err(|e| unread(what, &e))?;
        all.retain(|c| c.known.status != "deprecated");
        Ok(all)
    }

    /// Waits until no discover of this source runs: Airbyte rejects no second one, it starts another pod.
    async fn turn_of(&self, source: Uuid) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.looks.lock().unwrap_or_else(PoisonError::into_inner).entry(source).or_default().clone();
        turn.lock_owned().await
    }
}
