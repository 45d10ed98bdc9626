//! The engine door on one Airbyte instance. Whatever may have happened without an answer is said to be so
//! ([`Remedy::Look`]); nothing here writes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::api::{Actor, Airbyte, ApiJob, Connection as Live, Definition, Discovery, Kept, RunError, lacking};
use super::client::{Access, Client};
use super::error::{ApiError, Fate, shown};
use super::schedule::to_airbyte;
use super::seen::Seen;
use super::told::{choose_definition, flat, moves_rows, named, told, told_endpoint, told_job};
use super::{catalog, landing};
use crate::connector::specification;
use crate::drift::radius::Tables;
use crate::model::{Catalog, StreamName, TenantId};
use crate::ports::{
    Candidate, ClearOrder, ConfiguredStream, ConnectionDraft, Discovered, EndpointHandle, EngineConnection,
    EngineEndpoint, EngineError, EngineId, EngineRead, EngineWrite, Job, MASKED, Manner, ObjectKind, OwnerKey, Remedy,
    ResolvedConfig, Survey, SyncOrder, applied,
};
use crate::spec::{Connection, Mode, Namespace};

/// Until when an object may appear whose creation was not answered: Airbyte's own proxies give up after ten minutes.
const LATE: Duration = Duration::from_secs(600);
/// How long the list of connectors of a workspace counts.
const DEFINITIONS_COUNT: Duration = Duration::from_secs(600);
/// Jobs that ended before the last survey by more than this are not asked for again: clocks differ.
const OVERLAP: chrono::TimeDelta = chrono::TimeDelta::minutes(10);
/// How far back the first survey looks for jobs.
const FIRST: chrono::TimeDelta = chrono::TimeDelta::days(2);
/// The colour of our tag in Airbyte's web page.
const COLOR: &str = "2E7D6B";

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

