//! Catalogs as the Config API writes them, to and from our words.
//!
//! An entry of a `syncCatalog` is `{"stream": {…}, "config": {…}}`. Entries are kept as JSON, so that whatever this version
//! does not know goes back to the server as it came; order, nulls, defaults and server-owned values never show as change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::model::json_schema::{self, path_from_airbyte, stream_from_airbyte};
use crate::model::{Catalog, Cursor, FieldPath, Segment, Stream, StreamName, SyncMode};
use crate::ports::ConfiguredStream;
use crate::spec::StreamMode;

/// What only the server sets.
const SERVER_OWNED: [&str; 4] = ["generationId", "minimumGenerationId", "syncId", "suggested"];

/// A catalog of a discover, or the streams of a `syncCatalog` without their configuration.
pub fn catalog(entries: &[Value]) -> Catalog {
    Catalog { streams: entries.iter().filter_map(|entry| stream_of(entry.get("stream")?)).collect() }
}

/// A stream in our words.
fn stream_of(stream: &Value) -> Option<(StreamName, Stream)> {
    let (name, mut facts) = stream_from_airbyte(stream)?;
    facts.fields = fields_of(stream.get("jsonSchema").unwrap_or(&Value::Null));
    Some((name, facts))
}

/// The fields of a JSON Schema. A value may be missing unless the schema requires it, and Airbyte lands a missing one as
/// null: a type without null alone is no promise, and many connectors (all that read databases by JDBC) never write null.
fn fields_of(schema: &Value) -> json_schema::Fields {
    let required: BTreeSet<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fields = json_schema::stream_from_json_schema(schema);
    for (path, field) in &mut fields {
        let promised = match path.segments() {
            [root] => matches!(root, Segment::Name(name) if required.contains(name.as_str())),
            [.., last] => *last == Segment::Items,
            [] => true,
        };
        field.nullable |= !promised;
    }
    fields
}

/// The streams that a connection carries, by name; a stream in a mode that `aam` has no word for is an error.
pub fn configured(entries: &[Value]) -> Result<Vec<ConfiguredStream>, String> {
    let mut streams = Vec::new();
    for entry in entries {
        let config = entry.get("config").unwrap_or(&Value::Null);
        if config.get("selected").and_then(Value::as_bool) == Some(false) {
            continue;
        }
        let Some((name, mut schema)) = entry.get("stream").and_then(stream_of) else { continue };
        if let Some(selected) = selected_fields(config) {
            schema.fields.retain(|path, _| selected.contains(path.root()));
        }
        let mode =
            mode(config).map_err(|words| format!("stream {name} is synced by {words}, which aam cannot declare"))?;
        streams.push(ConfiguredStream {
            name,
            mode,
            cursor: cursor(mode, &schema.cursor, config),
            key: config.get("primaryKey").map(paths).unwrap_or_default(),
            schema,
        });
    }
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(streams)
}

/// The cursor in use: a full refresh has none, and a source that keeps its own is not told another.
fn cursor(mode: StreamMode, facts: &Cursor, config: &Value) -> Option<FieldPath> {
    match (mode.reads(), facts) {
        (SyncMode::FullRefresh, _) => None,
        (SyncMode::Incremental, Cursor::SourceDefined(own)) => own.clone(),
        (SyncMode::Incremental, Cursor::Any(suggested)) => {
            config.get("cursorField").and_then(path_from_airbyte).or_else(|| suggested.clone())
        }
        (SyncMode::Incremental, Cursor::None) => config.get("cursorField").and_then(path_from_airbyte),
    }
}

/// Whether two connections carry the same; places and descriptions of fields say nothing.
pub fn same(one: &[ConfiguredStream], other: &[ConfiguredStream]) -> bool {
    let told = |stream: &ConfiguredStream| {
        let fields: Vec<_> = stream.schema.fields.iter().map(|(path, field)| (path.clone(), field.shape())).collect();
        (stream.name.clone(), stream.mode, stream.cursor.clone(), stream.key.clone(), fields)
    };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| told(one) == told(other))
}

