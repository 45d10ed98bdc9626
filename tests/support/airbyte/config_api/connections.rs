//! Connections: `connections/*`, and `web_backend/connections/*` as the web page calls it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::answer::{Answer, Call, Trouble, uuid};
use super::super::catalog::{self, key};
use super::super::discover::{self, Found};
use super::super::server::Shared;
use super::super::state::{Actor, Connection, Side, State, StreamKey};
use super::super::{connections, diff, jobs};
use super::{actors, jobs as shown_jobs, rows};

/// Objects per page of the web page's list.
const PAGE: usize = 20;

/// `connections/*`.
pub fn answer(shared: &Arc<Shared>, call: &Call, verb: &str) -> Result<Answer, Trouble> {
    match verb {
        "create" => {
            let mut state = shared.state();
            let id = connections::create(&mut state, &call.body)?;
            Ok(Answer::ok(read(&state, state.connection(id)?)))
        }
        "get" => {
            let state = shared.state();
            Ok(Answer::ok(read(&state, state.connection(call.id("connectionId")?)?)))
        }
        "update" => {
            let mut state = shared.state();
            let id = call.id("connectionId")?;
            connections::patch(&mut state, id, &call.body)?;
            Ok(Answer::ok(read(&state, state.connection(id)?)))
        }
        "delete" => {
            connections::delete(&mut shared.state(), call.id("connectionId")?)?;
            Ok(Answer::empty())
        }
        "list" => {
            let (state, workspace) = (shared.state(), call.id("workspaceId")?);
            state.workspace(workspace)?;
            let all = listed(&state, call, vec![workspace], false);
            Ok(Answer::ok(json!({"connections": all.map(|c| read(&state, c)).collect::<Vec<_>>()})))
        }
        "list_paginated" => {
            let state = shared.state();
            let workspaces = call.field("workspaceIds")?.as_array().into_iter().flatten().map(uuid);
            let workspaces: Vec<Uuid> = workspaces.collect::<Result<_, _>>()?;
            let all = listed(&state, call, workspaces, call.body["includeDeleted"] == true);
            let all = all.map(|c| read(&state, c)).collect();
            Ok(Answer::ok(json!({"connections": rows(&call.body, all)})))
        }
        "status" => {
            let state = shared.state();
            let wanted = call.field("connectionIds")?.as_array().into_iter().flatten().map(uuid);
            let statuses: Result<Vec<Value>, _> = wanted.map(|id| Ok(status(&state, state.connection(id?)?))).collect();
            Ok(Answer::ok(json!(statuses?)))
        }
        "sync" | "clear" | "reset" | "clear/stream" | "reset/stream" => {
            let kind = match verb.split_once('/').map_or(verb, |(kind, _)| kind) {
                "sync" => "sync",
                "clear" => "clear",
                _ => "reset_connection",
            };
            let streams = if verb.ends_with("/stream") { streams(call.field("streams")?) } else { BTreeSet::new() };
            let job = jobs::start(shared, call.id("connectionId")?, kind, streams, false)?;
            Ok(Answer::ok(shown_jobs::info(&shared.state(), job)?))
        }
        "refresh" => {
            let mode = call.text("refreshMode")?;
            let id = call.id("connectionId")?;
            let kind = if mode == "Truncate" { jobs::TRUNCATE } else { "refresh" };
            if !supports_refreshes(&shared.state(), id)? {
                return Ok(Answer::ok(json!({})));
            }
            let job = jobs::start(shared, id, kind, streams(&call.body["streams"]), false)?;
            Ok(Answer::ok(json!({"job": shown_jobs::info(&shared.state(), job)?["job"]})))
        }
        _ => Err(Trouble::NoSuchCall),
    }
}

fn streams(list: &Value) -> BTreeSet<StreamKey> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = list.as_array().into_iter().flatten();
    list.map(|s| (text(&s["streamNamespace"]), text(&s["streamName"]).unwrap_or_default())).collect()
}

fn supports_refreshes(state: &State, connection: Uuid) -> Result<bool, Trouble> {
    let destination = state.actor(Side::Destination, state.connection(connection)?.destination)?;
    Ok(state.definition(Side::Destination, destination.definition)?.refreshes)
}

/// Newest first, as lists have them.
fn listed<'s>(
    state: &'s State,
    call: &Call,
    workspaces: Vec<Uuid>,
    with_deleted: bool,
) -> impl Iterator<Item = &'s Connection> + use<'s> {
    let lag = call.lag;
    state.connections.iter().rev().filter(move |c| {
        workspaces.contains(&state.workspace_of(c))
            && (with_deleted || c.status != "deprecated")
            && c.born.elapsed() >= lag
    })
}

