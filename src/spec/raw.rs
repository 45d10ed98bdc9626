//! The shape of every file a person writes, as `aam schema` publishes it. Nothing is resolved here.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::read::{Free, FromNode, OneOrMany, Pairs, Placed, Text, raw, words, wrong_type};
use super::source::Problems;
use super::yaml::{Node, Value};
use super::{Mode, OnDelete, OnLiveEdit, RepairPolicy, StreamMode, WhenBreaking};

words! { Mode { "observe" => Mode::Observe, "propose" => Mode::Propose, "manage" => Mode::Manage, } }
words! { RepairPolicy { "auto" => RepairPolicy::Auto, "propose" => RepairPolicy::Propose, } }
words! { WhenBreaking { "hold_stream" => WhenBreaking::HoldStream, "continue" => WhenBreaking::Continue, } }
words! { AirbyteStatus { "active" => AirbyteStatus::Active, "inactive" => AirbyteStatus::Inactive, } }
words! { OnLiveEdit { "propose" => OnLiveEdit::Propose, "revert" => OnLiveEdit::Revert, } }
words! { OnDelete { "pause" => OnDelete::Pause, "delete" => OnDelete::Delete, } }
words! { StreamMode {
    "full_refresh_overwrite" => StreamMode::FullRefreshOverwrite,
    "full_refresh_append" => StreamMode::FullRefreshAppend,
    "incremental_append" => StreamMode::IncrementalAppend,
    "incremental_append_dedup" => StreamMode::IncrementalAppendDedup,
    "full_refresh_overwrite_deduped" => StreamMode::FullRefreshOverwriteDeduped,
    "full_refresh_append_dedup" => StreamMode::FullRefreshAppendDedup,
    "full_refresh_update" => StreamMode::FullRefreshUpdate,
    "full_refresh_soft_delete" => StreamMode::FullRefreshSoftDelete,
    "incremental_overwrite" => StreamMode::IncrementalOverwrite,
    "incremental_update" => StreamMode::IncrementalUpdate,
    "incremental_soft_delete" => StreamMode::IncrementalSoftDelete,
} }

raw! {
    /// A connection: where rows come from, where they land, when, and what to do about drift. Its name is the file's stem.
    RawConnection = "a connection" {
        /// Always `connection`.
        #[schemars(extend("const" = "connection"))]
        kind: Text,
        /// How far aam may go: observe (report only), propose (open repairs), manage (everything; the default).
        mode: Option<Mode>,
        /// Where rows come from: the name of a `kind: source`, or its type and config right here.
        source: RawEndpoint,
        /// Where rows land: the name of a `kind: destination`, or its type and config right here.
        destination: RawEndpoint,
        /// When to sync; absent: only when asked.
        schedule: Option<RawSchedule>,
        /// Which streams and how; absent: every stream, with the mode that the source supports best.
        streams: Option<RawStreams>,
        /// The name of the `kind: mapping` that turns landed rows into canonical events.
        mapping: Option<Text>,
        /// What to do about drift.
        drift: Option<RawDrift>,
        /// What happens when this file goes: pause (the default) or delete.
        on_delete: Option<OnDelete>,
        /// What happens to what people change in the engine: propose (carry it to git; the default) or revert (write git's value).
        on_live_edit: Option<OnLiveEdit>,
        /// Keeps the approved schema as it is for a while; `aam rollback` writes it.
        pin: Option<RawPin>,
        /// For the Airbyte engine only.
        airbyte: Option<RawAirbyte>,
    }
}

raw! {
    /// A schema that stays as it is for a while.
    RawPin = "a pin" {
        /// The catalog version whose schema stays.
        version: Text,
        /// The last day of it, or an RFC 3339 time at which it ends.
        until: Text,
        /// Why: the next person reads it.
        reason: Text,
        /// Who wanted it.
        by: Text,
    }
}

/// Whether Airbyte runs a connection by its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AirbyteStatus {
    /// It does.
    Active,
    /// It rests.
    Inactive,
}

