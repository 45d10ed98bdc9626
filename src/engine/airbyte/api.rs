//! What is asked of Airbyte, one function per question, with the traps of its contract handled where they are.
//!
//! Lists are read to their last page. An object that was asked for by id counts as there only if it is in force: deleted
//! ones are still answered. Answers keep what this version does not know.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Client, Kind};
use super::error::{ApiError, Fate, said, shown};
use crate::ports::ObjectKind;

/// Objects per page of a list; the servers' default of 20 would hide the rest from a careless reader.
const PAGE: usize = 100;
/// More pages than any installation has: a list that goes on for longer goes in circles.
const PAGES_MAX: usize = 10_000;
/// Connections on a page: a catalog may have megabytes.
const CATALOGS_AT_ONCE: usize = 50;
/// Said of a list that gives a page again: what is missing from it may exist.
const ENDLESS: &str = "the list goes in circles, so that some of it was not seen";
/// When a command is first asked for its status again; then ever later, up to [`POLL_MAX`].
const POLL_MIN: Duration = Duration::from_millis(100);
/// How often a long command is asked for its status.
const POLL_MAX: Duration = Duration::from_secs(2);

/// An answer as it came, with what this version knows of it read out.
#[derive(Debug, Clone)]
pub struct Kept<T> {
    /// As it came.
    pub raw: Value,
    /// What is known of it.
    pub known: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Kept<T> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(d)?;
        let known = T::deserialize(&raw).map_err(serde::de::Error::custom)?;
        Ok(Self { raw, known })
    }
}

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Its id.
    pub workspace_id: Uuid,
    /// Its name, not unique.
    pub name: String,
}

/// A connector that a workspace can use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// Its id.
    #[serde(alias = "sourceDefinitionId", alias = "destinationDefinitionId")]
    pub id: Uuid,
    /// `Postgres`
    pub name: String,
    /// `airbyte/source-postgres`
    pub docker_repository: String,
    /// Its version.
    pub docker_image_tag: String,
}

/// A source or a destination.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// Its id.
    #[serde(alias = "sourceId", alias = "destinationId")]
    pub id: Uuid,
    /// Its name, not unique.
    pub name: String,
    /// Its connector.
    #[serde(alias = "sourceDefinitionId", alias = "destinationDefinitionId")]
    pub definition: Uuid,
    /// Where it is.
    pub workspace_id: Uuid,
    /// Its settings, secrets masked as `**********`.
    #[serde(default)]
    pub connection_configuration: Value,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    pub created_at: Option<i64>,
    /// `deprecated` once deleted.
    #[serde(default)]
    pub status: Option<String>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Its id.
    pub connection_id: Uuid,
    /// Its name, not unique.
    pub name: String,
    /// Its source.
    pub source_id: Uuid,
    /// Its destination.
    pub destination_id: Uuid,
    /// `active`, `inactive`, `deprecated`, `locked`, or what a later version has.
    pub status: String,
    /// Why the system changed it.
    #[serde(default)]
    pub status_reason: Option<String>,
    /// The streams it carries.
    #[serde(default)]
    pub sync_catalog: SyncCatalog,
    /// Whether Airbyte stopped it for a change of the source.
    #[serde(default)]
    pub breaking_change: bool,
    /// The stored catalog it was made from.
    #[serde(default)]
    pub source_catalog_id: Option<Uuid>,
    /// When it was made, in seconds since 1970.
    #[serde(default, rename = "created_at")]
    pub created_at: Option<i64>,
    /// Its tags, whole.
    #[serde(default)]
    pub tags: Vec<Value>,
}

/// The streams of a connection or a discover, with their configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct SyncCatalog {
    /// `{"stream": {…}, "config": {…}}` each; see `catalog`.
    pub streams: Vec<Value>,
}

/// What a discover brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// The streams.
    pub catalog: SyncCatalog,
    /// The id of the stored catalog.
    pub catalog_id: Option<Uuid>,
}

/// A job of a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiJob {
    /// Its id.
    pub id: i64,
    /// Whose.
    pub connection: Option<Uuid>,
    /// `pending`, `queued`, `running`, `incomplete`, `failed`, `succeeded`, `cancelled`, or what a later version has.
    pub status: String,
    /// `sync`, `clear`, `refresh`, `reset_connection`.
    pub kind: String,
    /// When it was made, in seconds since 1970.
    pub created_at: i64,
    /// When it last changed, in seconds since 1970.
    pub updated_at: i64,
    /// Rows that arrived in the destination.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Why its last attempt failed, as it came.
    pub failure: Option<String>,
}