/// As `connections/get` shows it: selected streams only.
pub fn read(state: &State, connection: &Connection) -> Value {
    let mut read = common(state, connection);
    read["syncCatalog"] = json!({"streams": connection.entries});
    read["breakingChange"] = json!(connection.breaking);
    read["created_at"] = json!(connection.created_at);
    read["workspaceId"] = json!(state.workspace_of(connection));
    if let Some(id) = connection.source_catalog {
        read["sourceCatalogId"] = json!(id);
    }
    read
}

/// What both forms of a connection have.
fn common(state: &State, connection: &Connection) -> Value {
    let mut read = json!({
        "connectionId": connection.id, "name": connection.name, "sourceId": connection.source,
        "destinationId": connection.destination, "status": connection.status,
        "statusReason": connection.status_reason, "scheduleType": connection.schedule_type,
        "namespaceDefinition": connection.namespace_definition, "prefix": connection.prefix, "operationIds": [],
        "notifySchemaChanges": false, "notifySchemaChangesByEmail": false, "onDemandEnabled": false,
        "nonBreakingChangesPreference": connection.preference, "backfillPreference": connection.backfill,
    });
    if connection.schedule_data.is_object() {
        read["scheduleData"] = connection.schedule_data.clone();
    }
    if let Some(format) = &connection.namespace_format {
        read["namespaceFormat"] = json!(format);
    }
    if state.version.has_tags() {
        read["tags"] = json!(connection.tags);
    }
    for (key, value) in &connection.other {
        read[key] = value.clone();
    }
    read
}

/// `connectionSyncStatus`.
fn status(state: &State, connection: &Connection) -> Value {
    let newest = state.newest_job(connection.id);
    let word = match newest.map(|job| job.status) {
        _ if connection.status != "active" => "paused",
        None => "pending",
        Some("pending" | "running") => "running",
        Some("queued") => "queued",
        Some("incomplete") => "incomplete",
        Some("succeeded") => "synced",
        Some(_) => "failed",
    };
    let mut read = json!({"connectionId": connection.id, "connectionSyncStatus": word});
    if let Some(job) = newest {
        read["lastSyncJobId"] = json!(job.id);
        read["lastSyncJobCreatedAt"] = json!(job.created_at);
    }
    read
}