raw! {
    /// What the Airbyte engine is told about a connection besides.
    RawAirbyte = "`airbyte`" {
        /// The id of a connection in Airbyte that is adopted instead of created.
        id: Option<Text>,
        /// Its display name in Airbyte; absent: the connection's name.
        name: Option<Text>,
        /// Whether Airbyte runs it by its schedule: active (the default) or inactive.
        status: Option<AirbyteStatus>,
        /// Where tables land: `source` (schemas as at the source), `destination` (the destination's own; the default), or a
        /// format such as `${SOURCE_NAMESPACE}_raw`.
        namespace: Option<Text>,
        /// What the tables' names begin with.
        prefix: Option<Text>,
        /// Settings of Airbyte's connection that aam does not model, as its Config API writes them; sent as they are.
        passthrough: Option<Free>,
    }
}

raw! {
    /// What the Airbyte engine is told about a source or destination besides.
    RawActor = "`airbyte`" {
        /// The id of a source or destination in Airbyte that is adopted instead of created.
        id: Option<Text>,
        /// Its display name in Airbyte; absent: the spec's name.
        name: Option<Text>,
    }
}

raw! {
    /// A source that several connections may name.
    RawSource = "a source" {
        /// Always `source`.
        #[schemars(extend("const" = "source"))]
        kind: Text,
        /// The connector. Embedded engine: `postgres`, `file`, `airbyte` (any Airbyte source connector as a program). Airbyte:
        /// a docker repository (`airbyte/source-postgres`), its short form (`postgres`), the name Airbyte shows, or a
        /// definition id.
        r#type: Text,
        /// With `type: airbyte`: the program and its first arguments, for example `[source-faker]`.
        command: Option<Vec<Text>>,
        /// With `type: airbyte`: the declarative manifest (YAML connector) that the program is to run.
        manifest: Option<Text>,
        /// The connector's settings. Secrets only as `${env:…}`, `${file:…}` or `${credential:…}`.
        config: Option<Free>,
        /// For the Airbyte engine only.
        airbyte: Option<RawActor>,
    }
}

raw! {
    /// A destination that connections name.
    RawDestination = "a destination" {
        /// Always `destination`.
        #[schemars(extend("const" = "destination"))]
        kind: Text,
        /// The connector: `postgres`; with Airbyte any of its destinations, written as a source's type.
        r#type: Text,
        /// The connector's settings. Secrets only as `${env:…}`, `${file:…}` or `${credential:…}`.
        config: Option<Free>,
        /// For the Airbyte engine only.
        airbyte: Option<RawActor>,
    }
}

raw! {
    /// A source or destination written inside a connection.
    RawInline = "an inline source or destination" {
        /// The connector.
        r#type: Text,
        /// With `type: airbyte`: the program and its first arguments, for example `[source-faker]`.
        command: Option<Vec<Text>>,
        /// With `type: airbyte`: the declarative manifest (YAML connector) that the program is to run.
        manifest: Option<Text>,
        /// The connector's settings. Secrets only as `${env:…}`, `${file:…}` or `${credential:…}`.
        config: Option<Free>,
        /// For the Airbyte engine only.
        airbyte: Option<RawActor>,
    }
}

/// A source or destination in a connection.
#[derive(Debug, Clone)]
pub enum RawEndpoint {
    /// By name.
    Named(Text),
    /// Right here.
    Inline(Box<RawInline>),
}

impl FromNode for RawEndpoint {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => RawInline::read(node, to).map(|inline| Self::Inline(Box::new(inline))),
            Value::Scalar { .. } if !node.is_null() => Text::read(node, to).map(Self::Named),
            _ => wrong_type(node, "a name or a map with `type` and `config`", to),
        }
    }
}