impl ApiJob {
    /// Whether it has ended; `incomplete` has not: a retry follows.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

/// Why a check or a discover did not succeed though it was answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunError {
    /// The call failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The connector said no: its words as they came, which may repeat settings.
    #[error("{}", shown(.0))]
    Connector(String),
}

/// The questions.
#[derive(Debug)]
pub struct Airbyte {
    /// How they are sent.
    pub client: Client,
    /// Discovers that were asked for and not seen to end, by source: the id of the command.
    open: Mutex<BTreeMap<Uuid, String>>,
}

fn family(kind: ObjectKind) -> (&'static str, &'static str) {
    match kind {
        ObjectKind::Source => ("source", "sources"),
        ObjectKind::Destination => ("destination", "destinations"),
        ObjectKind::Connection => ("connection", "connections"),
    }
}

impl Airbyte {
    /// Asks through this client.
    pub fn new(client: Client) -> Self {
        Self { client, open: Mutex::default() }
    }

    /// All workspaces.
    pub async fn workspaces(&self) -> Result<Vec<Workspace>, ApiError> {
        let page = async |offset: usize| {
            if self.client.instance().await?.public {
                let query = [("limit", PAGE.to_string()), ("offset", offset.to_string())];
                let found: Value =
                    self.client.public(Kind::Read, reqwest::Method::GET, "/workspaces", &query, None).await?;
                return list("data", found, "GET /public/workspaces");
            }
            let body = json!({"organizationId": Uuid::nil(), "pagination": {"pageSize": PAGE, "rowOffset": offset}});
            let found: Result<Value, _> =
                self.client.config(Kind::Read, "/v1/workspaces/list_by_organization_id", &body).await;
            let found = match found {
                // up to 1.6 there is a list without pages: the second page brings nothing new
                Err(e) if e.is_lacking() => self.client.config(Kind::Read, "/v1/workspaces/list", &json!({})).await?,
                other => other?,
            };
            list("workspaces", found, "POST /v1/workspaces")
        };
        pages(page, |w: &Workspace| w.workspace_id).await
    }

    /// The connectors that a workspace can use.
    pub async fn definitions(&self, kind: ObjectKind, workspace: Uuid) -> Result<Vec<Definition>, ApiError> {
        let (one, _) = family(kind);
        let path = format!("/v1/{one}_definitions/list_for_workspace");
        let found: Value = self.client.config(Kind::Read, &path, &json!({"workspaceId": workspace})).await?;
        list(&format!("{one}Definitions"), found, &path)
    }

    /// The sources or destinations of a workspace.
    pub async fn actors(&self, kind: ObjectKind, workspace: Uuid) -> Result<Vec<Kept<Actor>>, ApiError> {
        let (one, many) = family(kind);
        let path = format!("/v1/{many}/list");
        // before 1.8 there are no pages: everything is answered each time
        let has_pages = is_at_least(&self.client.instance().await?.version, (1, 8));
        let mut all: Vec<Kept<Actor>> = Vec::new();
        let mut seen = BTreeSet::new();
        for _ in 0..PAGES_MAX {
            let mut body = json!({"workspaceId": workspace, "pageSize": PAGE});
            if let Some(last) = all.last() {
                body["cursor"] = json!(last.known.id);
            }
            let found: Value = self.client.config(Kind::Read, &path, &body).await?;
            let page: Vec<Kept<Actor>> = list(&format!("{one}s"), found, &path)?;
            let (before, count) = (all.len(), page.len());
            all.extend(page.into_iter().filter(|actor| seen.insert(actor.known.id)));
            match count.cmp(&PAGE) {
                Ordering::Equal if all.len() > before => {}
                Ordering::Equal if has_pages => break,
                _ => return Ok(all),
            }
        }
        Err(ApiError::new(&path, Fate::Garbled, ENDLESS))
    }