/// The configuration of each carried stream that has mappers or hashed fields: taken in again without it, what was hashed
/// would land as it is.
pub fn options(live: &[Value]) -> BTreeMap<StreamName, Value> {
    let has =
        |config: &Value, key: &str| config.get(key).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let carried = live.iter().filter_map(|entry| Some((name(entry.get("stream")?)?, entry.get("config")?)));
    let mapped = carried.filter(|(_, config)| {
        config.get("selected") != Some(&json!(false)) && (has(config, "mappers") || has(config, "hashedFields"))
    });
    mapped.map(|(name, config)| (name, config.clone())).collect()
}

/// The entries that carry exactly these streams. `discovered` are entries of the newest discover: their schemas are sent
/// as they came. `live` is what the connection has now, `options` what it had of streams that were left out: what `aam`
/// does not model (mappers, hashed fields, alias, …) stays.
pub fn entries(
    wanted: &[ConfiguredStream],
    discovered: &[Value],
    live: &[Value],
    options: &BTreeMap<StreamName, Value>,
) -> Vec<Value> {
    let (discovered, live) = (by_name(discovered), by_name(live));
    let given_back = |name: &StreamName| options.get(name).map(|config| json!({ "config": config }));
    let one = |w: &ConfiguredStream| {
        let back = (!live.contains_key(&w.name)).then(|| given_back(&w.name)).flatten();
        entry(w, discovered.get(&w.name).copied(), live.get(&w.name).copied().or(back.as_ref()))
    };
    wanted.iter().map(one).collect()
}

/// Whether every field of these streams is known as it is wanted: a catalog shows it so, or it is carried so.
pub fn shows(discovered: &[Value], wanted: &[ConfiguredStream], carried: &[ConfiguredStream]) -> bool {
    let discovered = by_name(discovered);
    wanted.iter().all(|stream| {
        let schema = discovered.get(&stream.name).and_then(|entry| entry.get("stream")?.get("jsonSchema"));
        let shown = schema.map(fields_of);
        let carried = carried.iter().find(|one| one.name == stream.name).map(|one| &one.schema.fields);
        let wanted = &stream.schema.fields;
        let is_known = |root: &str| {
            let mut known = [shown.as_ref(), carried].into_iter().flatten();
            known.any(|fields| shape(fields, root) == shape(wanted, root))
        };
        wanted.keys().map(FieldPath::root).collect::<BTreeSet<_>>().into_iter().all(is_known)
    })
}

/// The shapes of a field of the first level and of all below it.
fn shape(fields: &json_schema::Fields, root: &str) -> Vec<(FieldPath, String)> {
    let below = fields.iter().filter(|(path, _)| path.root() == root);
    below.map(|(path, field)| (path.clone(), field.shape())).collect()
}

fn by_name(entries: &[Value]) -> BTreeMap<StreamName, &Value> {
    entries.iter().filter_map(|entry| Some((name(entry.get("stream")?)?, entry))).collect()
}

fn entry(wanted: &ConfiguredStream, discovered: Option<&Value>, live: Option<&Value>) -> Value {
    let known = [discovered, live].into_iter().flatten().filter_map(|entry| entry.get("stream")?.as_object());
    let mut stream = known.clone().next().cloned().unwrap_or_default();
    let schemas: Vec<&Value> = known.filter_map(|stream| stream.get("jsonSchema")).collect();
    let (schema, whole) = schema(wanted, &schemas);
    set(&mut stream, "name", json!(wanted.name.name));
    if let Some(namespace) = &wanted.name.namespace {
        set(&mut stream, "namespace", json!(namespace));
    }
    set(&mut stream, "jsonSchema", schema);
    set(&mut stream, "supportedSyncModes", wanted.schema.modes.iter().map(|m| m.as_str()).collect());
    if let Cursor::SourceDefined(default) | Cursor::Any(default) = &wanted.schema.cursor {
        set(&mut stream, "sourceDefinedCursor", json!(matches!(wanted.schema.cursor, Cursor::SourceDefined(_))));
        set(&mut stream, "defaultCursorField", default.as_ref().map_or_else(|| json!([]), words));
    }
    set(&mut stream, "sourceDefinedPrimaryKey", wanted.schema.key.iter().map(words).collect());

    let mut config = live.and_then(|entry| entry.get("config")?.as_object().cloned()).unwrap_or_default();
    SERVER_OWNED.iter().for_each(|key| drop(config.remove(*key)));
    let (sync, destination) = modes(wanted.mode);
    config.insert("selected".into(), json!(true));
    config.insert("syncMode".into(), json!(sync));
    config.insert("destinationSyncMode".into(), json!(destination));
    // where none is in use, what stands there says nothing, and stays
    if cursor(wanted.mode, &wanted.schema.cursor, &Value::Object(config.clone())) != wanted.cursor
        || !config.contains_key("cursorField")
    {
        config.insert("cursorField".into(), wanted.cursor.as_ref().map_or_else(|| json!([]), words));
    }
    config.insert("primaryKey".into(), wanted.key.iter().map(words).collect());
    let fields = if whole { BTreeSet::new() } else { wanted.schema.fields.keys().map(FieldPath::root).collect() };
    let selected: Vec<Value> = fields.iter().map(|field| json!({"fieldPath": [field]})).collect();
    config.insert("fieldSelectionEnabled".into(), json!(!whole));
    config.insert("selectedFields".into(), Value::Array(selected));
    config.entry("aliasName").or_insert_with(|| json!(wanted.name.name));
    config.entry("mappers").or_insert_with(|| json!([]));
    json!({"stream": stream, "config": config})
}

