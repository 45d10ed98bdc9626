//! Sources and destinations: their lives, checks, and the discover that holds its request open.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::actors;
use super::super::answer::{Answer, Call, Trouble};
use super::super::definitions::check_settings;
use super::super::discover::{self, Found};
use super::super::server::Shared;
use super::super::state::{Actor, Connection, Side, State, absent};
use super::super::{catalog, diff};
use super::{failure, job_info};

/// Objects per page from 1.8 on, unless asked otherwise.
const PAGE: usize = 20;

/// `sources/*` and `destinations/*`.
pub async fn answer(shared: &Arc<Shared>, call: &Call, side: Side, verb: &str) -> Result<Answer, Trouble> {
    let key = format!("{}Id", side.word());
    let settings = call.body.get("connectionConfiguration");
    match verb {
        "discover_schema" if side == Side::Source => return discover_schema(shared, call).await,
        "most_recent_source_actor_catalog" if side == Side::Source => return most_recent(&shared.state(), call),
        _ => {}
    }
    let mut state = shared.state();
    let state = &mut *state;
    match verb {
        "create" => {
            let definition = call.id(&format!("{}DefinitionId", side.word()))?;
            let settings = call.field("connectionConfiguration")?;
            let id = actors::create(state, side, call.id("workspaceId")?, definition, call.text("name")?, settings)?;
            Ok(Answer::ok(read(state, state.actor(side, id)?)))
        }
        "get" => Ok(Answer::ok(read(state, state.actor(side, call.id(&key)?)?))),
        "list" => list(state, call, side),
        "update" | "partial_update" => {
            let (id, merges) = (call.id(&key)?, verb == "partial_update");
            if !merges {
                call.field("connectionConfiguration")?;
                call.field("name")?;
            }
            actors::update(state, side, id, call.body["name"].as_str(), settings, merges)?;
            Ok(Answer::ok(read(state, state.actor(side, id)?)))
        }
        "delete" => {
            state.delete_actor(side, call.id(&key)?)?;
            Ok(Answer::empty())
        }
        "check_connection" => {
            let actor = state.actor_mut(side, call.id(&key)?)?;
            Ok(Answer::ok(checked(actor)))
        }
        "check_connection_for_update" => {
            let id = call.id(&key)?;
            let actor = state.actor_mut(side, id)?.clone();
            let settings = actors::proposed(state, &actor, call.field("connectionConfiguration")?)?;
            check_settings(&state.definition(side, actor.definition)?.spec, &settings)?;
            Ok(Answer::ok(checked(&actor)))
        }
        _ => Err(Trouble::NoSuchCall),
    }
}

/// `scheduler/{sources,destinations}/check_connection`: settings that no object has yet. They work if they name no object
/// whose own check fails.
pub fn answer_scheduler(shared: &Shared, call: &Call, verb: &str) -> Result<Answer, Trouble> {
    let side = match verb {
        "sources/check_connection" => Side::Source,
        "destinations/check_connection" => Side::Destination,
        _ => return Err(Trouble::NoSuchCall),
    };
    let state = shared.state();
    let definition = state.definition(side, call.id(&format!("{}DefinitionId", side.word()))?)?;
    let settings = call.field("connectionConfiguration")?;
    check_settings(&definition.spec, settings)?;
    let twin = state.actors.iter().find(|a| a.definition == definition.id && a.settings == *settings);
    let succeeded = || json!({"status": "succeeded", "jobInfo": job_info("check_connection_source", None)});
    Ok(Answer::ok(twin.map_or_else(succeeded, checked)))
}

/// A check's answer: 200 either way.
fn checked(actor: &Actor) -> Value {
    let kind = format!("check_connection_{}", actor.side.word());
    if let Some(why) = &actor.conduct.check_breaks {
        return json!({"jobInfo": job_info(&kind, Some(why))});
    }
    let info = job_info(&kind, None);
    match &actor.conduct.check_fails {
        Some(why) => json!({"status": "failed", "message": why, "jobInfo": info}),
        None => json!({"status": "succeeded", "jobInfo": info}),
    }
}

/// As the API shows it. A deleted one has no settings any more.
pub fn read(state: &State, actor: &Actor) -> Value {
    let word = actor.side.word();
    let definition = state.definition(actor.side, actor.definition);
    let in_use = state
        .connections
        .iter()
        .filter(|c| c.status == "active" && (c.source == actor.id || c.destination == actor.id))
        .count();
    let status = match (actor.deleted, in_use) {
        (true, _) => "deprecated",
        (_, 0) => "inactive",
        _ => "active",
    };
    json!({
        format!("{word}Id"): actor.id, format!("{word}DefinitionId"): actor.definition, "workspaceId": actor.workspace,
        "name": actor.name, format!("{word}Name"): definition.map(|d| d.name.clone()).unwrap_or_default(),
        "connectionConfiguration": actors::shown_settings(state, actor), "createdAt": actor.created_at,
        "status": status, "supportState": "supported", "numConnections": in_use,
    })
}

