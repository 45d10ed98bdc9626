//! The Config API: `POST` with everything in the body.

mod actors;
mod commands;
mod connections;
mod jobs;
pub mod tags;

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Answer, Call, Trouble};
use super::diff;
use super::server::Shared;
use super::state::{Side, State, Workspace, absent};

/// Answers a call of this API.
pub async fn answer(shared: &Arc<Shared>, call: &Call) -> Result<Answer, Trouble> {
    let Some(path) = call.path.strip_prefix("/v1/") else { return Err(Trouble::NoSuchCall) };
    match (call.method.as_str(), path) {
        ("GET", "health") => return Ok(Answer::ok(json!({"available": true}))),
        ("GET", "instance_configuration") => return Ok(instance(&shared.state())),
        ("POST", _) => {}
        _ => return Err(Trouble::NoSuchCall),
    }
    let Some((family, verb)) = path.split_once('/') else { return Err(Trouble::NoSuchCall) };
    match family {
        "workspaces" => workspaces(&mut shared.state(), call, verb),
        "source_definitions" => definitions(&shared.state(), call, Side::Source, verb),
        "destination_definitions" => definitions(&shared.state(), call, Side::Destination, verb),
        "source_definition_specifications" => specification(&shared.state(), call, Side::Source, verb),
        "destination_definition_specifications" => specification(&shared.state(), call, Side::Destination, verb),
        "sources" => actors::answer(shared, call, Side::Source, verb).await,
        "destinations" => actors::answer(shared, call, Side::Destination, verb).await,
        "scheduler" => actors::answer_scheduler(shared, call, verb),
        "commands" => commands::answer(shared, call, verb),
        "connections" => connections::answer(shared, call, verb),
        "web_backend" => connections::answer_web_backend(shared, call, verb).await,
        "jobs" => jobs::answer(shared, call, verb),
        "catalogs" => catalogs(&mut shared.state(), call, verb),
        "tags" => tags::answer(&mut shared.state(), call, verb),
        _ => Err(Trouble::NoSuchCall),
    }
}

fn instance(state: &State) -> Answer {
    let id = Uuid::nil();
    Answer::ok(json!({
        "edition": "community", "version": state.version.to_string(), "airbyteUrl": "http://localhost:8000",
        "auth": {"mode": if state.credentials.is_some() { "simple" } else { "none" }}, "initialSetupComplete": true,
        "defaultUserId": id, "defaultOrganizationId": id, "defaultOrganizationEmail": "pat@example.org",
        "trackingStrategy": "logging",
    }))
}

fn workspaces(state: &mut State, call: &Call, verb: &str) -> Result<Answer, Trouble> {
    let read = |w: &Workspace| {
        json!({"workspaceId": w.id, "customerId": w.id, "name": w.name, "slug": w.name.to_lowercase().replace(' ', "-"),
            "initialSetupComplete": true, "organizationId": Uuid::nil(), "tombstone": false})
    };
    match verb {
        "list" if state.version.has_workspaces_list() => {
            Ok(Answer::ok(json!({"workspaces": state.workspaces.iter().map(read).collect::<Vec<_>>()})))
        }
        "list_by_organization_id" => {
            // an installation has one organization
            let organization = call.id("organizationId")?;
            if !organization.is_nil() {
                return Err(absent("organization", organization));
            }
            let all = state.workspaces.iter().map(read).collect();
            Ok(Answer::ok(json!({"workspaces": rows(&call.body, all)})))
        }
        "create" => {
            call.id("organizationId")?;
            let id = state.add_workspace(call.text("name")?);
            Ok(Answer::ok(read(state.workspace(id)?)))
        }
        _ => Err(Trouble::NoSuchCall),
    }
}

/// The rows that `pagination` asks for.
pub fn rows(body: &Value, all: Vec<Value>) -> Vec<Value> {
    let number = |key: &str| body["pagination"][key].as_u64().and_then(|n| usize::try_from(n).ok());
    all.into_iter().skip(number("rowOffset").unwrap_or(0)).take(number("pageSize").unwrap_or(usize::MAX)).collect()
}