/// Keeps a value that says the same in other words: another order of a list, null for absent.
fn set(object: &mut Map<String, Value>, key: &str, value: Value) {
    let empty = |v: &Value| v.is_null() || v.as_array().is_some_and(Vec::is_empty);
    let same = match object.get(key) {
        None => false,
        Some(old) => {
            *old == value || empty(old) && empty(&value) || key == "supportedSyncModes" && as_set(old) == as_set(&value)
        }
    };
    if !same {
        object.insert(key.to_owned(), value);
    }
}

fn as_set(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(Value::to_string).collect()
}

/// The stream's JSON Schema: each field that is carried in the first of the known schemas that gives it the wanted shape,
/// else written anew; fields that are not carried stay, unselected. Whether every field is carried.
fn schema(wanted: &ConfiguredStream, known: &[&Value]) -> (Value, bool) {
    let read: Vec<_> = known.iter().map(|schema| (*schema, fields_of(schema))).collect();
    let written = json_schema::fields_to_json_schema(&wanted.schema.fields);
    let carried: BTreeSet<&str> = wanted.schema.fields.keys().map(FieldPath::root).collect();
    let mut out = known.first().and_then(|schema| schema.as_object().cloned()).unwrap_or_default();
    out.entry("type").or_insert_with(|| json!("object"));
    let mut properties = out.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    for root in &carried {
        let target = shape(&wanted.schema.fields, root);
        let as_it_came = read.iter().find(|(_, fields)| shape(fields, root) == target);
        let property = as_it_came.and_then(|(schema, _)| schema.get("properties")?.get(*root));
        properties
            .insert((*root).to_owned(), property.cloned().unwrap_or_else(|| written["properties"][*root].clone()));
    }
    let whole = properties.keys().all(|name| carried.contains(name.as_str()));
    out.insert("properties".into(), Value::Object(properties));
    (Value::Object(out), whole)
}

pub(super) fn name(stream: &Value) -> Option<StreamName> {
    let namespace = stream.get("namespace").and_then(Value::as_str).map(str::to_owned);
    Some(StreamName { namespace, name: stream.get("name")?.as_str()?.to_owned() })
}

/// The top-level fields that are selected; `None` if all are.
pub(super) fn selected_fields(config: &Value) -> Option<BTreeSet<String>> {
    config.get("fieldSelectionEnabled").and_then(Value::as_bool).filter(|enabled| *enabled)?;
    let fields = config.get("selectedFields")?.as_array()?;
    let first = |field: &Value| Some(field.get("fieldPath")?.get(0)?.as_str()?.to_owned());
    Some(fields.iter().filter_map(first).collect())
}

fn paths(list: &Value) -> Vec<FieldPath> {
    list.as_array().into_iter().flatten().filter_map(path_from_airbyte).collect()
}