raw! {
    /// When something happens: exactly one of `cron`, `every` and `quartz`.
    RawTimes = "a schedule" {
        /// A cron expression of five fields, or six with seconds first.
        cron: Option<Text>,
        /// The time zone of `cron` or `quartz`, for example `Europe/Berlin`; absent: UTC.
        timezone: Option<Text>,
        /// Again this long after the last start: `15m`, `6h`, `1d`.
        every: Option<Text>,
        /// Airbyte's Quartz expression, kept verbatim; the embedded engine refuses it.
        quartz: Option<Text>,
    }
}

/// A schedule as written.
#[derive(Debug, Clone)]
pub enum RawSchedule {
    /// One word; only `manual` is known.
    Word(Text),
    /// A map.
    Times(Box<RawTimes>, Text),
}

impl FromNode for RawSchedule {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => {
                let at = super::At::new(String::new(), &super::source::Span { end: node.span.start + 1, ..node.span });
                RawTimes::read(node, to).map(|times| Self::Times(Box::new(times), at))
            }
            Value::Scalar { .. } if !node.is_null() => Text::read(node, to).map(Self::Word),
            _ => wrong_type(node, "`manual` or a map with `cron`, `every` or `quartz`", to),
        }
    }
}

raw! {
    /// Choices for one stream; what is absent follows the source.
    RawStream = "a stream" {
        /// How it is read and written.
        mode: Option<Placed<StreamMode>>,
        /// The field that says what is new.
        cursor: Option<Text>,
        /// The fields that identify a row, if not the source's own key.
        key: Option<OneOrMany<Text>>,
        /// Which top-level fields are carried; absent: all, also those that appear later.
        fields: Option<RawFields>,
    }
}

raw! {
    /// Which top-level fields of a stream are carried: one of the two.
    RawFields = "a choice of fields" {
        /// Only these.
        include: Option<Vec<Text>>,
        /// All but these.
        exclude: Option<Vec<Text>>,
    }
}

/// The streams of a connection: a list of names, or names with choices.
#[derive(Debug, Clone)]
pub struct RawStreams(pub Vec<(Text, Option<RawStream>)>);

impl FromNode for RawStreams {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        match &node.value {
            Value::List(_) => {
                Vec::<Text>::read(node, to).map(|names| Self(names.into_iter().map(|n| (n, None)).collect()))
            }
            Value::Map(entries) => {
                let read = |(key, value): &(super::yaml::Key, Node)| {
                    let choice = if value.is_null() { Some(None) } else { RawStream::read(value, to).map(Some) };
                    Some((super::At::new(key.text.clone(), &key.span), choice?))
                };
                Some(Self(entries.iter().filter_map(read).collect()))
            }
            Value::Scalar { .. } => wrong_type(node, "a map or a list of streams", to),
        }
    }
}

raw! {
    /// What to do about drift.
    RawDrift = "drift" {
        /// How often to look; absent: every 15 minutes with the embedded engine, daily with Airbyte.
        check: Option<RawSchedule>,
        /// auto: what is automatic is committed, the rest proposed (the default). propose: always ask.
        repair: Option<RepairPolicy>,
        /// Least confidence for an automatic repair, from 0.5 to 1; absent: 0.85.
        threshold: Option<Text>,
        /// What happens to a stream that a breaking drift waits on: hold_stream (the default) or continue.
        when_breaking: Option<WhenBreaking>,
    }
}

raw! {
    /// From the fields of one system's streams to canonical fields.
    RawMapping = "a mapping" {
        /// Always `mapping`.
        #[schemars(extend("const" = "mapping"))]
        kind: Text,
        /// The system it maps from; events carry it.
        system: Text,
        /// Canonical entities by name.
        entities: Pairs<RawEntityMapping>,
    }
}

raw! {
    /// How one stream becomes one canonical entity.
    RawEntityMapping = "an entity of a mapping" {
        /// The stream it is read from.
        stream: Text,
        /// The source fields that identify a record.
        key: Option<OneOrMany<Text>>,
        /// Canonical fields: a source path, or a rule.
        fields: Pairs<RawRule>,
        /// A minijinja expression that says a record is deleted.
        deleted_when: Option<Text>,
    }
}

