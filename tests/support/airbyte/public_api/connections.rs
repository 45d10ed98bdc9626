//! `/connections` and `/streams`: streams by name, which the server joins with a discover of its own.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::answer::{Answer, Call, Trouble, uuid};
use super::super::catalog;
use super::super::connections;
use super::super::discover::{self, Found};
use super::super::quartz;
use super::super::server::Shared;
use super::super::state::{Connection, Side, State};
use super::actors::live;
use super::{page, path_id, workspace_filter};

/// Joint value, source mode, destination mode.
const MODES: [(&str, &str, &str); 9] = [
    ("full_refresh_overwrite", "full_refresh", "overwrite"),
    ("full_refresh_overwrite_deduped", "full_refresh", "overwrite_dedup"),
    ("full_refresh_append", "full_refresh", "append"),
    ("full_refresh_update", "full_refresh", "update"),
    ("full_refresh_soft_delete", "full_refresh", "soft_delete"),
    ("incremental_append", "incremental", "append"),
    ("incremental_deduped_history", "incremental", "append_dedup"),
    ("incremental_update", "incremental", "update"),
    ("incremental_soft_delete", "incremental", "soft_delete"),
];

/// `/connections`.
pub async fn answer(shared: &Arc<Shared>, call: &Call, rest: &[&str]) -> Result<Answer, Trouble> {
    match (call.method.as_str(), rest) {
        ("GET", []) => list(&shared.state(), call),
        ("GET", [id]) => {
            let state = shared.state();
            Ok(Answer::ok(read(&state, state.connection(path_id(id)?)?)))
        }
        ("DELETE", [id]) => {
            connections::delete(&mut shared.state(), path_id(id)?)?;
            Ok(Answer::empty())
        }
        ("POST", []) => {
            let source = call.id("sourceId")?;
            let mut body = translated(&call.body)?;
            let streams = match asked_streams(&call.body) {
                Some(streams) => Some(streams),
                // nothing asked for: only what the server preselects
                None => Some(&[][..]),
            };
            select(shared, source, streams, &mut body).await?;
            let defaults = [("status", "active"), ("namespaceDefinition", "destination"), ("scheduleType", "manual")];
            for (key, value) in defaults {
                body.entry(key).or_insert_with(|| json!(value));
            }
            for key in ["sourceId", "destinationId"] {
                body.insert(key.into(), call.field(key)?.clone());
            }
            let mut state = shared.state();
            let id = connections::create(&mut state, &Value::Object(body))?;
            Ok(Answer::ok(read(&state, state.connection(id)?)))
        }
        ("PATCH", [id]) => {
            let id = path_id(id)?;
            let mut body = translated(&call.body)?;
            // an empty list is ignored
            if let Some(streams) = asked_streams(&call.body) {
                let source = shared.state().connection(id)?.source;
                select(shared, source, Some(streams), &mut body).await?;
            }
            let mut state = shared.state();
            connections::patch(&mut state, id, &Value::Object(body))?;
            Ok(Answer::ok(read(&state, state.connection(id)?)))
        }
        _ => Err(Trouble::NoSuchCall),
    }
}

fn asked_streams(body: &Value) -> Option<&[Value]> {
    let streams = body["configurations"]["streams"].as_array().map(Vec::as_slice);
    streams.filter(|streams| !streams.is_empty())
}

fn list(state: &State, call: &Call) -> Result<Answer, Trouble> {
    let of = workspace_filter(call)?;
    let tag = call.query("tagIds").map(path_id).transpose()?;
    let with_deleted = call.query("includeDeleted") == Some("true");
    let wanted = |c: &&Connection| {
        of.is_none_or(|of| of == state.workspace_of(c))
            && (with_deleted || c.status != "deprecated")
            && tag.is_none_or(|tag| c.tags.iter().any(|t| t["tagId"] == json!(tag)))
            && c.born.elapsed() >= call.lag
    };
    page(call, "connections", state.connections.iter().filter(wanted).map(|c| read(state, c)).collect())
}

