//! Specs as texts. Whatever a name or a value holds, `aam check` reads back exactly that.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::api::{Connection as Live, Kept};
use super::super::catalog;
use super::super::schedule::from_airbyte;
use super::super::told::live_settings;
use super::{End, Secret};
use crate::model::{FieldPath, StreamName};
use crate::ports::{ConfiguredStream, ConnectionDraft, MASKED, ObjectKind};
use crate::spec::lock::scalar;
use crate::spec::schedule::period_text;
use crate::spec::{Schedule, escaped, needs_reference};

/// Settings of a connection that specs have words for, or that are Airbyte's own book-keeping.
const NOT_PASSED: [&str; 6] =
    ["schedule", "namespace", "prefix", "nonBreakingChangesPreference", "destinationCatalogId", "skipReset"];

/// A text for where references are read, in one line.
fn value(text: &str) -> String {
    scalar(&escaped(text), true)
}

/// A `kind: source` or `kind: destination`, with a reference for each value that git must not hold.
pub(super) fn endpoint(
    kind: ObjectKind,
    end: &End,
    mut variable: impl FnMut(&[String]) -> String,
) -> (String, Vec<Secret>) {
    let mut secrets = Vec::new();
    let mut text = format!("# Imported from Airbyte.\nkind: {}\ntype: {}\n", kind.word(), scalar(&end.connector, true));
    let mut settings = String::new();
    if let Some(map) = end.settings.as_object() {
        for (key, setting) in map {
            let mut replace = |place: &[String], shown: bool| {
                let variable = variable(place);
                secrets.push(Secret { variable: variable.clone(), at: format!("config.{}", place.join(".")), shown });
                format!("${{env:{variable}}}")
            };
            block(key, setting, 1, &mut vec![key.clone()], &mut replace, &mut settings);
        }
    }
    match settings.is_empty() {
        true => text.push_str("config: {}\n"),
        false => text.push_str(&format!("config:\n{settings}")),
    }
    text.push_str(&format!("airbyte:\n  id: {}\n  name: {}\n", end.id, value(&end.name)));
    (text, secrets)
}

/// `key: value`, maps on lines of their own.
fn block(
    key: &str,
    setting: &Value,
    depth: usize,
    place: &mut Vec<String>,
    replace: &mut impl FnMut(&[String], bool) -> String,
    out: &mut String,
) {
    let indent = "  ".repeat(depth);
    match setting {
        Value::Object(map) if !map.is_empty() => {
            out.push_str(&format!("{indent}{}:\n", scalar(key, false)));
            for (key, setting) in map {
                place.push(key.clone());
                block(key, setting, depth + 1, place, replace, out);
                place.pop();
            }
        }
        other => out.push_str(&format!("{indent}{}: {}\n", scalar(key, false), flow(key, other, place, replace))),
    }
}

/// A value in one line. `key` is the nearest one: items of a list are as secret as the list.
fn flow(
    key: &str,
    setting: &Value,
    place: &mut Vec<String>,
    replace: &mut impl FnMut(&[String], bool) -> String,
) -> String {
    match setting {
        Value::Object(map) => {
            let mut parts = Vec::new();
            for (key, setting) in map {
                place.push(key.clone());
                parts.push(format!("{}: {}", scalar(key, true), flow(key, setting, place, replace)));
                place.pop();
            }
            format!("{{{}}}", parts.join(", "))
        }
        Value::Array(items) => {
            let mut parts = Vec::new();
            for (at, item) in items.iter().enumerate() {
                place.push(at.to_string());
                parts.push(flow(key, item, place, replace));
                place.pop();
            }
            format!("[{}]", parts.join(", "))
        }
        Value::String(text) if text == MASKED => scalar(&replace(place, false), true),
        Value::String(text) if needs_reference(key, text) => scalar(&replace(place, true), true),
        Value::String(text) => value(text),
        Value::Number(number) if needs_reference(key, &number.to_string()) => scalar(&replace(place, true), true),
        Value::Null | Value::Bool(_) | Value::Number(_) => setting.to_string(),
    }
}

