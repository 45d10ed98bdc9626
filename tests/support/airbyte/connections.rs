//! Making and changing connections, in the Config API's words for both APIs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Trouble, uuid};
use super::catalog::{self, key};
use super::quartz;
use super::state::{Connection, Side, State, StreamKey, now};

/// Kept as sent, without a meaning here.
const OTHER: [&str; 7] = [
    "notifySchemaChanges",
    "notifySchemaChangesByEmail",
    "operationIds",
    "resourceRequirements",
    "dataplaneGroupId",
    "destinationCatalogId",
    "onDemandEnabled",
];

/// Makes one from a `ConnectionCreate`.
pub fn create(state: &mut State, body: &Value) -> Result<Uuid, Trouble> {
    let field = |name: &str| body.get(name).filter(|v| !v.is_null()).ok_or_else(|| Trouble::Missing(name.to_owned()));
    let (source, destination) = (uuid(field("sourceId")?)?, uuid(field("destinationId")?)?);
    state.actor_mut(Side::Source, source)?;
    state.actor_mut(Side::Destination, destination)?;
    field("status")?;
    if body.get("schedule").is_some() && body.get("scheduleType").is_some() {
        return Err(Trouble::Problem(400, "schedule", "schedule and scheduleType must not be sent together".into()));
    }
    let id = state.new_id();
    let mut connection = Connection {
        id,
        name: "Connection".into(),
        source,
        destination,
        status: "active".into(),
        status_reason: None,
        entries: Vec::new(),
        schedule_type: "manual".into(),
        schedule_data: Value::Null,
        namespace_definition: "source".into(),
        namespace_format: None,
        prefix: String::new(),
        breaking: false,
        source_catalog: None,
        preference: "ignore".into(),
        backfill: "disabled".into(),
        tags: Vec::new(),
        other: BTreeMap::new(),
        created_at: now(),
        born: Instant::now(),
        progress: BTreeMap::new(),
        resets: BTreeSet::new(),
    };
    fill(state, &mut connection, body)?;
    state.connections.push(connection);
    Ok(id)
}

/// Changes one: what is absent stays, a `syncCatalog` replaces the whole. The streams that differ from before, for who
/// refreshes them. The state of streams whose sync mode changed is deleted.
pub fn patch(state: &mut State, id: Uuid, body: &Value) -> Result<BTreeSet<StreamKey>, Trouble> {
    let mut connection = state.connection(id)?.clone();
    if connection.status == "locked" {
        return Err(Trouble::Problem(409, "connection/locked", format!("Connection {id} is locked")));
    }
    if connection.status == "deprecated" {
        return Err(super::state::absent("connection", id));
    }
    if body.get("schedule").is_some() {
        return Err(Trouble::Problem(400, "schedule", "schedule is not supported any more: use scheduleType".into()));
    }
    let before = by_key(&connection.entries);
    fill(state, &mut connection, body)?;
    let after = by_key(&connection.entries);
    let all = before.keys().chain(after.keys());
    let changed = all.filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
    let mode = |entries: &BTreeMap<StreamKey, Value>, key: &StreamKey| {
        entries.get(key).map(|e| e["config"]["syncMode"].clone())
    };
    connection.progress.retain(|key, _| mode(&before, key) == mode(&after, key));
    *state.connection_mut(id)? = connection;
    Ok(changed)
}

fn by_key(entries: &[Value]) -> BTreeMap<StreamKey, Value> {
    let without_ids = |entry: &Value| {
        let mut entry = entry.clone();
        for mapper in entry["config"]["mappers"].as_array_mut().into_iter().flatten() {
            mapper["id"] = Value::Null;
        }
        entry
    };
    entries.iter().map(|e| (key(&e["stream"]), without_ids(e))).collect()
}

