//! Runs of a connector: checks and discovers. HTTP says nothing of how they went.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Airbyte, Discovery, RunError, SyncCatalog, family};
use crate::engine::airbyte::client::Kind;
use crate::engine::airbyte::error::{ApiError, Fate, said};
use crate::ports::ObjectKind;

/// When a command is first asked for its status again; then ever later, up to [`POLL_MAX`].
const POLL_MIN: Duration = Duration::from_millis(100);
/// How often a long command is asked for its status.
const POLL_MAX: Duration = Duration::from_secs(2);
/// More streams than the largest system has tables: a catalog of more is none that a person could approve.
const STREAMS_MAX: usize = 200_000;

impl Airbyte {
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

    pub(super) fn open_discovers(&self) -> MutexGuard<'_, BTreeMap<Uuid, String>> {
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
    let garbled = |why: String| ApiError::new("a discover", Fate::Garbled, why);
    let streams = answer["catalog"]["streams"].as_array().map_or(0, Vec::len);
    if streams > STREAMS_MAX {
        return Err(garbled(format!("a catalog of {streams} streams, more than {STREAMS_MAX}")).into());
    }
    let catalog = answer.get("catalog").and_then(|catalog| SyncCatalog::deserialize(catalog).ok());
    let catalog = catalog.ok_or_else(|| garbled("the answer has no catalog".into()))?;
    let catalog_id = answer.get("catalogId").and_then(Value::as_str).and_then(|id| id.parse().ok());
    Ok(Discovery { catalog, catalog_id })
}

fn failure(ran: &Value) -> String {
    let reason = &ran["failureReason"];
    let words = [&reason["externalMessage"], &reason["internalMessage"]].into_iter().find_map(Value::as_str);
    words.and_then(said).unwrap_or_else(|| "the connector failed and gave no reason".into())
}