/// A failed call that changes something.
fn unwritten(what: &str, error: &ApiError) -> EngineError {
    let remedy = if error.may_have_happened() { Remedy::Look } else { error.remedy() };
    EngineError { remedy, ..unread(what, error) }
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

    /// Names everything that the connector's specification wants and the settings lack, before anything is sent; then tries them.
    async fn try_settings(&self, kind: ObjectKind, handle: &EndpointHandle) -> Result<(), EngineError> {
        let what = format!("checking {} {}", kind.word(), handle.name);
        let (workspace, definition) = self.parts(kind, handle).await?;
        let asked = self.api.specification(kind, workspace, definition).await.map_err(|e| unread(&what, &e))?;
        let problems = specification::problems(&asked, handle.config.expose(), &handle.config);
        if !problems.is_empty() {
            return Err(person(&what, problems.join("; ")));
        }
        let tried = self.api.check_settings(kind, workspace, definition, handle.config.expose()).await;
        tried.map_err(|e| failed_run(&what, &e, &handle.config))
    }

    /// Our tag in a workspace, whole, made if need be; `None` where the server has no tags or none is wanted.
    async fn tag(&self, workspace: Uuid) -> Result<Option<Value>, ApiError> {
        if self.place.tag.is_empty() {
            return Ok(None);
        }
        let ours = |tags: Vec<Value>| tags.into_iter().find(|tag| tag["name"] == json!(self.place.tag));
        let tags = match self.api.tags(workspace).await? {
            Some(tags) => tags,
            None => return Ok(None),
        };
        if let Some(tag) = ours(tags) {
            return Ok(Some(tag));
        }
        match self.api.create_tag(workspace, &self.place.tag, COLOR).await {
            Ok(tag) => Ok(Some(tag)),
            // somebody made it meanwhile, or it was made without an answer
            Err(e) if e.fate == Fate::Answered(409) || e.may_have_happened() => {
                ours(self.api.tags(workspace).await?.unwrap_or_default()).map(Some).ok_or(e)
            }
            Err(e) => Err(e),
        }
    }

    fn is_ours(&self, live: &Live) -> bool {
        !self.place.tag.is_empty() && live.tags.iter().any(|tag| tag["name"] == json!(self.place.tag))
    }

    pub(super) async fn list_connections(&self, what: &str, workspace: Uuid) -> Result<Vec<Kept<Live>>, EngineError> {
        let mut all = self.api.connections(workspace).await.map_err(|e| unread(what, &e))?;
        all.retain(|c| c.known.status != "deprecated");
        Ok(all)
    }

    /// Sources and destinations of that name and connector; marked where a connection of ours uses it.
    async fn alike(
        &self,
        kind: ObjectKind,
        handle: &EndpointHandle,
        what: &str,
    ) -> Result<Vec<Candidate>, EngineError> {
        let (workspace, definition) = self.parts(kind, handle).await?;
        let name = self.name_of(handle);
        let mut all: Vec<Kept<Actor>> = self.api.actors(kind, workspace).await.map_err(|e| unread(what, &e))?;
        all.retain(|a| a.known.name == name && a.known.definition == definition);
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let connections = self.list_connections(what, workspace).await?;
        let used_by_us = |id: Uuid| {
            connections
                .iter()
                .map(|c| &c.known)
                .any(|c| (c.source_id == id || c.destination_id == id) && self.is_ours(c))
        };
        Ok(all.iter().map(|a| Candidate { id: engine_id(a.known.id), marked: used_by_us(a.known.id) }).collect())
    }

    /// Reads the jobs that changed since the last survey; the newest that moves rows of each connection.
    async fn newest_jobs(&self, workspaces: &[Uuid]) -> Result<BTreeMap<EngineId, Job>, ApiError> {
        let now = Utc::now();
        let since =
            self.jobs.lock().unwrap_or_else(PoisonError::into_inner).until.map_or(now - FIRST, |at| at - OVERLAP);
        let changed = self.api.jobs_since(workspaces, since).await?;
        let mut seen = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        for job in changed.iter().filter(|job| moves_rows(job)) {
            let Some(connection) = job.connection.map(engine_id) else { continue };
            if seen.newest.get(&connection).is_none_or(|known| known.id <= job.id) {
                seen.newest.insert(connection, told_job(job, str::to_owned));
            }
        }
        seen.until = Some(now);
        Ok(seen.newest.clone())
    }

    /// Waits until no discover of this source runs: Airbyte rejects no second one, it starts another pod.
    async fn turn_of(&self, source: Uuid) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.looks.lock().unwrap_or_else(PoisonError::into_inner).entry(source).or_default().clone();
        turn.lock_owned().await
    }

    /// Refuses streams in a mode that the destination's connector does not know. Those that are in it already are Airbyte's
    /// own affair.
    async fn refuse_modes(
        &self,
        draft: &ConnectionDraft,
        live: &[ConfiguredStream],
        what: &str,
    ) -> Result<(), EngineError> {
        let is_new = |new: &&ConfiguredStream| !live.iter().any(|old| old.name == new.name && old.mode == new.mode);
        let new: Vec<_> = draft.streams.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let (kind, id) = (ObjectKind::Destination, uuid(what, &draft.destination)?);
        let actor = self.api.actor(kind, id).await.map_err(|e| unread(what, &e))?;
        let actor = actor.ok_or_else(|| person(what, format!("its destination {id} is gone from Airbyte")))?.known;
        let known = self.api.destination_modes(actor.workspace_id, actor.definition).await;
        let Some(known) = known.map_err(|e| unread(what, &e))? else { return Ok(()) };
        match new.iter().find(|stream| !known.iter().any(|mode| mode == catalog::modes(stream.mode).1)) {
            None => Ok(()),
            Some(stream) => {
                let (mode, known) =
                    (catalog::modes(stream.mode).1, crate::diag::escape(&known.join(", ")).into_owned());
                let why = format!(
                    "stream {} is to be written by {mode}, but its destination knows only {known}",
                    stream.name
                );
                Err(person(what, why))
            }
        }
    }

    /// What the source of a draft shows, for the entries of a catalog to send: no schema is ever made up where it is known. The
    /// server answers from its store where the source was discovered before, and else runs the connector for minutes.
    async fn stored(
        &self,
        draft: &ConnectionDraft,
        config: &ResolvedConfig,
        what: &str,
    ) -> Result<Discovery, EngineError> {
        let source = uuid(what, &draft.source)?;
        let _alone = self.turn_of(source).await;
        self.api.stored_catalog(source).await.map_err(|e| failed_run(what, &e, config))
    }

    /// A connection as it is now, in Airbyte's words and in ours.
    async fn read(&self, id: Uuid, what: &str) -> Result<(Kept<Live>, ConnectionDraft), EngineError> {
        let live = self.api.connection(id).await.map_err(|e| unread(what, &e))?;
        let live = live.ok_or_else(|| person(what, "Airbyte has no such connection"))?;
        let is = told(&live).map_err(|why| person(what, why))?.is;
        Ok((live, is))
    }

    /// The job that answers an ask for a sync: the one that came after it, or a new one.
    async fn start_or_follow(&self, order: &SyncOrder) -> Result<ApiJob, EngineError> {
        let what = format!("starting a sync of {}", order.source.name);
        let id = uuid(&what, &order.engine_id)?;
        // Airbyte knows no ids of asks: the first job after the ask answers it
        let jobs = self.api.jobs(id, 20).await.map_err(|e| unread(&what, &e))?;
        let answers = |job: &ApiJob| match order.refresh.is_empty() {
            true => moves_rows(job),
            false => job.kind == "refresh",
        };
        let answer = jobs.into_iter().filter(|job| job.id > order.after && answers(job)).min_by_key(|job| job.id);
        if let Some(job) = answer {
            return Ok(job);
        }
        let asked = async {
            match order.refresh.is_empty() {
                true => self.api.sync(id).await.map(Some),
                false => self.api.refresh(id, &named(&order.refresh)).await,
            }
        };
        match applied("start_sync", asked).await {
            Ok(Some(job)) => Ok(job),
            Ok(None) => {
                let why = "its destination cannot refresh in Airbyte: `aam clear CONNECTION STREAM…` deletes what landed, and the \
                           next sync reads it from the beginning";
                Err(person(&what, why))
            }
            Err(e) if e.fate == Fate::Answered(409) => {
                let running =
                    self.api.jobs(id, 1).await.map_err(|e| unread(&what, &e))?.into_iter().find(|job| !job.has_ended());
                match running {
                    Some(job) if moves_rows(&job) && order.refresh.is_empty() => Ok(job),
                    Some(job) => {
                        let why = format!("job {} ({}) runs: it is waited for", job.id, crate::diag::escape(&job.kind));
                        Err(EngineError { what, why, remedy: Remedy::Retry, retry_after: None })
                    }
                    None => Err(unread(&what, &e)),
                }
            }
            Err(e) => Err(unwritten(&what, &e)),
        }
    }
}