/// Newest first. From 1.8 on in pages, each beginning behind the object that `cursor` names.
fn list(state: &State, call: &Call, side: Side) -> Result<Answer, Trouble> {
    let workspace = call.id("workspaceId")?;
    state.workspace(workspace)?;
    let all = state
        .actors
        .iter()
        .rev()
        .filter(|a| a.side == side && a.workspace == workspace && !a.deleted && a.born.elapsed() >= call.lag);
    let mut all: Vec<&Actor> = all.collect();
    let count = all.len();
    let mut page = count;
    if state.version.pages_actors() {
        if let Some(cursor) = call.maybe_id("cursor")? {
            let after = all.iter().position(|a| a.id == cursor).map_or(0, |at| at + 1);
            all.drain(..after);
        }
        page = call.body["pageSize"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(PAGE);
        all.truncate(page);
    }
    let all: Vec<Value> = all.into_iter().map(|a| read(state, a)).collect();
    Ok(Answer::ok(json!({format!("{}s", side.word()): all, "page_size": page, "num_connections": count})))
}

/// The newest stored catalog, in the protocol's form, without a run.
fn most_recent(state: &State, call: &Call) -> Result<Answer, Trouble> {
    let source = call.id("sourceId")?;
    state.actor(Side::Source, source)?;
    let Some(fetch) = state.newest_fetch(source) else { return Ok(Answer::ok(json!({}))) };
    let streams = state.catalog(fetch.catalog).map(|c| c.streams.as_slice()).unwrap_or_default();
    Ok(Answer::ok(json!({"updatedAt": fetch.at, "catalog": catalog::protocol(streams)})))
}

async fn discover_schema(shared: &Arc<Shared>, call: &Call) -> Result<Answer, Trouble> {
    let source = call.id("sourceId")?;
    shared.state().actor_mut(Side::Source, source)?;
    let connection = call.maybe_id("connectionId")?;
    let fresh = call.body.get("disable_cache") == Some(&json!(true));
    let found = discover::with_cache(shared, source, !fresh).await;
    let mut state = shared.state();
    let state = &mut *state;
    if let Some(connection) = connection {
        return Ok(Answer::ok(discovered_for(state, source, connection, found)?));
    }
    Ok(Answer::ok(match found {
        Found::Failed(why) => json!({"jobInfo": job_info("discover_schema", Some(&why))}),
        Found::Cached(id) => {
            let mut info = job_info("discover_schema", None);
            info["configId"] = json!("NoConfiguration");
            info["createdAt"] = json!(0);
            info["endedAt"] = json!(0);
            json!({"catalogId": id, "catalog": catalog::with_defaults(state, id), "jobInfo": info})
        }
        Found::Fresh(id) => {
            let mut info = job_info("discover_schema", None);
            info["configId"] = json!(source);
            json!({"catalogId": id, "catalog": catalog::with_defaults(state, id), "jobInfo": info})
        }
    }))
}

/// What a difference does to the connection it was looked for: the flag, and the stop. The two afterwards.
pub fn settle(connection: &mut Connection, diff: &Value) -> (bool, String) {
    connection.breaking = diff::is_breaking(diff);
    let stops = connection.breaking || (connection.preference == "disable" && !diff::is_empty(diff));
    if stops && connection.status == "active" {
        connection.status = "inactive".into();
        connection.status_reason = Some("SCHEMA_CHANGES_ARE_BREAKING".into());
    }
    (connection.breaking, connection.status.clone())
}

/// The discover that names a connection: the answer lacks `jobInfo`, and the connection may be stopped by it.
pub fn discovered_for(state: &mut State, source: Uuid, connection: Uuid, found: Found) -> Result<Value, Trouble> {
    let id = match found {
        Found::Failed(why) => return Ok(json!({"jobInfo": job_info("discover_schema", Some(&why))})),
        Found::Cached(id) => return Ok(json!({"catalogId": id, "catalog": catalog::with_defaults(state, id)})),
        Found::Fresh(id) => id,
    };
    let named = state.connection(connection)?;
    if named.source != source {
        return Err(absent("connection", connection));
    }
    let diff = diff::against(state, named, id);
    let (breaking, status) = settle(state.connection_mut(connection)?, &diff);
    Ok(json!({
        "catalogId": id, "catalog": catalog::with_defaults(state, id), "catalogDiff": diff, "breakingChange": breaking,
        "connectionStatus": status,
    }))
}

/// What `commands/output/discover` says.
pub fn discover_output(state: &State, id: &str, found: Found) -> Value {
    match found {
        Found::Failed(why) => json!({"id": id, "status": "failed", "failureReason": failure(&why)}),
        Found::Fresh(catalog) | Found::Cached(catalog) => json!({
            "id": id, "status": "succeeded", "catalogId": catalog, "catalog": catalog::with_defaults(state, catalog),
        }),
    }
}

/// What `commands/output/check` says.
pub fn check_output(id: &str, actor: &Actor) -> Value {
    match actor.conduct.check_breaks.as_ref().or(actor.conduct.check_fails.as_ref()) {
        Some(why) => json!({"id": id, "status": "failed", "message": why, "failureReason": failure(why)}),
        None => json!({"id": id, "status": "succeeded"}),
    }
}
