//! What Airbyte says of the difference between a connection's catalog and a newer one. Its idea of "breaking" is narrow:
//! only what the configured cursor or key needs.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::catalog::key;
use super::state::{Connection, State};

/// The `CatalogDiff` from the catalog that a connection was saved with to this one; empty for a connection that was saved
/// without.
pub fn against(state: &State, connection: &Connection, new: Uuid) -> Value {
    let streams = |id: Uuid| state.catalog(id).map(|c| c.streams.as_slice()).unwrap_or_default();
    match connection.source_catalog {
        Some(old) => between(streams(old), streams(new), &connection.entries),
        None => json!({"transforms": []}),
    }
}

/// The `CatalogDiff` between two catalogs. Streams that are not among the entries of a connection have no updates.
pub fn between(old: &[Value], new: &[Value], entries: &[Value]) -> Value {
    let descriptor = |stream: &Value| {
        let mut descriptor = json!({"name": stream["name"]});
        if stream["namespace"].is_string() {
            descriptor["namespace"] = stream["namespace"].clone();
        }
        descriptor
    };
    let find = |streams: &'_ [Value], wanted: &Value| streams.iter().find(|s| key(s) == key(wanted)).cloned();
    let mut transforms = Vec::new();
    for stream in old.iter().filter(|stream| find(new, stream).is_none()) {
        transforms.push(json!({"transformType": "remove_stream", "streamDescriptor": descriptor(stream)}));
    }
    for stream in new {
        let Some(before) = find(old, stream) else {
            transforms.push(json!({"transformType": "add_stream", "streamDescriptor": descriptor(stream)}));
            continue;
        };
        let Some(entry) = entries.iter().find(|e| key(&e["stream"]) == key(stream)) else { continue };
        let update = update(&before, stream, &entry["config"]);
        if update["fieldTransforms"] != json!([]) || update["streamAttributeTransforms"] != json!([]) {
            transforms.push(json!({
                "transformType": "update_stream", "streamDescriptor": descriptor(stream), "updateStream": update,
            }));
        }
    }
    json!({ "transforms": transforms })
}

/// Whether nothing differs.
pub fn is_empty(diff: &Value) -> bool {
    diff["transforms"].as_array().is_none_or(Vec::is_empty)
}

/// Whether one of the differences is marked as breaking.
pub fn is_breaking(diff: &Value) -> bool {
    let updates = diff["transforms"].as_array().into_iter().flatten().map(|t| &t["updateStream"]);
    let parts = updates.flat_map(|u| [&u["fieldTransforms"], &u["streamAttributeTransforms"]]);
    parts.flat_map(|list| list.as_array().into_iter().flatten()).any(|t| t["breaking"] == true)
}

fn update(before: &Value, after: &Value, config: &Value) -> Value {
    let (old, new) = (fields(&before["jsonSchema"]), fields(&after["jsonSchema"]));
    let dedup = config["destinationSyncMode"] == "append_dedup";
    let needed = |path: &[String]| {
        let path = json!(path);
        config["syncMode"] == "incremental" && config["cursorField"] == path
            || dedup && config["primaryKey"].as_array().is_some_and(|paths| paths.contains(&path))
    };
    let mut changes = Vec::new();
    for (path, schema) in old.iter().filter(|(path, _)| !new.contains_key(*path)) {
        changes.push(json!({"transformType": "remove_field", "fieldName": path, "breaking": needed(path),
            "removeField": {"schema": schema}}));
    }
    for (path, schema) in &new {
        match old.get(path) {
            None => changes.push(json!({"transformType": "add_field", "fieldName": path, "breaking": false,
                "addField": {"schema": schema}})),
            Some(was) if was != schema && path_is_leaf(&new, path) => {
                changes.push(json!({"transformType": "update_field_schema", "fieldName": path, "breaking": false,
                    "updateFieldSchema": {"oldSchema": was, "newSchema": schema}}));
            }
            Some(_) => {}
        }
    }
    let (old, new) = (&before["sourceDefinedPrimaryKey"], &after["sourceDefinedPrimaryKey"]);
    let attributes = match old == new {
        true => json!([]),
        false => json!([{"transformType": "update_primary_key", "breaking": dedup,
            "updatePrimaryKey": {"oldPrimaryKey": old, "newPrimaryKey": new}}]),
    };
    json!({"fieldTransforms": changes, "streamAttributeTransforms": attributes})
}

/// An object that only grew is told by its new fields.
fn path_is_leaf(fields: &BTreeMap<Vec<String>, Value>, path: &[String]) -> bool {
    !fields.keys().any(|other| other.len() > path.len() && other.starts_with(path))
}

/// Every field of a schema; array items are the path part `items`.
fn fields(schema: &Value) -> BTreeMap<Vec<String>, Value> {
    fn walk(schema: &Value, path: &[String], into: &mut BTreeMap<Vec<String>, Value>) {
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = [path, std::slice::from_ref(name)].concat();
            walk(below, &path, into);
            into.insert(path, sorted_type(below));
        }
        if schema["items"].is_object() {
            walk(&schema["items"], &[path, &["items".to_owned()]].concat(), into);
        }
    }
    let mut into = BTreeMap::new();
    walk(schema, &[], &mut into);
    into
}

/// `["null", "string"]` and `["string", "null"]` are the same type.
fn sorted_type(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(words) = schema["type"].as_array_mut() {
        words.sort_by_key(ToString::to_string);
    }
    schema
}