#[async_trait]
impl EngineRead for AirbyteEngine {
    async fn check(&self, source: &EndpointHandle) -> Result<(), EngineError> {
        self.try_settings(ObjectKind::Source, source).await
    }

    async fn check_destination(&self, destination: &EndpointHandle) -> Result<(), EngineError> {
        self.try_settings(ObjectKind::Destination, destination).await
    }

    async fn discover(&self, source: &EndpointHandle) -> Result<Discovered, EngineError> {
        let what = format!("discovering source {}", source.name);
        let Some(id) = &source.id else { return Err(person(&what, "it is not in Airbyte yet")) };
        let id = uuid(&what, id)?;
        let _alone = self.turn_of(id).await;
        let found = self.api.discover(id).await;
        let found = found.map_err(|e| failed_run(&what, &e, &source.config))?;
        let raw = json!({"catalogId": found.catalog_id, "streams": found.catalog.streams});
        Ok(Discovered { catalog: catalog::catalog(&found.catalog.streams), raw })
    }

    fn manner(&self) -> Manner {
        Manner { drives_itself: true, late: LATE }
    }

    fn tables(&self, connection: &Connection, catalog: &Catalog) -> Tables {
        landing::told(connection, catalog)
    }

    fn settings(&self, connection: &Connection) -> Result<BTreeMap<String, Value>, EngineError> {
        let what = format!("connection {}", connection.name);
        let options = &connection.airbyte;
        let schedule = to_airbyte(&connection.schedule).map_err(|why| person(&what, why.to_string()))?;
        let namespace = match &options.namespace {
            Namespace::Source => json!({"namespaceDefinition": "source"}),
            Namespace::Destination => json!({"namespaceDefinition": "destination"}),
            Namespace::Custom(format) => json!({"namespaceDefinition": "customformat", "namespaceFormat": format}),
        };
        let mut settings: BTreeMap<String, Value> = options.passthrough_json().into_iter().collect();
        settings.insert("schedule".into(), schedule);
        settings.insert("namespace".into(), namespace);
        settings.insert("prefix".into(), json!(options.prefix));
        // once git decides what a change of the source does, it decides alone
        if connection.mode == Mode::Manage {
            settings.insert("nonBreakingChangesPreference".into(), json!("ignore"));
        }
        Ok(settings)
    }

