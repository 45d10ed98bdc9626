//! The `airbyte:` blocks of connections, sources and destinations, and what only one of the engines can do.

use uuid::Uuid;

use crate::diag::{Diagnostic, quoted};

use super::raw::{AirbyteStatus, RawActor, RawAirbyte};
use super::read::{Free, Text, nearest};
use super::source::Problems;
use super::value::{literal, read_config};
use super::yaml::{Node, Value};
use super::{ActorOptions, AirbyteOptions, Config, ConfigValue, EngineKind, Namespace};

/// Airbyte's own placeholder in a namespace; no reference to a secret.
const SOURCE_NAMESPACE: &str = "${SOURCE_NAMESPACE}";

/// Settings of Airbyte's connection that `aam` models, and where a spec says them.
const MODELLED: &[(&str, &str)] = &[
    ("connectionId", "write `airbyte: {id: …}`"),
    (
        "destinationId",
        "`destination:` names it; a destination that is there already is adopted with its own `airbyte: {id: …}`",
    ),
    ("name", "write `airbyte: {name: …}`"),
    ("namespaceDefinition", "write `airbyte: {namespace: source}`, `destination`, or a format"),
    ("namespaceFormat", "write `airbyte: {namespace: \"${SOURCE_NAMESPACE}_raw\"}`"),
    (
        "nonBreakingChangesPreference",
        "`drift:` says what happens when the source changes; Airbyte itself is told to ignore it",
    ),
    ("prefix", "write `airbyte: {prefix: …}`"),
    ("schedule", "write `schedule:`"),
    ("scheduleData", "write `schedule:`"),
    ("scheduleType", "write `schedule:`"),
    ("skipReset", "aam always sends it, so that no data is cleared"),
    ("sourceId", "`source:` names it; a source that is there already is adopted with its own `airbyte: {id: …}`"),
    ("status", "write `airbyte: {status: inactive}` if it shall rest"),
    ("syncCatalog", "write `streams:`; the lock holds the fields"),
    ("tags", "`[airbyte] tag` in config/aam.toml names the one that aam sets; others are left as they are"),
];

/// Adds what a spec asks of an engine that does not have it.
pub(super) fn not_with(engine: EngineKind, at: &Text, what: &str, help: &str, to: &mut Problems<'_>) {
    let name = match engine {
        EngineKind::Embedded => "embedded",
        EngineKind::Airbyte => "airbyte",
    };
    let d = Diagnostic::error("AAM-S028", what).label(format!("not with `[engine] kind = \"{name}\"`"));
    to.add(&at.place(), d.help(help));
}

/// The block of a connection.
pub(super) fn check_options(raw: Option<&RawAirbyte>, engine: EngineKind, to: &mut Problems<'_>) -> AirbyteOptions {
    let Some(raw) = raw else { return AirbyteOptions::default() };
    AirbyteOptions {
        id: check_id(raw.id.as_ref(), "connection", engine, to),
        name: check_name(raw.name.as_ref(), to),
        inactive: raw.status == Some(AirbyteStatus::Inactive),
        namespace: raw.namespace.as_ref().map(|text| check_namespace(text, to)).unwrap_or_default(),
        prefix: raw.prefix.as_ref().map(|text| plain(text, "prefix", to)).unwrap_or_default(),
        passthrough: raw.passthrough.as_ref().map(|free| check_passthrough(free, to)).unwrap_or_default(),
    }
}

/// The block of a source or destination.
pub(super) fn check_actor(
    raw: Option<&RawActor>,
    what: &str,
    engine: EngineKind,
    to: &mut Problems<'_>,
) -> ActorOptions {
    let Some(raw) = raw else { return ActorOptions::default() };
    ActorOptions { id: check_id(raw.id.as_ref(), what, engine, to), name: check_name(raw.name.as_ref(), to) }
}