/// A `kind: connection` in `mode: observe`; an error says what no spec can say.
pub(super) fn connection(
    live: &Kept<Live>,
    is: &ConnectionDraft,
    [source, destination]: [&str; 2],
) -> Result<String, String> {
    let mut text = String::from(
        "# Imported from Airbyte. `mode: manage` lets git decide from then on; `aam plan` says what that writes.\n",
    );
    if let Some(preference) = live.raw["nonBreakingChangesPreference"].as_str().filter(|p| *p != "ignore") {
        let preference = crate::diag::escape(preference).into_owned();
        text.push_str(&format!(
            "# Airbyte acts on changes of the source by itself now ({preference}); with `mode: manage` it is told to ignore them.\n"
        ));
    }
    text.push_str(&format!("kind: connection\nmode: observe\nsource: {source}\ndestination: {destination}\n"));
    text.push_str(&format!("schedule: {}\n", schedule(live)?));
    text.push_str("streams:\n");
    let (mut selective, mut changed) = (BTreeSet::new(), BTreeSet::new());
    for entry in &live.known.sync_catalog.streams {
        let Some(name) = entry.get("stream").and_then(catalog::name) else { continue };
        let config = &entry["config"];
        if catalog::selected_fields(config).is_some() {
            selective.insert(name.clone());
        }
        let has = |key: &str| config[key].as_array().is_some_and(|list| !list.is_empty());
        if has("mappers") || has("hashedFields") {
            changed.insert(name);
        }
    }
    for one in &is.streams {
        if changed.contains(&one.name) {
            text.push_str("  # Airbyte maps or hashes fields of this one on their way; aam leaves that as it is.\n");
        }
        stream(one, selective.contains(&one.name), &mut text);
    }
    text.push_str(&format!("airbyte:\n  id: {}\n  name: {}\n", live.known.connection_id, value(&live.known.name)));
    if !is.enabled {
        text.push_str("  status: inactive\n");
    }
    let namespace = live.raw["namespaceDefinition"].as_str().unwrap_or("source");
    let namespace = match namespace {
        "customformat" => live.raw["namespaceFormat"].as_str().unwrap_or_default(),
        other => other,
    };
    let placeholder = "${SOURCE_NAMESPACE}";
    let parts: Vec<String> = namespace.split(placeholder).map(escaped).collect();
    text.push_str(&format!("  namespace: {}\n", scalar(&parts.join(placeholder), true)));
    if let Some(prefix) = live.raw["prefix"].as_str().filter(|prefix| !prefix.is_empty()) {
        text.push_str(&format!("  prefix: {}\n", value(prefix)));
    }
    passthrough(&live.raw, &mut text);
    Ok(text)
}

/// Settings that `aam` has no word for, as they are. What says nothing is left out, and so is what a spec must not hold:
/// then it stays as it is in Airbyte.
fn passthrough(raw: &Value, out: &mut String) {
    let mut lines = String::new();
    for (key, setting) in live_settings(raw) {
        let empty = match &setting {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if empty || NOT_PASSED.contains(&key.as_str()) {
            continue;
        }
        let mut refused = false;
        let mut text = String::new();
        let mut replace = |_: &[String], _: bool| {
            refused = true;
            String::new()
        };
        block(&key, &setting, 2, &mut vec![key.clone()], &mut replace, &mut text);
        if !refused {
            lines.push_str(&text);
        }
    }
    if !lines.is_empty() {
        out.push_str(&format!("  passthrough:\n{lines}"));
    }
}

fn schedule(live: &Kept<Live>) -> Result<String, String> {
    let schedule = from_airbyte(live.raw["scheduleType"].as_str(), &live.raw["scheduleData"])?;
    Ok(match schedule {
        Schedule::Manual => "manual".to_owned(),
        Schedule::Every(period) => format!("{{every: {}}}", period_text(period)),
        Schedule::Cron { expression, timezone } | Schedule::Quartz { expression, timezone } => {
            format!("{{quartz: {}, timezone: {}}}", scalar(&expression, true), scalar(timezone.name(), true))
        }
    })
}

fn stream(stream: &ConfiguredStream, selective: bool, out: &mut String) {
    let path = |path: &FieldPath| scalar(&path.to_string(), true);
    let name: &StreamName = &stream.name;
    let mut parts = vec![format!("mode: {}", stream.mode.word())];
    let own = matches!(stream.schema.cursor, crate::model::Cursor::SourceDefined(_));
    if let Some(cursor) = stream.cursor.as_ref().filter(|_| !own) {
        parts.push(format!("cursor: {}", path(cursor)));
    }
    // without a choice the source's own key serves, if all of it is carried
    let schema = &stream.schema;
    let carried = schema.key.iter().all(|part| schema.fields.contains_key(part));
    let key = if carried { schema.key.as_slice() } else { &[] };
    if stream.key != key {
        parts.push(format!("key: [{}]", stream.key.iter().map(path).collect::<Vec<_>>().join(", ")));
    }
    if selective {
        let roots: BTreeSet<&str> = schema.fields.keys().map(FieldPath::root).collect();
        let names: Vec<String> = roots.into_iter().map(|root| path(&FieldPath::top(root))).collect();
        parts.push(format!("fields: {{include: [{}]}}", names.join(", ")));
    }
    out.push_str(&format!("  {}: {{{}}}\n", scalar(&name.to_string(), false), parts.join(", ")));
}
