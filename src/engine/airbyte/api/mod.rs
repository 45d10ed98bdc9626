//! What is asked of Airbyte, one function per question, with the traps of its contract handled where they are.
//!
//! Lists are read to their last page. An object that was asked for by id counts as there only if it is in force: deleted
//! ones are still answered. Answers keep what this version does not know.

mod connections;
mod jobs;
mod objects;
mod pages;
mod runs;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Value, json};
use uuid::Uuid;

pub use self::objects::*;
pub(super) use self::pages::lacking;
use self::pages::{ENDLESS, PAGE, PAGES_MAX, another, list, pages};
use super::client::{Client, Kind};
use super::error::{ApiError, Fate};
use crate::ports::ObjectKind;

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
}

/// Whether a version is known to be this one or a later.
fn is_at_least(version: &str, least: (u32, u32)) -> bool {
    let mut parts = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= least)
}