/// `list` needs no workspace, and knows nothing of its pins.
fn definitions(state: &State, call: &Call, side: Side, verb: &str) -> Result<Answer, Trouble> {
    let workspace = match verb {
        "list_for_workspace" => Some(state.workspace(call.id("workspaceId")?)?.id),
        "list" => None,
        _ => return Err(Trouble::NoSuchCall),
    };
    let pinned = |definition: Uuid| state.pins.get(&(workspace?, definition));
    let word = side.word();
    let all = state.definitions.iter().filter(|d| d.side == side).map(|d| {
        json!({format!("{word}DefinitionId"): d.id, "name": d.name, "dockerRepository": d.repository,
            "dockerImageTag": pinned(d.id).unwrap_or(&d.tag), "documentationUrl": "https://example.org/connector", "custom": false,
            "supportLevel": "certified"})
    });
    Ok(Answer::ok(json!({format!("{word}Definitions"): all.collect::<Vec<_>>()})))
}

fn specification(state: &State, call: &Call, side: Side, verb: &str) -> Result<Answer, Trouble> {
    if verb != "get" {
        return Err(Trouble::NoSuchCall);
    }
    let key = format!("{}DefinitionId", side.word());
    state.workspace(call.id("workspaceId")?)?;
    let definition = state.definition(side, call.id(&key)?)?;
    let mut answer = json!({
        key: definition.id, "documentationUrl": "https://example.org/connector", "jobInfo": job_info("get_spec", None),
        "connectionSpecification": definition.spec,
    });
    if side == Side::Destination {
        answer["supportedDestinationSyncModes"] = json!(definition.modes);
    }
    Ok(Answer::ok(answer))
}

/// `catalogs/diff`, after 2.0: without a connection only streams that were added and removed, and no effect unless asked.
fn catalogs(state: &mut State, call: &Call, verb: &str) -> Result<Answer, Trouble> {
    if verb != "diff" || !state.version.is_after_2_0() {
        return Err(Trouble::NoSuchCall);
    }
    let find = |key: &str| {
        let id = call.id(key)?;
        state.catalog(id).ok_or_else(|| absent("catalog", id))
    };
    let (old, new) = (find("current_catalog_id")?, find("new_catalog_id")?);
    let connection = call.maybe_id("connection_id")?;
    let entries = match connection {
        Some(id) => state.connection(id)?.entries.as_slice(),
        None => &[],
    };
    let diff = diff::between(&old.streams, &new.streams, entries);
    if let (Some(id), Some(true)) = (connection, call.body["persist_changes"].as_bool()) {
        actors::settle(state.connection_mut(id)?, &diff);
    }
    let change = match (diff::is_empty(&diff), diff::is_breaking(&diff)) {
        (true, _) => "no_change",
        (false, breaking) => {
            if breaking {
                "breaking"
            } else {
                "non_breaking"
            }
        }
    };
    Ok(Answer::ok(json!({"catalog_diff": diff, "schema_change": change})))
}

/// The `jobInfo` of a call that ran a connector; with why it failed.
pub fn job_info(kind: &str, failed: Option<&str>) -> Value {
    let now = chrono::Utc::now().timestamp_millis();
    let mut info = json!({"id": Uuid::nil(), "configType": kind, "createdAt": now, "endedAt": now,
        "succeeded": failed.is_none(), "connectorConfigurationUpdated": false, "logs": {"logLines": []}});
    if let Some(why) = failed {
        info["failureReason"] = failure(why);
    }
    info
}

/// A `FailureReason`.
pub fn failure(why: &str) -> Value {
    json!({"failureOrigin": "source", "failureType": "config_error", "externalMessage": why, "internalMessage": why,
        "retryable": false, "timestamp": chrono::Utc::now().timestamp_millis()})
}