/// What both forms say, in the Config API's words.
fn translated(body: &Value) -> Result<Map<String, Value>, Trouble> {
    let mut out = Map::new();
    for key in ["name", "prefix", "status", "namespaceFormat", "tags"] {
        if let Some(value) = body.get(key).filter(|v| !v.is_null()) {
            out.insert(key.into(), value.clone());
        }
    }
    let words = [
        ("namespaceDefinition", "namespaceDefinition", "custom_format", "customformat"),
        ("nonBreakingSchemaUpdatesBehavior", "nonBreakingChangesPreference", "disable_connection", "disable"),
    ];
    for (from, to, theirs, ours) in words {
        if let Some(word) = body[from].as_str() {
            out.insert(to.into(), json!(if word == theirs { ours } else { word }));
        }
    }
    let schedule = &body["schedule"];
    match schedule["scheduleType"].as_str() {
        None => {}
        Some("manual") => drop(out.insert("scheduleType".into(), json!("manual"))),
        Some("cron") => {
            let expression = schedule["cronExpression"].as_str();
            let expression = expression.ok_or_else(|| Trouble::Missing("cronExpression".into()))?;
            quartz::check(expression, "UTC", true)?;
            out.insert("scheduleType".into(), json!("cron"));
            let cron = json!({"cron": {"cronExpression": expression, "cronTimeZone": "UTC"}});
            out.insert("scheduleData".into(), cron);
        }
        Some(other) => return Err(Trouble::Undecodable(format!("Unexpected value '{other}' of scheduleType"))),
    }
    Ok(out)
}

/// Joins the streams with what a discover finds, which may be an old one.
async fn select(
    shared: &Arc<Shared>,
    source: uuid::Uuid,
    asked: Option<&[Value]>,
    body: &mut Map<String, Value>,
) -> Result<(), Trouble> {
    live(&shared.state(), Side::Source, source)?;
    let id = match discover::with_cache(shared, source, true).await {
        Found::Fresh(id) | Found::Cached(id) => id,
        Found::Failed(why) => return Err(Trouble::Inside(why)),
    };
    let state = shared.state();
    let mut entries = catalog::with_defaults(&state, id)["streams"].as_array().cloned().unwrap_or_default();
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        let configured: Result<Vec<Value>, _> = asked.iter().map(|stream| configured(stream, &entries)).collect();
        entries = configured?;
    }
    body.insert("syncCatalog".into(), json!({ "streams": entries }));
    body.insert("sourceCatalogId".into(), json!(id));
    Ok(())
}

fn configured(asked: &Value, entries: &[Value]) -> Result<Value, Trouble> {
    let invalid = |why: String| Err(Trouble::Problem(400, "bad-request", why));
    let same = |e: &&Value| {
        e["stream"]["name"] == asked["name"]
            && (asked["namespace"].is_null() || e["stream"]["namespace"] == asked["namespace"])
    };
    let Some(mut entry) = entries.iter().find(same).cloned() else {
        return invalid(format!("No streams found with name {}", asked["name"]));
    };
    let joint = asked["syncMode"].as_str().unwrap_or("full_refresh_overwrite");
    let Some((_, sync, destination)) = MODES.iter().find(|(word, ..)| *word == joint) else {
        return Err(Trouble::Undecodable(format!("Unexpected value '{joint}' of syncMode")));
    };
    let stream = entry["stream"].clone();
    let config = &mut entry["config"];
    config["selected"] = json!(true);
    config["syncMode"] = json!(sync);
    config["destinationSyncMode"] = json!(destination);
    if let Some(cursor) = asked.get("cursorField").filter(|c| !c.is_null()) {
        if stream["sourceDefinedCursor"] == true {
            return invalid("Cursor Field is already defined by the source".into());
        }
        config["cursorField"] = cursor.clone();
    }
    if let Some(key) = asked.get("primaryKey").filter(|k| !k.is_null()) {
        let defined = &stream["sourceDefinedPrimaryKey"];
        if defined.as_array().is_some_and(|d| !d.is_empty()) && defined != key {
            return invalid("Primary key is already defined by the source".into());
        }
        config["primaryKey"] = key.clone();
    }
    if let Some(fields) = asked.get("selectedFields").filter(|f| !f.is_null()) {
        if fields.as_array().is_some_and(Vec::is_empty) {
            return invalid("No fields selected: selectedFields must not be empty".into());
        }
        config["fieldSelectionEnabled"] = json!(true);
        config["selectedFields"] = fields.clone();
    }
    for key in ["mappers", "destinationObjectName", "includeFiles"] {
        if let Some(value) = asked.get(key).filter(|v| !v.is_null()) {
            config[key] = value.clone();
        }
    }
    Ok(entry)
}