/// `web_backend/connections/*`.
pub async fn answer_web_backend(shared: &Arc<Shared>, call: &Call, verb: &str) -> Result<Answer, Trouble> {
    match verb {
        "connections/get" => {
            let id = call.id("connectionId")?;
            let source = shared.state().connection(id)?.source;
            let mut diff = json!(null);
            if call.body["withRefreshedCatalog"] == true {
                let found = discover::with_cache(shared, source, false).await;
                if matches!(found, Found::Fresh(_)) {
                    diff = actors::discovered_for(&mut shared.state(), source, id, found)?;
                }
            }
            let state = shared.state();
            let mut answer = web_read(&state, state.connection(id)?)?;
            if diff.is_object() {
                answer["catalogDiff"] = diff["catalogDiff"].clone();
            }
            Ok(Answer::ok(answer))
        }
        "connections/list" => {
            let (state, workspace) = (shared.state(), call.id("workspaceId")?);
            state.workspace(workspace)?;
            let mut all: Vec<&Connection> = listed(&state, call, vec![workspace], false).collect();
            let count = all.len();
            if let Some(cursor) = call.maybe_id("cursor")? {
                let after = all.iter().position(|c| c.id == cursor).map_or(0, |at| at + 1);
                all.drain(..after);
            }
            let page = call.body["pageSize"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(PAGE);
            all.truncate(page);
            let items: Result<Vec<Value>, _> = all.into_iter().map(|c| web_item(&state, c)).collect();
            Ok(Answer::ok(json!({"connections": items?, "page_size": page, "num_connections": count})))
        }
        "connections/create" => {
            let mut state = shared.state();
            let id = connections::create(&mut state, &call.body)?;
            Ok(Answer::ok(web_read(&state, state.connection(id)?)?))
        }
        "connections/update" => web_update(shared, call),
        _ => Err(Trouble::NoSuchCall),
    }
}

/// Without `skipReset`, every stream that is added, removed or changed is refreshed, or cleared where the destination
/// knows no refreshes. While the connection is stopped that waits for its next start.
fn web_update(shared: &Arc<Shared>, call: &Call) -> Result<Answer, Trouble> {
    let id = call.id("connectionId")?;
    let (changed, kind, is_active) = {
        let mut state = shared.state();
        if call.body["skipReset"] != true && state.running_job(id).is_some() {
            return Err(Trouble::Conflict(format!("A sync is already running for: {id}")));
        }
        let changed = connections::patch(&mut state, id, &call.body)?;
        let connection = state.connection(id)?;
        let newest = state.newest_fetch(connection.source).map(|f| f.catalog);
        let diff = newest.map(|newest| diff::against(&state, connection, newest)).unwrap_or_default();
        let is_active = connection.status == "active";
        state.connection_mut(id)?.breaking = diff::is_breaking(&diff);
        let kind = if supports_refreshes(&state, id)? { "refresh" } else { "reset_connection" };
        (changed, kind, is_active)
    };
    if call.body["skipReset"] != true && call.body.get("syncCatalog").is_some() && !changed.is_empty() {
        if is_active {
            jobs::start(shared, id, kind, changed, false)?;
        } else {
            shared.state().connection_mut(id)?.resets.extend(changed);
        }
    }
    let state = shared.state();
    Ok(Answer::ok(web_read(&state, state.connection(id)?)?))
}

/// With the streams that are not selected, from the newest stored catalog.
fn web_read(state: &State, connection: &Connection) -> Result<Value, Trouble> {
    let mut read = common(state, connection);
    let newest = state.newest_fetch(connection.source).map(|f| f.catalog);
    let stored = newest.or(connection.source_catalog).and_then(|id| state.catalog(id));
    let has = |stream: &Value| connection.entries.iter().any(|e| key(&e["stream"]) == key(stream));
    let unselected = stored.into_iter().flat_map(|c| &c.streams).filter(|s| !has(s));
    let mut entries = connection.entries.clone();
    entries.extend(unselected.map(|stream| catalog::entry(stream, false)));
    read["syncCatalog"] = json!({ "streams": entries });
    let (source, destination) = ends(state, connection)?;
    read["source"] = actors::read(state, source);
    read["destination"] = actors::read(state, destination);
    read["createdAt"] = json!(connection.created_at);
    read["tags"] = json!(connection.tags);
    if let Some(id) = connection.source_catalog {
        read["catalogId"] = json!(id);
    }
    latest(state, connection, &mut read)?;
    Ok(read)
}

fn web_item(state: &State, connection: &Connection) -> Result<Value, Trouble> {
    let mut item = json!({
        "connectionId": connection.id, "name": connection.name, "status": connection.status,
        "scheduleType": connection.schedule_type, "tags": connection.tags, "onDemandEnabled": false,
    });
    if connection.schedule_data.is_object() {
        item["scheduleData"] = connection.schedule_data.clone();
    }
    let (source, destination) = ends(state, connection)?;
    for actor in [source, destination] {
        let word = actor.side.word();
        let shown = actors::read(state, actor);
        let keys = [format!("{word}Id"), "name".into(), format!("{word}DefinitionId"), format!("{word}Name")];
        item[word] = keys.into_iter().map(|key| (key.clone(), shown[&key].clone())).collect();
    }
    latest(state, connection, &mut item)?;
    Ok(item)
}

fn ends<'s>(state: &'s State, connection: &Connection) -> Result<(&'s Actor, &'s Actor), Trouble> {
    Ok((state.actor(Side::Source, connection.source)?, state.actor(Side::Destination, connection.destination)?))
}

/// What the web page shows of jobs, schema and versions.
fn latest(state: &State, connection: &Connection, read: &mut Value) -> Result<(), Trouble> {
    if let Some(job) = state.newest_job(connection.id) {
        read["latestSyncJobCreatedAt"] = json!(job.created_at);
        read["latestSyncJobStatus"] = json!(job.status);
    }
    read["isSyncing"] = json!(state.running_job(connection.id).is_some());
    read["schemaChange"] = json!(connections::schema_change(state, connection));
    let (source, destination) = ends(state, connection)?;
    for actor in [source, destination] {
        let definition = state.definition(actor.side, actor.definition)?;
        read[format!("{}ActorDefinitionVersion", actor.side.word())] = json!({
            "dockerRepository": definition.repository, "dockerImageTag": definition.tag,
            "supportsRefreshes": definition.refreshes, "isVersionOverrideApplied": false, "supportState": "supported",
            "supportsFileTransfer": false, "supportsDataActivation": false,
        });
    }
    Ok(())
}