/// Takes over what the body has.
fn fill(state: &mut State, connection: &mut Connection, body: &Value) -> Result<(), Trouble> {
    let word = |key: &str, known: &[&str]| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) if known.contains(&word.as_str()) => Ok(Some(word.clone())),
        Some(other) => Err(Trouble::Undecodable(format!("Unexpected value {other} of {key}"))),
    };
    if let Some(status) = word("status", &["active", "inactive", "deprecated", "locked"])? {
        connection.status = status;
        connection.status_reason = None;
    }
    if let Some(preference) =
        word("nonBreakingChangesPreference", &["ignore", "disable", "propagate_columns", "propagate_fully"])?
    {
        connection.preference = preference;
    }
    if let Some(backfill) = word("backfillPreference", &["enabled", "disabled"])? {
        connection.backfill = backfill;
    }
    if let Some(definition) = word("namespaceDefinition", &["source", "destination", "customformat"])? {
        connection.namespace_definition = definition;
    }
    let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    connection.name = text("name").unwrap_or_else(|| connection.name.clone());
    connection.prefix = text("prefix").unwrap_or_else(|| connection.prefix.clone());
    connection.namespace_format = text("namespaceFormat").or(connection.namespace_format.take());
    if connection.namespace_definition == "customformat" && connection.namespace_format.is_none() {
        return Err(Trouble::Missing("namespaceFormat".into()));
    }
    if let Some(id) = body.get("sourceCatalogId").filter(|id| !id.is_null()) {
        let id = uuid(id)?;
        if state.catalog(id).is_none() {
            return Err(Trouble::Absent("catalog", id.to_string()));
        }
        connection.source_catalog = Some(id);
    }
    if let Some(kind) = word("scheduleType", &["manual", "basic", "cron"])? {
        let data = &body["scheduleData"];
        connection.schedule_data = match kind.as_str() {
            "basic" if data["basicSchedule"]["units"].as_u64().is_some_and(|units| units > 0) => data.clone(),
            "cron" if data["cron"].is_object() => {
                let part = |key: &str| data["cron"][key].as_str().unwrap_or_default();
                quartz::check(part("cronExpression"), part("cronTimeZone"), false)?;
                data.clone()
            }
            "manual" => Value::Null,
            _ => return Err(Trouble::Missing("scheduleData".into())),
        };
        connection.schedule_type = kind;
    }
    if let Some(tags) = body.get("tags").and_then(Value::as_array).filter(|_| state.version.has_tags()) {
        let known =
            |tag: &Value| state.tags.iter().any(|t| json!(t.id) == tag["tagId"] && json!(t.name) == tag["name"]);
        if let Some(unknown) = tags.iter().find(|tag| !known(tag)) {
            return Err(Trouble::Problem(400, "tag-not-found", format!("no tag {}", unknown["tagId"])));
        }
        connection.tags.clone_from(tags);
    }
    if let Some(sent) = body.get("syncCatalog").filter(|c| !c.is_null()) {
        connection.entries = catalog::stored(state, sent)?;
    }
    for key in OTHER {
        if let Some(value) = body.get(key).filter(|v| !v.is_null()) {
            connection.other.insert(key.to_owned(), value.clone());
        }
    }
    Ok(())
}

/// Deletes one; it is answered on, as `deprecated`.
pub fn delete(state: &mut State, id: Uuid) -> Result<(), Trouble> {
    let connection = state.connection_mut(id)?;
    connection.status = "deprecated".into();
    connection.schedule_type = "manual".into();
    connection.schedule_data = Value::Null;
    Ok(())
}

/// What is known of changes of the source, from stored data alone.
pub fn schema_change(state: &State, connection: &Connection) -> &'static str {
    let newest = state.newest_fetch(connection.source).map(|f| f.catalog);
    match connection.source_catalog {
        None => "no_change",
        Some(_) if connection.breaking => "breaking",
        Some(saved) if newest.is_some_and(|newest| newest != saved) => "non_breaking",
        Some(_) => "no_change",
    }
}
