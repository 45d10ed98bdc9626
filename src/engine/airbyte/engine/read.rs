//! Looking at Airbyte; nothing here writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AirbyteEngine, engine_id, failed_run, person, unread, uuid};
use crate::connector::specification;
use crate::drift::radius::Tables;
use crate::engine::airbyte::api::{Actor, Kept, lacking};
use crate::engine::airbyte::error::ApiError;
use crate::engine::airbyte::schedule::to_airbyte;
use crate::engine::airbyte::seen::Seen;
use crate::engine::airbyte::told::{moves_rows, told, told_endpoint, told_job};
use crate::engine::airbyte::{catalog, landing};
use crate::model::Catalog;
use crate::ports::{
    Candidate, ConnectionDraft, Discovered, EndpointHandle, EngineConnection, EngineEndpoint, EngineError, EngineId,
    EngineRead, Job, Manner, ObjectKind, OwnerKey, Survey,
};
use crate::spec::{Connection, Mode, Namespace};

/// Until when an object may appear whose creation was not answered, counted from the intent: Airbyte's own proxies give up ten
/// minutes after a request came; before it is sent it waits for a token, a place and the budget, four minutes at most; and a
/// minute for clocks that differ.
const LATE: Duration = Duration::from_secs(900);
/// Jobs that ended before the last survey by more than this are not asked for again: clocks differ.
const OVERLAP: chrono::TimeDelta = chrono::TimeDelta::minutes(10);
/// How far back the first survey looks for jobs.
const FIRST: chrono::TimeDelta = chrono::TimeDelta::days(2);

fn candidate(id: Uuid, marked: bool, created_at: Option<i64>) -> Candidate {
    let made = created_at.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    Candidate { id: engine_id(id), marked, made }
}

impl AirbyteEngine {
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
        let all = all.iter().map(|a| &a.known);
        Ok(all.map(|a| candidate(a.id, used_by_us(a.id), a.created_at)).collect())
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
        super::super::said::spelled(setting, value)
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
            Some(_) => Ok(vec![candidate(id, true, None)]),
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
                Some(_) => Ok(vec![Candidate { id: id.clone(), marked: true, made: None }]),
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
        let all = all.iter().map(|c| &c.known);
        Ok(all.map(|c| candidate(c.connection_id, self.is_ours(c), c.created_at)).collect())
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

    async fn clear_after(&self, id: &EngineId, after: i64) -> Result<Option<i64>, EngineError> {
        let what = format!("looking for a clear of connection {}", id.0);
        let jobs = self.api.jobs(uuid(&what, id)?, 20).await.map_err(|e| unread(&what, &e))?;
        Ok(jobs.iter().filter(|job| job.id > after && job.kind == "clear").map(|job| job.id).min())
    }
}
