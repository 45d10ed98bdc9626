//! Catalogs in the forms that the APIs give them: with default configuration, in the protocol's words, cut to what is
//! selected.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer::Trouble;
use super::state::{State, StreamKey};
use super::version::Version;

/// Keys of a stream that the server knows, beside the protocol's word for each. Others are ignored.
const STREAM_KEYS: [(&str, &str); 9] = [
    ("name", "name"),
    ("namespace", "namespace"),
    ("jsonSchema", "json_schema"),
    ("supportedSyncModes", "supported_sync_modes"),
    ("sourceDefinedCursor", "source_defined_cursor"),
    ("defaultCursorField", "default_cursor_field"),
    ("sourceDefinedPrimaryKey", "source_defined_primary_key"),
    ("isResumable", "is_resumable"),
    ("isFileBased", "is_file_based"),
];

/// Keys of a stream's configuration that the server keeps as sent, and what it fills in.
fn config_defaults(stream: &Value) -> Value {
    json!({
        "cursorField": [], "primaryKey": [], "aliasName": stream["name"], "selected": true, "suggested": false,
        "fieldSelectionEnabled": false, "selectedFields": [], "hashedFields": [], "mappers": [], "includeFiles": false,
    })
}

/// Namespace and name.
pub fn key(stream: &Value) -> StreamKey {
    let text = |key: &str| stream[key].as_str().map(str::to_owned);
    (text("namespace"), text("name").unwrap_or_default())
}

/// A stored catalog as a discover answers it: with a configuration that the server makes up. Only a sole stream is selected.
pub fn with_defaults(state: &State, id: Uuid) -> Value {
    let streams = state.catalog(id).map(|c| c.streams.as_slice()).unwrap_or_default();
    let entries = streams.iter().map(|stream| entry(stream, streams.len() == 1));
    json!({"streams": entries.collect::<Vec<_>>()})
}

/// A stream with the server's configuration.
pub fn entry(stream: &Value, selected: bool) -> Value {
    let mut config = config_defaults(stream);
    let incremental = stream["sourceDefinedCursor"] == true
        && stream["supportedSyncModes"].as_array().is_some_and(|m| m.contains(&json!("incremental")));
    config["selected"] = json!(selected);
    config["suggested"] = json!(selected);
    config["syncMode"] = json!(if incremental { "incremental" } else { "full_refresh" });
    config["destinationSyncMode"] = json!(if incremental { "append_dedup" } else { "overwrite" });
    for (key, from) in [("cursorField", "defaultCursorField"), ("primaryKey", "sourceDefinedPrimaryKey")] {
        if stream[from].is_array() {
            config[key] = stream[from].clone();
        }
    }
    json!({"stream": stream, "config": config})
}

/// `{"streams": [{"json_schema": …}]}`.
pub fn protocol(streams: &[Value]) -> Value {
    let renamed = |stream: &Value| -> Value {
        let known = STREAM_KEYS.iter().filter_map(|(api, word)| Some(((*word).to_owned(), stream.get(*api)?.clone())));
        known.collect()
    };
    json!({"streams": streams.iter().map(renamed).collect::<Vec<_>>()})
}

/// The entries of a `syncCatalog` as the server stores them: unselected ones dropped, unknown keys ignored, defaults and
/// ids filled in, another order, schemas cut to the selected fields.
pub fn stored(state: &mut State, sent: &Value) -> Result<Vec<Value>, Trouble> {
    let sent = sent["streams"].as_array().ok_or_else(|| Trouble::Missing("syncCatalog.streams".into()))?;
    let mut entries: Vec<Value> = Vec::new();
    for one in sent {
        let (stream, config) = (&one["stream"], &one["config"]);
        if stream["name"].as_str().is_none() {
            return Err(Trouble::Missing("stream.name".into()));
        }
        let modes = checked_modes(config, state.version)?;
        // dereferenced without a look
        let selected = config["selected"].as_bool().ok_or_else(|| Trouble::Inside("NullPointerException".into()))?;
        if !selected {
            continue;
        }
        if entries.iter().any(|e| key(&e["stream"]) == key(stream)) {
            let why = format!("Duplicate stream {}", stream["name"]);
            return Err(Trouble::Problem(400, "duplicate-stream", why));
        }
        let mut stream = picked(stream);
        let mut full = config_defaults(&stream);
        let known = full.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        for name in known.iter().map(String::as_str).chain(["namespace", "destinationObjectName"]) {
            if let Some(value) = config.get(name).filter(|v| !v.is_null()) {
                full[name] = value.clone();
            }
        }
        (full["syncMode"], full["destinationSyncMode"]) = modes;
        cut_to_selection(&mut stream, &mut full)?;
        for mapper in full["mappers"].as_array_mut().into_iter().flatten() {
            if mapper["id"].is_null() {
                mapper["id"] = json!(state.new_id());
            }
        }
        entries.push(json!({"stream": stream, "config": full}));
    }
    entries.sort_by_key(|e| std::cmp::Reverse(key(&e["stream"])));
    Ok(entries)
}

fn checked_modes(config: &Value, version: Version) -> Result<(Value, Value), Trouble> {
    let known =
        [("syncMode", vec!["full_refresh", "incremental"]), ("destinationSyncMode", version.destination_modes())];
    let [sync, destination] = known.map(|(key, known)| match config[key].as_str() {
        None => Err(Trouble::Missing(format!("config.{key}"))),
        Some(word) if known.contains(&word) => Ok(json!(word)),
        Some(word) => Err(Trouble::Undecodable(format!("Unexpected value '{word}'"))),
    });
    Ok((sync?, destination?))
}

fn picked(stream: &Value) -> Value {
    let known = STREAM_KEYS.iter().filter_map(|(key, _)| Some(((*key).to_owned(), stream.get(*key)?.clone())));
    Value::Object(known.collect())
}

/// The schema keeps the selected top-level fields only; cursor and key must be among them.
fn cut_to_selection(stream: &mut Value, config: &mut Value) -> Result<(), Trouble> {
    if config["fieldSelectionEnabled"] != true {
        config["selectedFields"] = json!([]);
        return Ok(());
    }
    let invalid = |why: &str| Err(Trouble::Problem(400, "field-selection", why.to_owned()));
    let mut selected = Vec::new();
    for field in config["selectedFields"].as_array().into_iter().flatten() {
        match field["fieldPath"].as_array().map(Vec::as_slice) {
            Some([Value::String(name)]) => selected.push(name.clone()),
            _ => return invalid("Nested field selection is not supported"),
        }
    }
    let has = |path: &Value| path[0].as_str().is_none_or(|name| selected.iter().any(|s| s == name));
    if config["syncMode"] == "incremental" && !has(&config["cursorField"]) {
        return invalid("The cursor field must be selected");
    }
    let dedup = config["destinationSyncMode"] == "append_dedup";
    if dedup && !config["primaryKey"].as_array().is_none_or(|paths| paths.iter().all(has)) {
        return invalid("The primary key must be selected");
    }
    if let Some(properties) = stream["jsonSchema"]["properties"].as_object_mut() {
        let all: Map<String, Value> = std::mem::take(properties);
        properties.extend(all.into_iter().filter(|(name, _)| selected.contains(name)));
    }
    Ok(())
}