    /// A source or destination by id; `None` if it is deleted.
    pub async fn actor(&self, kind: ObjectKind, id: Uuid) -> Result<Option<Kept<Actor>>, ApiError> {
        let (one, many) = family(kind);
        let body = json!({ format!("{one}Id"): id });
        let found: Result<Kept<Actor>, _> = self.client.config(Kind::Read, &format!("/v1/{many}/get"), &body).await;
        match found {
            Ok(actor) if actor.known.id != id => Err(another(&format!("/v1/{many}/get"))),
            Ok(actor) => match actor.known.status.as_deref() {
                Some("deprecated") => Ok(None),
                Some("active") => Ok(Some(actor)),
                // some versions write nothing of a deleted one, or that it is inactive: then it is in no list
                _ => {
                    let listed = self.actors(kind, actor.known.workspace_id).await?;
                    Ok(listed.iter().any(|one| one.known.id == id).then_some(actor))
                }
            },
            Err(e) if e.is_absent() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a source or destination. It is not connected to by that.
    pub async fn create_actor(
        &self,
        kind: ObjectKind,
        workspace: Uuid,
        definition: Uuid,
        name: &str,
        settings: &Value,
    ) -> Result<Kept<Actor>, ApiError> {
        let (one, many) = family(kind);
        let body = json!({
            "workspaceId": workspace, format!("{one}DefinitionId"): definition, "name": name,
            "connectionConfiguration": settings,
        });
        let path = format!("/v1/{many}/create");
        let made: Kept<Actor> = self.client.config(Kind::Write, &path, &body).await?;
        let is = &made.known;
        let asked = is.name == name && is.definition == definition && is.workspace_id == workspace;
        if asked { Ok(made) } else { Err(another(&path)) }
    }

    /// Replaces name and settings of a source or destination.
    pub async fn update_actor(
        &self,
        kind: ObjectKind,
        id: Uuid,
        name: &str,
        settings: &Value,
    ) -> Result<Kept<Actor>, ApiError> {
        let (one, many) = family(kind);
        let body = json!({format!("{one}Id"): id, "name": name, "connectionConfiguration": settings});
        // one with other settings says nothing of these
        self.open_discovers().remove(&id);
        self.client.config(Kind::Write, &format!("/v1/{many}/update"), &body).await
    }

    /// Deletes an object; one that is gone already is no error. A source or destination takes its connections along.
    pub async fn delete(&self, kind: ObjectKind, id: Uuid) -> Result<(), ApiError> {
        let (one, many) = family(kind);
        let body = json!({ format!("{one}Id"): id });
        match self.client.config::<Value>(Kind::Write, &format!("/v1/{many}/delete"), &body).await {
            Err(e) if !e.is_absent() => Err(e),
            _ => Ok(()),
        }
    }

    /// Runs the check of a source or destination that exists.
    pub async fn check(&self, kind: ObjectKind, id: Uuid) -> Result<(), RunError> {
        let (one, many) = family(kind);
        let body = json!({ format!("{one}Id"): id });
        let answer: Value = self.client.config(Kind::Check, &format!("/v1/{many}/check_connection"), &body).await?;
        checked(&answer)
    }

    /// Runs the check of settings that no source or destination has yet.
    pub async fn check_settings(
        &self,
        kind: ObjectKind,
        workspace: Uuid,
        definition: Uuid,
        settings: &Value,
    ) -> Result<(), RunError> {
        let (one, many) = family(kind);
        let body = json!({
            format!("{one}DefinitionId"): definition, "workspaceId": workspace, "connectionConfiguration": settings,
        });
        let path = format!("/v1/scheduler/{many}/check_connection");
        checked(&self.client.config(Kind::Check, &path, &body).await?)
    }

    /// Reads a source's catalog, never from the cache and never naming a connection: that could pause it.
    pub async fn discover(&self, source: Uuid) -> Result<Discovery, RunError> {
        match self.discover_by_command(source).await {
            // before 1.7 there are no commands
            Err(RunError::Api(e)) if e.is_lacking() => {}
            other => return other,
        }
        let body = json!({"sourceId": source, "disable_cache": true});
        let answer: Value = self.client.config(Kind::Discover, "/v1/sources/discover_schema", &body).await?;
        discovered(&answer, &answer["jobInfo"])
    }

    /// The catalog that Airbyte keeps of a source; the connector runs only if it keeps none for the settings as they are.
    pub async fn stored_catalog(&self, source: Uuid) -> Result<Discovery, RunError> {
        let body = json!({"sourceId": source, "disable_cache": false});
        let answer: Value = self.client.config(Kind::Discover, "/v1/sources/discover_schema", &body).await?;
        discovered(&answer, &answer["jobInfo"])
    }

    /// The form that does not hold a request open. Its id is ours, so asking twice runs it once. One that did not end within its
    /// deadline, or was not followed to its end, runs on: it is gone on with.
    async fn discover_by_command(&self, source: Uuid) -> Result<Discovery, RunError> {
        let _slot = self.client.slow_slot().await;
        let open = self.open_discovers().get(&source).cloned();
        if let Some(id) = open {
            match self.follow_discover(source, &id).await {
                // a server that was started anew may know nothing of it
                Err(RunError::Api(e)) if matches!(e.fate, Fate::Answered(403 | 404)) => {}
                other => return other,
            }
        }
        let id = Uuid::now_v7().to_string();
        let run = json!({"id": id, "actor_id": source});
        self.client.config::<Value>(Kind::Read, "/v1/commands/run/discover", &run).await?;
        self.open_discovers().insert(source, id.clone());
        self.follow_discover(source, &id).await
    }

    fn open_discovers(&self) -> MutexGuard<'_, BTreeMap<Uuid, String>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of a discover, which is open no more then, whatever it is.
    async fn follow_discover(&self, source: Uuid, id: &str) -> Result<Discovery, RunError> {
        let found = self.end_of_discover(id).await;
        if !matches!(&found, Err(RunError::Api(e)) if e.is_transient()) {
            self.open_discovers().remove(&source);
        }
        found
    }

    async fn end_of_discover(&self, id: &str) -> Result<Discovery, RunError> {
        let began = tokio::time::Instant::now();
        let mut pause = POLL_MIN;
        let body = json!({ "id": id });
        loop {
            let answer: Value = self.client.config(Kind::Read, "/v1/commands/status", &body).await?;
            match answer.get("status").and_then(Value::as_str) {
                Some("completed") => break,
                Some("cancelled") => return Err(RunError::Connector("the discover was cancelled in Airbyte".into())),
                _ if began.elapsed() > self.client.discover_deadline() => {
                    let why = "the discover still runs; its result is looked for at the next look";
                    return Err(ApiError::new("POST /v1/commands/status", Fate::Unknown, why).into());
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(POLL_MAX);
        }
        let answer: Value = self.client.config(Kind::Read, "/v1/commands/output/discover", &body).await?;
        discovered(&answer, &answer)
    }

    /// What settings a connector takes: a JSON Schema.
    pub async fn specification(&self, kind: ObjectKind, workspace: Uuid, definition: Uuid) -> Result<Value, ApiError> {
        let (one, _) = family(kind);
        let path = format!("/v1/{one}_definition_specifications/get");
        let body = json!({"workspaceId": workspace, format!("{one}DefinitionId"): definition});
        let mut answer: Value = self.client.config(Kind::Read, &path, &body).await?;
        Ok(answer.get_mut("connectionSpecification").map(Value::take).unwrap_or_default())
    }

    /// How a destination's connector can write: the words of `destinationSyncMode`; `None` if it does not say.
    pub async fn destination_modes(&self, workspace: Uuid, definition: Uuid) -> Result<Option<Vec<String>>, ApiError> {
        let body = json!({"workspaceId": workspace, "destinationDefinitionId": definition});
        let path = "/v1/destination_definition_specifications/get";
        let answer: Value = self.client.config(Kind::Read, path, &body).await?;
        let words = answer.get("supportedDestinationSyncModes").and_then(Value::as_array);
        Ok(words.map(|words| words.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
    }

    /// The tags of a workspace, whole; `None` from a server that has none (before 1.4).
    pub async fn tags(&self, workspace: Uuid) -> Result<Option<Vec<Value>>, ApiError> {
        match self.client.config(Kind::Read, "/v1/tags/list", &json!({"workspaceId": workspace})).await {
            Ok(tags) => Ok(Some(tags)),
            Err(e) if e.is_lacking() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a tag.
    pub async fn create_tag(&self, workspace: Uuid, name: &str, color: &str) -> Result<Value, ApiError> {
        let body = json!({"workspaceId": workspace, "name": name, "color": color});
        let path = "/v1/tags/create";
        let tag: Value = self.client.config(Kind::Write, path, &body).await?;
        if tag["tagId"].is_string() && tag["name"] == json!(name) { Ok(tag) } else { Err(another(path)) }
    }

    /// Every connection of a workspace.
    pub async fn connections(&self, workspace: Uuid) -> Result<Vec<Kept<Connection>>, ApiError> {
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        let take = |texts: Vec<Box<RawValue>>| {
            let before = seen.len();
            for text in texts {
                let one = serde_json::from_str(text.get()).map_err(|_| lacking("/v1/connections/list"))?;
                let one: Kept<Connection> = one;
                // one that comes twice is not two
                if seen.insert(one.known.connection_id) {
                    all.push(one);
                }
            }
            Ok(seen.len() > before)
        };
        self.connection_texts(workspace, take).await?;
        Ok(all)
    }

    /// Every connection of a workspace, deleted ones too, each in the words in which it came. They come with their whole
    /// catalogs: where one answer would be too large, they are asked for page by page. `take` says whether something on a
    /// page was new.
    pub async fn connection_texts(
        &self,
        workspace: Uuid,
        mut take: impl FnMut(Vec<Box<RawValue>>) -> Result<bool, ApiError> + Send,
    ) -> Result<(), ApiError> {
        #[derive(Deserialize)]
        struct Listed {
            connections: Option<Vec<Box<RawValue>>>,
        }
        let path = "/v1/connections/list";
        match self.client.config::<Listed>(Kind::Read, path, &json!({"workspaceId": workspace})).await {
            Err(e) if e.fate == Fate::TooLarge => {}
            found => {
                take(found?.connections.ok_or_else(|| broken("connections", path))?)?;
                return Ok(());
            }
        }
        let path = "/v1/connections/list_paginated";
        for page in 0..PAGES_MAX {
            let rows = json!({"pageSize": CATALOGS_AT_ONCE, "rowOffset": page * CATALOGS_AT_ONCE});
            let body = json!({"workspaceIds": [workspace], "userId": Uuid::nil(), "pagination": rows});
            let found: Listed = self.client.config(Kind::Read, path, &body).await?;
            let found = found.connections.ok_or_else(|| broken("connections", path))?;
            let is_last = found.len() < CATALOGS_AT_ONCE;
            match (take(found)?, is_last) {
                (_, true) => return Ok(()),
                (true, false) => {}
                (false, false) => break,
            }
        }
        Err(ApiError::new(path, Fate::Garbled, ENDLESS))
    }

    /// A connection by id; `None` if it is deleted.
    pub async fn connection(&self, id: Uuid) -> Result<Option<Kept<Connection>>, ApiError> {
        let path = "/v1/connections/get";
        let found: Result<Kept<Connection>, _> =
            self.client.config(Kind::Read, path, &json!({"connectionId": id})).await;
        match found {
            Ok(found) if found.known.connection_id != id => Err(another(path)),
            Ok(found) if found.known.status == "deprecated" => Ok(None),
            Ok(found) => Ok(Some(found)),
            Err(e) if e.is_absent() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a connection from a whole `ConnectionCreate`.
    pub async fn create_connection(&self, body: &Value) -> Result<Kept<Connection>, ApiError> {
        let path = "/v1/connections/create";
        let made: Kept<Connection> = self.client.config(Kind::Write, path, body).await?;
        let is = json!({
            "name": made.known.name, "sourceId": made.known.source_id, "destinationId": made.known.destination_id,
        });
        let asked = ["name", "sourceId", "destinationId"].iter().all(|key| is[*key] == body[*key]);
        if asked { Ok(made) } else { Err(another(path)) }
    }

    /// Changes a connection: what is absent stays, a `syncCatalog` replaces the whole. Never clears data, and starts no job.
    pub async fn update_connection(&self, mut body: Value) -> Result<(), ApiError> {
        // without it, streams that changed are refreshed or cleared
        body["skipReset"] = json!(true);
        self.client.config::<Value>(Kind::Write, "/v1/web_backend/connections/update", &body).await.map(drop)
    }

    /// Starts a sync. While one runs it is refused with 409.
    pub async fn sync(&self, connection: Uuid) -> Result<ApiJob, ApiError> {
        let path = "/v1/connections/sync";
        let answer: Value = self.client.config(Kind::Write, path, &json!({"connectionId": connection})).await?;
        let job = job(&answer).ok_or_else(|| ApiError::new(path, Fate::Garbled, "the answer names no job"))?;
        if job.connection.is_some_and(|of| of != connection) { Err(another(path)) } else { Ok(job) }
    }

    /// Starts a job that reads these streams anew and keeps their rows until they are replaced; `None` where the destination
    /// cannot. While a job runs it is refused with 409.
    pub async fn refresh(&self, connection: Uuid, streams: &[Value]) -> Result<Option<ApiJob>, ApiError> {
        let path = "/v1/connections/refresh";
        let body = json!({"connectionId": connection, "refreshMode": "Merge", "streams": streams});
        let answer: Value = self.client.config(Kind::Write, path, &body).await?;
        match job(&answer) {
            Some(job) if job.connection.is_some_and(|of| of != connection) => Err(another(path)),
            found => Ok(found),
        }
    }

    /// Starts a job that deletes what landed of these streams.
    pub async fn clear(&self, connection: Uuid, streams: &[Value]) -> Result<ApiJob, ApiError> {
        let path = "/v1/connections/clear/stream";
        let body = json!({"connectionId": connection, "streams": streams});
        let answer: Value = self.client.config(Kind::Write, path, &body).await?;
        job(&answer).ok_or_else(|| ApiError::new(path, Fate::Garbled, "the answer names no job"))
    }

    /// The newest jobs of a connection, newest first.
    pub async fn jobs(&self, connection: Uuid, limit: u32) -> Result<Vec<ApiJob>, ApiError> {
        let body = json!({
            "configTypes": ["sync", "reset_connection", "clear", "refresh"], "configId": connection,
            "pagination": {"pageSize": limit, "rowOffset": 0},
        });
        let path = "/v1/jobs/list";
        let answer: Value = self.client.config(Kind::Read, path, &body).await?;
        jobs_of(answer, path)
    }

    /// The jobs of these workspaces that changed since then, newest change first, to the last page.
    pub async fn jobs_since(
        &self,
        workspaces: &[Uuid],
        since: chrono::DateTime<chrono::Utc>,
    ) -> Result<Vec<ApiJob>, ApiError> {
        let path = "/v1/jobs/list_for_workspaces";
        let since = since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let page = async |offset: usize| {
            let body = json!({
                "configTypes": ["sync", "reset_connection", "clear", "refresh"], "workspaceIds": workspaces,
                "updatedAtStart": since, "orderByField": "updatedAt", "orderByMethod": "DESC",
                "pagination": {"pageSize": PAGE, "rowOffset": offset},
            });
            jobs_of(self.client.config(Kind::Read, path, &body).await?, path)
        };
        pages(page, |job: &ApiJob| job.id).await
    }

    /// Cancels a job, if it is still the one that runs; whether it was: cancelling acts on whatever the connection runs now.
    pub async fn cancel(&self, connection: Uuid, id: i64) -> Result<bool, ApiError> {
        // one that waits behind it may be newer
        let jobs = self.jobs(connection, 20).await?;
        let running = jobs.iter().filter(|job| !job.has_ended()).min_by_key(|job| job.id);
        if running.is_none_or(|job| job.id != id) {
            return Ok(false);
        }
        self.client.config::<Value>(Kind::Write, "/v1/jobs/cancel", &json!({ "id": id })).await.map(|_| true)
    }
}

/// The answer is about something else than what was asked for.
fn another(call: &str) -> ApiError {
    ApiError::new(call, Fate::Garbled, "the answer is about another object than the one that was asked for")
}

/// The list below a key; an answer without it is broken, never empty.
fn list<T: DeserializeOwned>(key: &str, mut answer: Value, call: &str) -> Result<Vec<T>, ApiError> {
    let found = answer.get_mut(key).map(Value::take).filter(Value::is_array).ok_or_else(|| broken(key, call))?;
    serde_json::from_value(found).map_err(|_| lacking(call))
}

fn broken(key: &str, call: &str) -> ApiError {
    ApiError::new(call, Fate::Garbled, format!("the answer has no list `{key}`"))
}

/// Of an object of a list; serde's text repeats values, which may be settings.
pub(super) fn lacking(call: &str) -> ApiError {
    ApiError::new(call, Fate::Garbled, "an object of the list lacks what it must have")
}

/// Pages of the public API until one is short. Objects that come twice count once.
async fn pages<T, K: Ord, F: Future<Output = Result<Vec<T>, ApiError>>>(
    page: impl Fn(usize) -> F,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, ApiError> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for number in 0..PAGES_MAX {
        let found = page(number * PAGE).await?;
        let (count, before) = (found.len(), all.len());
        all.extend(found.into_iter().filter(|one| seen.insert(key(one))));
        match count.cmp(&PAGE) {
            Ordering::Equal if all.len() > before => {}
            Ordering::Equal => break,
            // short, or from a server without pages
            _ => return Ok(all),
        }
    }
    Err(ApiError::new("a list", Fate::Garbled, ENDLESS))
}

/// Whether a version is known to be this one or a later.
fn is_at_least(version: &str, least: (u32, u32)) -> bool {
    let mut parts = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= least)
}

/// A check's answer. HTTP is 200 either way, and a job that broke has no status.
fn checked(answer: &Value) -> Result<(), RunError> {
    if answer["jobInfo"]["succeeded"].as_bool() == Some(false) {
        return Err(RunError::Connector(failure(&answer["jobInfo"])));
    }
    match answer.get("status").and_then(Value::as_str) {
        Some("succeeded") => Ok(()),
        Some(_) => {
            let why = answer.get("message").and_then(Value::as_str).and_then(said);
            Err(RunError::Connector(why.unwrap_or_else(|| "the check failed and gave no reason".into())))
        }
        None => Err(ApiError::new("a check", Fate::Garbled, "the answer says neither succeeded nor failed").into()),
    }
}

/// A discover's answer; `ran` holds how the run went. A failed discover is HTTP 200 without a catalog.
fn discovered(answer: &Value, ran: &Value) -> Result<Discovery, RunError> {
    let failed = ran.get("succeeded").and_then(Value::as_bool) == Some(false)
        || ran.get("status").and_then(Value::as_str) == Some("failed");
    if failed {
        return Err(RunError::Connector(failure(ran)));
    }
    let catalog = answer.get("catalog").and_then(|catalog| SyncCatalog::deserialize(catalog).ok());
    let catalog = catalog.ok_or_else(|| ApiError::new("a discover", Fate::Garbled, "the answer has no catalog"))?;
    let catalog_id = answer.get("catalogId").and_then(Value::as_str).and_then(|id| id.parse().ok());
    Ok(Discovery { catalog, catalog_id })
}

fn failure(ran: &Value) -> String {
    let reason = &ran["failureReason"];
    let words = [&reason["externalMessage"], &reason["internalMessage"]].into_iter().find_map(Value::as_str);
    words.and_then(said).unwrap_or_else(|| "the connector failed and gave no reason".into())
}

/// A list of jobs, whole: one that is passed over may be the one that runs, and would make its page look like the last.
fn jobs_of(answer: Value, path: &str) -> Result<Vec<ApiJob>, ApiError> {
    let jobs: Vec<Value> = list("jobs", answer, path)?;
    jobs.iter().map(|one| job(one).ok_or_else(|| lacking(path))).collect()
}

/// `{"job": {…}, "attempts": […]}`; attempts may be wrapped once more.
fn job(answer: &Value) -> Option<ApiJob> {
    let job = answer.get("job")?;
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let attempts: Vec<&Value> = answer.get("attempts").and_then(Value::as_array).into_iter().flatten().collect();
    let last = attempts.last().map(|attempt| attempt.get("attempt").unwrap_or(attempt));
    let why = last.and_then(|attempt| attempt["failureSummary"]["failures"][0]["externalMessage"].as_str());
    let stats = |aggregated: &str, of_attempt: &str| {
        let told = [&job["aggregatedStats"][aggregated], last.map_or(&Value::Null, |last| &last[of_attempt])];
        told.into_iter().find_map(Value::as_u64).unwrap_or_default()
    };
    Some(ApiJob {
        id: job.get("id")?.as_i64()?,
        connection: job.get("configId").and_then(Value::as_str).and_then(|id| id.parse().ok()),
        status: job.get("status")?.as_str()?.to_owned(),
        kind: job.get("configType").and_then(Value::as_str).unwrap_or("sync").to_owned(),
        created_at: number(&job["createdAt"]),
        updated_at: number(&job["updatedAt"]),
        rows: stats("recordsCommitted", "recordsSynced"),
        bytes: stats("bytesCommitted", "bytesSynced"),
        attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
        failure: why.and_then(said),
    })
}