    fn spelled(&self, setting: &str, value: &Value) -> Option<(Vec<String>, Option<Value>)> {
        super::said::spelled(setting, value)
    }

    async fn find_endpoint(
        &self,
        kind: ObjectKind,
        _: &OwnerKey,
        handle: &EndpointHandle,
    ) -> Result<Vec<Candidate>, EngineError> {
        let what = format!("looking for {} {}", kind.word(), handle.name);
        let Some(id) = handle.airbyte.id else { return self.alike(kind, handle, &what).await };
        match self.api.actor(kind, id).await.map_err(|e| unread(&what, &e))? {
            Some(_) => Ok(vec![Candidate { id: engine_id(id), marked: true }]),
            None => Err(person(&what, format!("Airbyte has no {} {id}, which its spec names", kind.word()))),
        }
    }

    async fn find_connection(
        &self,
        _: &OwnerKey,
        draft: &ConnectionDraft,
        adopted: Option<&EngineId>,
    ) -> Result<Vec<Candidate>, EngineError> {
        let what = format!("looking for connection {}", draft.name);
        if let Some(id) = adopted {
            return match self.connection(id).await? {
                Some(_) => Ok(vec![Candidate { id: id.clone(), marked: true }]),
                None => Err(person(&what, format!("Airbyte has no connection {}, which its spec names", id.0))),
            };
        }
        let source = uuid(&what, &draft.source)?;
        let Some(actor) = self.api.actor(ObjectKind::Source, source).await.map_err(|e| unread(&what, &e))? else {
            return Err(person(&what, format!("its source {source} is gone from Airbyte")));
        };
        let mut all = self.list_connections(&what, actor.known.workspace_id).await?;
        all.retain(|c| {
            c.known.name == draft.name
                && c.known.source_id == source
                && c.known.destination_id.to_string() == draft.destination.0
        });
        Ok(all
            .iter()
            .map(|c| Candidate { id: engine_id(c.known.connection_id), marked: self.is_ours(&c.known) })
            .collect())
    }

    async fn survey(&self) -> Result<Survey, EngineError> {
        let what = "looking at everything in Airbyte";
        let wrong = |e: ApiError| unread(what, &e);
        let workspaces = self.workspaces().await?;
        let (mut survey, mut seen, mut ids) = (Survey::default(), Seen::default(), BTreeSet::new());
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for workspace in &workspaces {
            for kind in [ObjectKind::Source, ObjectKind::Destination] {
                for actor in self.api.actors(kind, *workspace).await.map_err(wrong)? {
                    let id = engine_id(actor.known.id);
                    survey.names.insert((kind, id.clone()), actor.known.name.clone());
                    survey.endpoints.insert((kind, id), told_endpoint(actor.known));
                }
            }
            let take = |texts: Vec<Box<RawValue>>| {
                let known = ids.len();
                for text in &texts {
                    let listed = before.read(text, &mut seen).map_err(|_| lacking("/v1/connections/list"))?;
                    if ids.insert(listed.id.clone()) && !listed.is_gone {
                        survey.connections.insert(listed.id.clone(), listed.is.clone());
                        survey.names.insert((ObjectKind::Connection, listed.id.clone()), listed.name.clone());
                    }
                }
                Ok(ids.len() > known)
            };
            self.api.connection_texts(*workspace, take).await.map_err(wrong)?;
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(seen);
        survey.jobs = self.newest_jobs(&workspaces).await.map_err(wrong)?;
        Ok(survey)
    }

    async fn endpoint(&self, kind: ObjectKind, id: &EngineId) -> Result<Option<EngineEndpoint>, EngineError> {
        let what = format!("reading {} {}", kind.word(), id.0);
        let live = self.api.actor(kind, uuid(&what, id)?).await.map_err(|e| unread(&what, &e))?;
        Ok(live.map(|live| told_endpoint(live.known)))
    }

    async fn connection(&self, id: &EngineId) -> Result<Option<EngineConnection>, EngineError> {
        let what = format!("reading connection {}", id.0);
        let live = self.api.connection(uuid(&what, id)?).await.map_err(|e| unread(&what, &e))?;
        live.map(|live| told(&live)).transpose().map_err(|why| person(&what, why))
    }

    async fn jobs(&self, id: &EngineId, limit: u32) -> Result<Vec<Job>, EngineError> {
        let what = format!("reading the jobs of connection {}", id.0);
        let jobs = self.api.jobs(uuid(&what, id)?, limit).await.map_err(|e| unread(&what, &e))?;
        Ok(jobs.iter().map(|job| told_job(job, str::to_owned)).collect())
    }
}

#[async_trait]
impl EngineWrite for AirbyteEngine {
    async fn create_endpoint(
        &self,
        kind: ObjectKind,
        _: &OwnerKey,
        handle: &EndpointHandle,
    ) -> Result<EngineId, EngineError> {
        let what = format!("creating {} {}", kind.word(), handle.name);
        let (workspace, definition) = self.parts(kind, handle).await?;
        let made = self.api.create_actor(kind, workspace, definition, self.name_of(handle), handle.config.expose());
        let made = applied(&format!("create_{}", kind.word()), made).await;
        let made = made.map_err(|e| unwritten(&what, &e.masked(|text| handle.config.mask(text))))?;
        Ok(engine_id(made.known.id))
    }