fn words(path: &FieldPath) -> Value {
    let word = |segment: &Segment| match segment {
        Segment::Name(name) => json!(name),
        Segment::Items => json!("items"),
        Segment::Values => json!("{}"),
    };
    path.segments().iter().map(word).collect()
}

/// `syncMode` and `destinationSyncMode`.
pub(super) fn modes(mode: StreamMode) -> (&'static str, &'static str) {
    match mode {
        StreamMode::FullRefreshOverwrite => ("full_refresh", "overwrite"),
        StreamMode::FullRefreshAppend => ("full_refresh", "append"),
        StreamMode::IncrementalAppend => ("incremental", "append"),
        StreamMode::IncrementalAppendDedup => ("incremental", "append_dedup"),
        StreamMode::FullRefreshOverwriteDeduped => ("full_refresh", "overwrite_dedup"),
        StreamMode::FullRefreshAppendDedup => ("full_refresh", "append_dedup"),
        StreamMode::FullRefreshUpdate => ("full_refresh", "update"),
        StreamMode::FullRefreshSoftDelete => ("full_refresh", "soft_delete"),
        StreamMode::IncrementalOverwrite => ("incremental", "overwrite"),
        StreamMode::IncrementalUpdate => ("incremental", "update"),
        StreamMode::IncrementalSoftDelete => ("incremental", "soft_delete"),
    }
}