fn check_id(text: Option<&Text>, what: &str, engine: EngineKind, to: &mut Problems<'_>) -> Option<Uuid> {
    let text = text?;
    if engine == EngineKind::Embedded {
        let why = format!("only the Airbyte engine adopts a {what} that is there already");
        not_with(engine, text, &why, "remove `id`, or set `[engine] kind = \"airbyte\"` in config/aam.toml", to);
    }
    // other forms of a UUID are no ids to Airbyte
    let id = Uuid::parse_str(&text.value).ok().filter(|id| id.to_string() == text.value.to_ascii_lowercase());
    if id.is_none() {
        let d = Diagnostic::error("AAM-S026", format!("{} is no id of Airbyte", quoted(&text.value)));
        let d = d.label("expected a UUID");
        to.add(&text.place(), d.help(format!("it is the last part of the address of the {what}'s page in Airbyte")));
    }
    id
}

fn check_name(text: Option<&Text>, to: &mut Problems<'_>) -> Option<String> {
    let name = plain(text?, "name", to);
    if name.trim().is_empty() {
        let d = Diagnostic::error("AAM-S026", "the display name is empty");
        to.add(&text?.place(), d.help("give it one, or remove the key"));
    }
    Some(name)
}

/// A text that Airbyte shows to everyone: no place for a secret. `$${` is a literal `${`.
fn plain(text: &Text, key: &str, to: &mut Problems<'_>) -> String {
    let literal = literal(&text.value);
    if literal.is_none() {
        let d =
            Diagnostic::error("AAM-S020", format!("`{key}` takes no references")).label("would be shown to everyone");
        let help = match key {
            "prefix" => "write the prefix itself; the source's namespace goes into `namespace`",
            _ => "write the text itself",
        };
        to.add(&text.place(), d.help(help));
    }
    literal.unwrap_or_else(|| text.value.clone())
}

fn check_namespace(text: &Text, to: &mut Problems<'_>) -> Namespace {
    match text.value.as_str() {
        "source" => return Namespace::Source,
        "destination" => return Namespace::Destination,
        _ => {}
    }
    let format = literal(&text.value.replace(SOURCE_NAMESPACE, "$${SOURCE_NAMESPACE}"));
    if format.is_none() {
        let d = Diagnostic::error("AAM-S020", "a namespace knows only Airbyte's own placeholder");
        to.add(&text.place(), d.label(format!("only `{SOURCE_NAMESPACE}`")).help("secrets are no part of a namespace"));
    } else if text.value.trim().is_empty() {
        let d = Diagnostic::error("AAM-S026", "the namespace is empty");
        to.add(&text.place(), d.help("write `source`, `destination`, or a format"));
    } else if let Some(near) = nearest(&text.value, ["source", "destination"]) {
        let d =
            Diagnostic::warning("AAM-S011", format!("every table lands in a schema called {}", quoted(&text.value)));
        to.add(&text.place(), d.help(format!("did you mean `{near}`?")));
    }
    Namespace::Custom(format.unwrap_or_else(|| text.value.clone()))
}

fn check_passthrough(free: &Free, to: &mut Problems<'_>) -> Config {
    let Some(config) = read_config(&free.0, to) else { return Config::new() };
    if let Value::Map(entries) = &free.0.value {
        for (key, node) in entries {
            if let Some((_, instead)) = MODELLED.iter().find(|(modelled, _)| *modelled == key.text) {
                let d = Diagnostic::error("AAM-S029", format!("`passthrough` cannot set {}", quoted(&key.text)));
                to.add(&key.span, d.label("aam itself says this").help(*instead));
            }
            refuse_references(node, &config[&key.text], to);
        }
    }
    config
}

/// Airbyte shows these settings to everyone who may see the connection.
fn refuse_references(node: &Node, value: &ConfigValue, to: &mut Problems<'_>) {
    match (&node.value, value) {
        // an empty one was refused when it was read
        (_, ConfigValue::Template(parts)) if !parts.is_empty() => {
            let d = Diagnostic::error("AAM-S020", "`passthrough` takes no references");
            to.add(
                &node.span,
                d.label("would be shown to everyone").help("secrets go into `config:` of the source or destination"),
            );
        }
        (Value::List(nodes), ConfigValue::List(values)) => {
            nodes.iter().zip(values).for_each(|(node, value)| refuse_references(node, value, to));
        }
        (Value::Map(entries), ConfigValue::Map(values)) => {
            entries.iter().for_each(|(key, node)| refuse_references(node, &values[&key.text], to));
        }
        _ => {}
    }
}