    async fn update_endpoint(
        &self,
        kind: ObjectKind,
        id: &EngineId,
        handle: &EndpointHandle,
    ) -> Result<(), EngineError> {
        let what = format!("updating {} {}", kind.word(), handle.name);
        let id = uuid(&what, id)?;
        let (_, definition) = self.parts(kind, handle).await?;
        let live = self.api.actor(kind, id).await.map_err(|e| unread(&what, &e))?;
        if live.is_some_and(|live| live.known.definition != definition) {
            let why = format!(
                "it is of another connector in Airbyte than {}, and that cannot be changed there: declare a new one beside it \
                 and remove the old one",
                crate::diag::escape(&handle.connector)
            );
            return Err(person(&what, why));
        }
        let sent = self.api.update_actor(kind, id, self.name_of(handle), handle.config.expose());
        let sent = applied(&format!("update_{}", kind.word()), sent).await;
        sent.map_err(|e| unwritten(&what, &e.masked(|text| handle.config.mask(text))))?;
        // before, the settings were tried by themselves; now as Airbyte keeps them
        self.api.check(kind, id).await.map_err(|e| failed_run(&what, &e, &handle.config))
    }

    async fn create_connection(
        &self,
        _: &OwnerKey,
        draft: &ConnectionDraft,
        of_source: &ResolvedConfig,
    ) -> Result<EngineId, EngineError> {
        let what = format!("creating connection {}", draft.name);
        let source = uuid(&what, &draft.source)?;
        let actor = self.api.actor(ObjectKind::Source, source).await.map_err(|e| unread(&what, &e))?;
        let actor = actor.ok_or_else(|| person(&what, format!("its source {source} is gone from Airbyte")))?;
        self.refuse_modes(draft, &[], &what).await?;
        let stored = self.stored(draft, of_source, &what).await?;
        let streams = catalog::entries(&draft.streams, &stored.catalog.streams, &[], &draft.options);
        let tag = self.tag(actor.known.workspace_id).await.map_err(|e| unread(&what, &e))?;
        let mut body = flat(&draft.settings, |_, _| true);
        body.extend(object(json!({
            "name": draft.name, "sourceId": draft.source, "destinationId": draft.destination,
            "status": status(draft.enabled), "syncCatalog": {"streams": streams},
        })));
        body.extend(stored.catalog_id.map(|id| ("sourceCatalogId".to_owned(), json!(id))));
        body.extend(tag.map(|tag| ("tags".to_owned(), json!([tag]))));
        let made = applied("create_connection", self.api.create_connection(&Value::Object(body))).await;
        Ok(engine_id(made.map_err(|e| unwritten(&what, &e))?.known.connection_id))
    }