raw! {
    /// Where a canonical field's value comes from: `from` or `expr`.
    RawRuleMap = "a mapping rule" {
        /// The source field.
        from: Option<Text>,
        /// Cast to this type first.
        r#as: Option<Text>,
        /// Value table: source value to canonical value.
        values: Option<Pairs<Text>>,
        /// When the source has no value, or the table does not know it.
        default: Option<Text>,
        /// A minijinja expression over the record's fields.
        expr: Option<Text>,
    }
}

/// A mapping rule as written.
#[derive(Debug, Clone)]
pub enum RawRule {
    /// A source path.
    Path(Text),
    /// A map; the text is its place.
    Map(Box<RawRuleMap>, Text),
}

impl FromNode for RawRule {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => {
                let at = super::At::new(String::new(), &super::source::Span { end: node.span.start + 1, ..node.span });
                RawRuleMap::read(node, to).map(|map| Self::Map(Box::new(map), at))
            }
            Value::Scalar { .. } if !node.is_null() => Text::read(node, to).map(Self::Path),
            _ => wrong_type(node, "a source field or a map with `from` or `expr`", to),
        }
    }
}

raw! {
    /// A canonical entity: what every system's records are turned into.
    RawEntity = "an entity" {
        /// Always `entity`.
        #[schemars(extend("const" = "entity"))]
        kind: Text,
        /// For people.
        description: Option<Text>,
        /// Canonical fields by name.
        fields: Pairs<RawEntityField>,
    }
}

raw! {
    /// A field of a canonical entity.
    RawEntityField = "a field of an entity" {
        /// string, integer, decimal, boolean, date, timestamp, object or array.
        r#type: Text,
        /// Whether a record without it goes to the dead letters.
        required: Option<bool>,
        /// Whether it is personal: never repaired by itself.
        pii: Option<bool>,
        /// For people.
        description: Option<Text>,
    }
}

raw! {
    /// A lock: the approved schema of a connection. Written by aam; approved by merging it.
    RawLock = "a lock" {
        /// The connection's identity for life.
        id: Text,
        /// Counts approvals, from 1.
        version: Text,
        /// `s1:` and the SHA-256 of the canonical form of `streams`.
        fingerprint: Text,
        /// The selected streams.
        streams: Pairs<RawLockStream>,
    }
}

raw! {
    /// A stream in a lock.
    RawLockStream = "a stream of a lock" {
        /// The key the source defines.
        key: Option<Vec<Text>>,
        /// `source_defined` or `any`, with the field in parentheses if the source names one.
        cursor: Option<Text>,
        /// Sync modes of the source.
        modes: Vec<Text>,
        /// One line per field: its type, with `!` when it is never null.
        fields: Pairs<Text>,
    }
}

raw! {
    /// A line of `rejected.yaml`.
    RawRejection = "a rejection" {
        /// What the source showed.
        fingerprint: Text,
        /// Who rejected it.
        by: Text,
        /// When, RFC 3339.
        at: Text,
        /// Why.
        reason: Text,
        /// The changes that were rejected, a line each, as a drift file shows them.
        changes: Vec<Text>,
    }
}

/// A schema that is one of two forms, written without a name of its own.
macro_rules! either {
    ($name:ty, $generator:ident => $schema:expr) => {
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

either!(RawEndpoint, g => json_schema!({"anyOf": [{"type": "string"}, g.subschema_for::<RawInline>()]}));
either!(RawSchedule, g => json_schema!({"anyOf": [{"const": "manual"}, g.subschema_for::<RawTimes>()]}));
either!(RawRule, g => json_schema!({"anyOf": [{"type": "string"}, g.subschema_for::<RawRuleMap>()]}));
either!(RawStreams, g => {
    let stream = g.subschema_for::<RawStream>();
    json_schema!({"anyOf": [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "null"}, stream]}}
    ]})
});