fn mode(config: &Value) -> Result<StreamMode, String> {
    let word = |key: &str| config.get(key).and_then(Value::as_str).unwrap_or("?");
    match (word("syncMode"), word("destinationSyncMode")) {
        ("full_refresh", "overwrite") => Ok(StreamMode::FullRefreshOverwrite),
        ("full_refresh", "append") => Ok(StreamMode::FullRefreshAppend),
        ("incremental", "append") => Ok(StreamMode::IncrementalAppend),
        ("incremental", "append_dedup") => Ok(StreamMode::IncrementalAppendDedup),
        ("full_refresh", "overwrite_dedup") => Ok(StreamMode::FullRefreshOverwriteDeduped),
        ("full_refresh", "append_dedup") => Ok(StreamMode::FullRefreshAppendDedup),
        ("full_refresh", "update") => Ok(StreamMode::FullRefreshUpdate),
        ("full_refresh", "soft_delete") => Ok(StreamMode::FullRefreshSoftDelete),
        ("incremental", "overwrite") => Ok(StreamMode::IncrementalOverwrite),
        ("incremental", "update") => Ok(StreamMode::IncrementalUpdate),
        ("incremental", "soft_delete") => Ok(StreamMode::IncrementalSoftDelete),
        (sync, destination) => Err(format!("{sync} + {destination}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn orders() -> Value {
        json!({"stream": {
            "name": "orders", "namespace": "public", "isResumable": true,
            "jsonSchema": {"type": "object", "$schema": "x", "properties": {
                "id": {"type": "integer"}, "note": {"type": ["string", "null"], "description": "free text"},
                "at": {"type": "string", "format": "date-time"}}},
            "supportedSyncModes": ["incremental", "full_refresh"], "sourceDefinedCursor": false,
            "defaultCursorField": [], "sourceDefinedPrimaryKey": [["id"]]},
          "config": {"selected": true, "aliasName": "orders", "syncMode": "incremental", "cursorField": ["at"],
            "destinationSyncMode": "append_dedup", "primaryKey": [["id"]], "fieldSelectionEnabled": false,
            "selectedFields": [], "hashedFields": [], "generationId": 7, "mappers": [{"id": "1", "type": "hashing"}],
            "futureKey": {"a": 1}}})
    }

    #[test]
    fn what_is_not_modelled_goes_back_as_it_came() {
        let live = [orders()];
        let wanted = configured(&live).unwrap();
        let mut expected = orders();
        expected["config"].as_object_mut().unwrap().remove("generationId");
        assert_eq!(entries(&wanted, &[], &live, &BTreeMap::new()), [expected]);
    }

    #[test]
    fn a_field_of_the_lock_is_sent_as_it_was_discovered_and_others_are_not_selected() {
        let mut wanted = configured(&[orders()]).unwrap();
        let mut discovered = orders();
        discovered["stream"]["jsonSchema"]["properties"]["extra"] = json!({"type": "string"});
        discovered["stream"]["jsonSchema"]["properties"]["note"] = json!({"type": "integer"});
        wanted[0].schema.fields.retain(|path, _| path.root() != "at");
        wanted[0].cursor = None;
        let sent = entries(&wanted, &[discovered], &[orders()], &BTreeMap::new());
        insta::assert_snapshot!(serde_json::to_string_pretty(&json!([sent[0]["stream"]["jsonSchema"]["properties"], sent[0]["config"]["selectedFields"]])).unwrap(), @r#"
        [
          {
            "at": {
              "format": "date-time",
              "type": "string"
            },
            "extra": {
              "type": "string"
            },
            "id": {
              "type": "integer"
            },
            "note": {
              "description": "free text",
              "type": [
                "string",
                "null"
              ]
            }
          },
          [
            {
              "fieldPath": [
                "id"
              ]
            },
            {
              "fieldPath": [
                "note"
              ]
            }
          ]
        ]
        "#);
        assert_eq!(configured(&sent).unwrap(), wanted);
    }

    #[test]
    fn a_field_is_selected_by_the_first_element_of_its_path_only() {
        let mut live = orders();
        let address = json!({"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": "string"}}});
        live["stream"]["jsonSchema"]["properties"]["address"] = address;
        let mut wanted = configured(&[live.clone()]).unwrap();
        wanted[0].schema.fields.retain(|path, _| path.root() != "note");
        let sent = entries(&wanted, &[live.clone()], &[live], &BTreeMap::new());
        let selected = json!([{"fieldPath": ["address"]}, {"fieldPath": ["at"]}, {"fieldPath": ["id"]}]);
        assert_eq!(sent[0]["config"]["selectedFields"], selected);
    }

    #[test]
    fn what_only_the_server_sets_is_never_sent() {
        let keys = ["generationId", "minimumGenerationId", "syncId", "suggested"];
        let mut live = orders();
        keys.iter().for_each(|key| live["config"][key] = json!(7));
        let sent = entries(&configured(&[live.clone()]).unwrap(), &[live.clone()], &[live], &BTreeMap::new());
        assert_eq!(keys.map(|key| sent[0]["config"].get(key)), [None; 4]);
    }

    #[test]
    fn an_id_that_the_server_gives_a_mapper_is_no_change() {
        let mut renumbered = orders();
        renumbered["config"]["mappers"][0]["id"] = json!("2");
        assert!(same(&configured(&[orders()]).unwrap(), &configured(&[renumbered]).unwrap()));
    }

    #[test]
    fn a_namespace_of_null_is_none_and_an_empty_one_is_one() {
        let named = |namespace: Value| name(&json!({"name": "s", "namespace": namespace})).unwrap();
        assert_eq!(named(Value::Null), name(&json!({"name": "s"})).unwrap());
        assert_ne!(named(json!("")), named(Value::Null));
    }

    #[test]
    fn a_mode_without_a_word_is_named() {
        let mut entry = orders();
        entry["config"]["destinationSyncMode"] = json!("overwrite_later");
        insta::assert_snapshot!(configured(&[entry]).unwrap_err(), @"stream public/orders is synced by incremental + overwrite_later, which aam cannot declare");
    }

    fn property() -> impl Strategy<Value = Value> {
        let word = prop_oneof!["string", "integer", "number", "boolean", "object", "array"];
        let of = |word: &str, (null, first): (bool, bool)| match (null, first) {
            (false, _) => json!({"type": word}),
            (true, true) => json!({"type": ["null", word]}),
            (true, false) => json!({"type": [word, "null"]}),
        };
        let leaf = (word, any::<(bool, bool)>(), prop::option::of("[a-z]{1,5}")).prop_map(move |(word, null, note)| {
            let mut property = of(&word, null);
            if let Some(note) = note {
                property["description"] = json!(note);
            }
            property
        });
        leaf.prop_recursive(3, 12, 3, move |inner| {
            let fields = prop::collection::btree_map("[a-z_.]{1,6}", inner.clone(), 1..4);
            let object = (fields, any::<(bool, bool)>()).prop_map(move |(fields, null)| {
                let mut object = of("object", null);
                object["properties"] = json!(fields);
                object
            });
            let array = (inner, any::<(bool, bool)>()).prop_map(move |(items, null)| {
                let mut array = of("array", null);
                array["items"] = items;
                array
            });
            prop_oneof![object, array]
        })
    }

    /// Up to three streams.
    fn live() -> impl Strategy<Value = Vec<Value>> {
        prop::collection::vec(live_entry(), 1..=3).prop_map(|mut entries| {
            for (n, entry) in entries.iter_mut().enumerate() {
                entry["stream"]["name"] = json!(format!("s{n}"));
            }
            entries
        })
    }

    fn live_entry() -> impl Strategy<Value = Value> {
        let properties = prop::collection::btree_map("[a-z_.]{1,6}", property(), 1..8);
        let modes = prop::sample::subsequence(vec!["incremental", "full_refresh"], 1..=2).prop_shuffle();
        let mode = prop::sample::select(vec![
            ("full_refresh", "overwrite"),
            ("full_refresh", "append"),
            ("incremental", "append"),
            ("incremental", "append_dedup"),
            ("full_refresh", "overwrite_dedup"),
            ("full_refresh", "append_dedup"),
            ("full_refresh", "update"),
            ("full_refresh", "soft_delete"),
            ("incremental", "overwrite"),
            ("incremental", "update"),
            ("incremental", "soft_delete"),
        ]);
        let namespace = prop_oneof![Just(None), Just(Some(Value::Null)), Just(Some(json!("public")))];
        // which fields are selected: cursor and key always are
        let picked = prop::option::of(prop::collection::vec(any::<bool>(), 8));
        (properties, modes, mode, namespace, picked, any::<[bool; 5]>()).prop_map(
            |(properties, modes, mode, namespace, picked, flags)| {
                let names: Vec<&String> = properties.keys().collect();
                let mut stream = json!({"name": "s", "jsonSchema": {"type": "object", "properties": properties},
                "supportedSyncModes": modes, "unknown": [1, 2]});
                if let Some(namespace) = namespace {
                    stream["namespace"] = namespace;
                }
                if flags[0] {
                    stream["sourceDefinedPrimaryKey"] = json!([[names[0]]]);
                    stream["defaultCursorField"] = json!([names[0]]);
                    stream["sourceDefinedCursor"] = json!(flags[1]);
                }
                let hashed: Vec<Value> = names.iter().map(|name| json!({"fieldPath": [name]})).collect();
                let is_picked = |n: usize| n == 0 || picked.as_ref().is_none_or(|picked| picked[n]);
                let all = (0..names.len()).all(is_picked);
                let kept = names.iter().enumerate().filter(|(n, _)| !all && is_picked(*n));
                let selected: Vec<Value> = kept.map(|(_, name)| json!({"fieldPath": [name]})).collect();
                let mappers = if flags[4] { json!([{"id": "1", "type": "hashing"}]) } else { json!([]) };
                let config = json!({"selected": true, "syncMode": mode.0, "destinationSyncMode": mode.1,
                "cursorField": if flags[2] { json!([names[0]]) } else { json!([]) },
                "primaryKey": if flags[3] { json!([[names[0]]]) } else { json!([]) },
                "fieldSelectionEnabled": !all, "selectedFields": selected, "aliasName": "s", "mappers": mappers,
                "hashedFields": hashed, "later": true});
                json!({"stream": stream, "config": config})
            },
        )
    }

    proptest! {
        #[test]
        fn export_plan_apply_export_is_equal(live in live()) {
            let wanted = configured(&live).unwrap();
            let sent = entries(&wanted, &live, &live, &BTreeMap::new());
            prop_assert_eq!(configured(&sent).unwrap(), wanted);
            prop_assert_eq!(sent.len(), live.len());
            for live in &live {
                let sent = sent.iter().find(|sent| sent["stream"]["name"] == live["stream"]["name"]).unwrap();
                prop_assert_eq!(&sent["config"], &live["config"]);
                prop_assert_eq!(&sent["stream"]["jsonSchema"], &live["stream"]["jsonSchema"]);
                for (key, value) in live["stream"].as_object().unwrap() {
                    prop_assert_eq!(&sent["stream"][key], value, "{}", key);
                }
            }
        }
    }
}