    async fn update_connection(
        &self,
        id: &EngineId,
        draft: &ConnectionDraft,
        of_source: &ResolvedConfig,
    ) -> Result<(), EngineError> {
        let what = format!("updating connection {}", draft.name);
        let live_id = uuid(&what, id)?;
        let (_, is) = self.read(live_id, &what).await?;
        // a patch: only what differs is sent, so that nobody's edit of the rest is lost
        let mut body = flat(&draft.settings, |key, value| is.settings.get(key) != Some(value));
        body.insert("connectionId".into(), json!(id));
        if is.name != draft.name {
            body.insert("name".into(), json!(draft.name));
        }
        if is.enabled != draft.enabled {
            body.insert("status".into(), json!(status(draft.enabled)));
        }
        if !catalog::same(&is.streams, &draft.streams) {
            // Airbyte forgets the mappers of a stream that is left out: they are given back with it, if they can be
            let left_out = |name: &StreamName| !draft.streams.iter().any(|stream| stream.name == *name);
            let kept = |name: &StreamName| draft.options.get(name).is_some_and(|of| !of.to_string().contains(MASKED));
            if let Some(stream) = is.options.keys().find(|name| left_out(name) && !kept(name)) {
                let why = format!(
                    "stream {stream} has mappers with a secret in Airbyte, which Airbyte forgets with a stream that is left \
                     out: take them out there first, or leave the stream out there yourself"
                );
                return Err(person(&what, why));
            }
            self.refuse_modes(draft, &is.streams, &what).await?;
            let is_new = |name: &StreamName| !left_out(name) && !is.streams.iter().any(|stream| stream.name == *name);
            if let Some((stream, _)) = draft.options.iter().find(|(name, _)| is_new(name) && !kept(name)) {
                let why = format!(
                    "stream {stream} had mappers with a secret in Airbyte, which cannot be given back: take the stream in again \
                     there, with its mappers"
                );
                return Err(person(&what, why));
            }
            let stored = self.stored(draft, of_source, &what).await?;
            // that took its time, and the draft knows nothing of what a person did meanwhile
            let (live, now) = self.read(live_id, &what).await?;
            if now != is {
                let why = "somebody changed it in Airbyte meanwhile: nothing was written, and the next try begins with what is there now";
                return Err(EngineError { what, why: why.into(), remedy: Remedy::Retry, retry_after: None });
            }
            let entries = &live.known.sync_catalog.streams;
            let streams = catalog::entries(&draft.streams, &stored.catalog.streams, entries, &draft.options);
            body.insert("syncCatalog".into(), json!({ "streams": streams }));
            body.extend(stored.catalog_id.map(|id| ("sourceCatalogId".to_owned(), json!(id))));
        }
        let sent = applied("update_connection", self.api.update_connection(Value::Object(body))).await;
        sent.map_err(|e| unwritten(&what, &e))
    }

    async fn delete(&self, kind: ObjectKind, id: &EngineId) -> Result<(), EngineError> {
        let what = format!("deleting {} {}", kind.word(), id.0);
        let gone = applied(&format!("delete_{}", kind.word()), self.api.delete(kind, uuid(&what, id)?)).await;
        gone.map_err(|e| unwritten(&what, &e))
    }

    async fn start_sync(&self, order: &SyncOrder) -> Result<Job, EngineError> {
        // what a connector says of its failure may repeat settings
        let mask = |text: &str| order.source.config.mask(&order.destination.config.mask(text));
        Ok(told_job(&self.start_or_follow(order).await?, mask))
    }

    async fn clear(&self, order: &ClearOrder) -> Result<Option<i64>, EngineError> {
        let what = format!("clearing streams of connection {}", order.engine_id.0);
        let (id, streams) = (uuid(&what, &order.engine_id)?, named(&order.streams));
        let cleared = applied("clear", self.api.clear(id, &streams)).await;
        cleared.map(|job| Some(job.id)).map_err(|e| unwritten(&what, &e))
    }

    async fn cancel(&self, id: &EngineId, job: i64) -> Result<bool, EngineError> {
        let what = format!("cancelling job {job}");
        self.api.cancel(uuid(&what, id)?, job).await.map_err(|e| unwritten(&what, &e))
    }
}

fn status(enabled: bool) -> &'static str {
    if enabled { "active" } else { "inactive" }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