fn read(state: &State, connection: &Connection) -> Value {
    let streams: Vec<Value> = connection.entries.iter().map(stream).collect();
    let data = &connection.schedule_data;
    let schedule = match connection.schedule_type.as_str() {
        "cron" => {
            let part = |key: &str| data["cron"][key].as_str().unwrap_or_default();
            // the zone is part of what is answered, and not of what is taken
            let shown = format!("{} {}", part("cronExpression"), part("cronTimeZone"));
            json!({"scheduleType": "cron", "cronExpression": shown})
        }
        "basic" => {
            let unit = data["basicSchedule"]["timeUnit"].as_str().unwrap_or_default().to_uppercase();
            json!({"scheduleType": "basic", "basicTiming": format!("Every {} {unit}", data["basicSchedule"]["units"])})
        }
        _ => json!({"scheduleType": "manual"}),
    };
    let word = |word: &str, ours: &str, theirs: &str| if word == ours { theirs.to_owned() } else { word.to_owned() };
    let mut read = json!({
        "connectionId": connection.id, "name": connection.name, "sourceId": connection.source,
        "destinationId": connection.destination, "workspaceId": state.workspace_of(connection),
        "status": connection.status, "schedule": schedule, "prefix": connection.prefix,
        "nonBreakingSchemaUpdatesBehavior": word(&connection.preference, "disable", "disable_connection"),
        "namespaceDefinition": word(&connection.namespace_definition, "customformat", "custom_format"),
        "configurations": {"streams": streams}, "createdAt": connection.created_at, "tags": connection.tags,
    });
    if let Some(format) = &connection.namespace_format {
        read["namespaceFormat"] = json!(format);
    }
    read
}

/// A stream; without a mode if no joint value says it. "All fields" is said by an empty list.
fn stream(entry: &Value) -> Value {
    let (stream, config) = (&entry["stream"], &entry["config"]);
    let mut read = json!({
        "name": stream["name"], "cursorField": config["cursorField"], "primaryKey": config["primaryKey"],
        "selectedFields": config["selectedFields"], "mappers": config["mappers"],
    });
    if stream["namespace"].is_string() {
        read["namespace"] = stream["namespace"].clone();
    }
    let joint = MODES.iter().find(|(_, s, d)| config["syncMode"] == *s && config["destinationSyncMode"] == *d);
    if let Some((word, ..)) = joint {
        read["syncMode"] = json!(word);
    }
    read
}

/// `GET /streams`: names, modes and field paths, no types.
pub async fn streams(shared: &Arc<Shared>, call: &Call) -> Result<Answer, Trouble> {
    let source = call.query("sourceId").ok_or_else(|| Trouble::Missing("sourceId".into()))?;
    let source = uuid(&json!(source))?;
    live(&shared.state(), Side::Source, source)?;
    let may_be_cached = call.query("ignoreCache") != Some("true");
    let id = match discover::with_cache(shared, source, may_be_cached).await {
        Found::Fresh(id) | Found::Cached(id) => id,
        Found::Failed(why) => return Err(Trouble::Inside(why)),
    };
    let state = shared.state();
    let with_modes = call.query("destinationId").is_some();
    let streams = state.catalog(id).map(|c| c.streams.as_slice()).unwrap_or_default();
    let shown = streams.iter().map(|stream| {
        let fields = stream["jsonSchema"]["properties"].as_object().into_iter().flatten();
        let mut shown = json!({
            "streamName": stream["name"], "defaultCursorField": stream["defaultCursorField"],
            "sourceDefinedCursorField": stream["sourceDefinedCursor"],
            "sourceDefinedPrimaryKey": stream["sourceDefinedPrimaryKey"],
            "propertyFields": fields.map(|(name, _)| json!([name])).collect::<Vec<_>>(),
        });
        if stream["namespace"].is_string() {
            shown["streamnamespace"] = stream["namespace"].clone();
        }
        if with_modes {
            let supported = stream["supportedSyncModes"].as_array().cloned().unwrap_or_default();
            let words = MODES[..7].iter().filter(|(_, sync, destination)| {
                supported.contains(&json!(sync)) && ["overwrite", "append", "append_dedup"].contains(destination)
            });
            shown["syncModes"] = words.map(|(word, ..)| json!(word)).collect();
        }
        shown
    });
    Ok(Answer::ok(shown.collect()))
}
