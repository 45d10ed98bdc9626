//! Fields to and from JSON Schema as Airbyte uses it, and whole catalogs as Airbyte's protocol writes them.
//!
//! Both directions together lose nothing of what a [`Field`] says. Where JSON Schema and Airbyte have no word, we add
//! one that other readers ignore: `x-aam-type` holds the type in a lock's form (`decimal(40,2)`, `map`, `any!`,
//! `string<date>`), `x-aam-place` the field's place, because our JSON objects keep no order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Catalog, Cursor, Field, FieldPath, FieldType, Segment, Stream, StringFormat, SyncMode};

/// The fields of a stream by path.
pub type Fields = BTreeMap<FieldPath, Field>;

/// An `AirbyteCatalog` (protocol) with every stream of the catalog.
pub fn airbyte_catalog(catalog: &Catalog) -> Value {
    let path = |p: &FieldPath| -> Value {
        let name = |s: &Segment| match s {
            Segment::Name(name) => Value::String(name.clone()),
            Segment::Items => Value::String("[]".into()),
            Segment::Values => Value::String("{}".into()),
        };
        p.segments().iter().map(name).collect()
    };
    let stream = |(name, stream): (&super::StreamName, &Stream)| {
        let mut out = Map::new();
        out.insert("name".into(), json!(name.name));
        if let Some(namespace) = &name.namespace {
            out.insert("namespace".into(), json!(namespace));
        }
        out.insert("json_schema".into(), fields_to_json_schema(&stream.fields));
        out.insert("supported_sync_modes".into(), stream.modes.iter().map(|m| m.as_str()).collect());
        out.insert("source_defined_primary_key".into(), stream.key.iter().map(path).collect());
        if let Cursor::SourceDefined(default) | Cursor::Any(default) = &stream.cursor {
            out.insert("source_defined_cursor".into(), json!(matches!(stream.cursor, Cursor::SourceDefined(_))));
            if let Some(default) = default {
                out.insert("default_cursor_field".into(), path(default));
            }
        }
        Value::Object(out)
    };
    json!({"streams": catalog.streams.iter().map(stream).collect::<Vec<_>>()})
}

/// One `AirbyteStream`, in the protocol's spelling or in that of the Config API; `None` without a name.
pub fn stream_from_airbyte(stream: &Value) -> Option<(super::StreamName, Stream)> {
    let get = |protocol: &str, api: &str| stream.get(protocol).or_else(|| stream.get(api)).unwrap_or(&Value::Null);
    let namespace = stream.get("namespace").and_then(Value::as_str).map(str::to_owned);
    let name = super::StreamName { namespace, name: stream.get("name")?.as_str()?.to_owned() };
    let words = get("supported_sync_modes", "supportedSyncModes").as_array().into_iter().flatten();
    let mut modes: BTreeSet<SyncMode> = words.filter_map(|word| word.as_str()?.parse().ok()).collect();
    if modes.is_empty() {
        // a source that says nothing can at least be read whole
        modes.insert(SyncMode::FullRefresh);
    }
    let default = path_from_airbyte(get("default_cursor_field", "defaultCursorField"));
    let source_defined = get("source_defined_cursor", "sourceDefinedCursor").as_bool() == Some(true);
    let cursor = match modes.contains(&SyncMode::Incremental) {
        false => Cursor::None,
        true if source_defined => Cursor::SourceDefined(default),
        true => Cursor::Any(default),
    };
    let key = get("source_defined_primary_key", "sourceDefinedPrimaryKey").as_array().into_iter().flatten();
    let key = key.filter_map(path_from_airbyte).collect();
    Some((name, Stream { key, cursor, modes, fields: stream_from_json_schema(get("json_schema", "jsonSchema")) }))
}

/// `["address", "city"]`; `None` for an empty or absent one.
pub fn path_from_airbyte(words: &Value) -> Option<FieldPath> {
    let name = |word: &Value| Some(Segment::Name(word.as_str()?.to_owned()));
    FieldPath::from_segments(words.as_array()?.iter().map(name).collect::<Option<_>>()?)
}

/// The JSON Schema of a record with these fields.
pub fn fields_to_json_schema(fields: &Fields) -> Value {
    let top = fields.iter().filter(|(path, _)| path.segments().len() == 1);
    let properties: Map<_, _> =
        top.map(|(path, field)| (path.root().to_owned(), schema(fields, path, field))).collect();
    json!({"type": "object", "properties": properties})
}

fn children<'a>(
    fields: &'a Fields,
    path: &'a FieldPath,
) -> impl Iterator<Item = (&'a Segment, &'a FieldPath, &'a Field)> {
    let depth = path.segments().len();
    let inside = fields.range(path..).skip(1).take_while(move |(p, _)| p.is_within(path));
    inside.filter(move |(p, _)| p.segments().len() == depth + 1).map(move |(p, f)| (&p.segments()[depth], p, f))
}

fn schema(fields: &Fields, path: &FieldPath, field: &Field) -> Value {
    let mut out = match &field.ty {
        FieldType::Union(members) => {
            let null = field.nullable.then(|| json!({"type": "null"}));
            let members = members.iter().map(|m| Value::Object(member(fields, path, m, false)));
            Map::from_iter([("oneOf".to_owned(), null.into_iter().chain(members).collect())])
        }
        ty => member(fields, path, ty, field.nullable),
    };
    if let Some(place) = field.place {
        out.insert("x-aam-place".into(), json!(place));
    }
    if let Some(description) = &field.description {
        out.insert("description".into(), json!(description));
    }
    Value::Object(out)
}

fn member(fields: &Fields, path: &FieldPath, ty: &FieldType, nullable: bool) -> Map<String, Value> {
    let mut out = Map::new();
    let mut set = |key: &str, value: Value| out.insert(key.to_owned(), value);
    let nested = |want: fn(&Segment) -> bool| {
        children(fields, path).filter(move |(s, ..)| want(s)).map(|(s, p, f)| (s.clone(), schema(fields, p, f)))
    };
    let word = match ty {
        FieldType::Boolean => "boolean",
        FieldType::Integer => "integer",
        FieldType::Number => "number",
        FieldType::Decimal { .. } => {
            set("x-aam-type", json!(ty.to_string()));
            "number"
        }
        FieldType::String(None) => "string",
        FieldType::String(Some(format)) => {
            set("format", json!(format.as_str()));
            if matches!(format.as_str(), "date" | "time" | "date-time") {
                set("x-aam-type", json!(ty.to_string())); // these formats alone mean the typed forms
            }
            "string"
        }
        FieldType::Date => {
            set("format", json!("date"));
            "string"
        }
        FieldType::Time | FieldType::TimeTz => {
            let zone = if *ty == FieldType::Time { "time_without_timezone" } else { "time_with_timezone" };
            set("format", json!("time"));
            set("airbyte_type", json!(zone));
            "string"
        }
        FieldType::Timestamp | FieldType::TimestampTz => {
            let zone =
                if *ty == FieldType::Timestamp { "timestamp_without_timezone" } else { "timestamp_with_timezone" };
            set("format", json!("date-time"));
            set("airbyte_type", json!(zone));
            "string"
        }
        FieldType::Binary => {
            set("contentEncoding", json!("base64"));
            "string"
        }
        FieldType::Object => {
            let named = nested(|s| matches!(s, Segment::Name(_)));
            let properties: Map<String, Value> =
                named.filter_map(|(s, v)| if let Segment::Name(name) = s { Some((name, v)) } else { None }).collect();
            if !properties.is_empty() {
                set("properties", Value::Object(properties));
            }
            "object"
        }
        FieldType::Array => {
            if let Some((_, items)) = nested(|s| *s == Segment::Items).next() {
                set("items", items);
            }
            "array"
        }
        FieldType::Map => {
            set("x-aam-type", json!("map"));
            if let Some((_, values)) = nested(|s| *s == Segment::Values).next() {
                set("additionalProperties", values);
            }
            "object"
        }
        FieldType::Any | FieldType::Union(_) => {
            if !nullable {
                set("x-aam-type", json!("any!"));
            }
            return out;
        }
    };
    set("type", if nullable { json!(["null", word]) } else { json!(word) });
    out
}

/// The fields that a JSON Schema states, nested ones too. What it does not state is [`FieldType::Any`].
pub fn stream_from_json_schema(schema: &Value) -> Fields {
    let mut fields = Fields::new();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, schema) in properties {
            read(&mut fields, &FieldPath::top(name), schema, 0);
        }
    }
    fields
}

/// Schemas nested deeper than this are [`FieldType::Any`] from there on: no real record is, and a hostile one may be.
const MAX_DEPTH: u32 = 40;

fn read(fields: &mut Fields, path: &FieldPath, schema: &Value, depth: u32) {
    let mut seen = Seen::default();
    if depth <= MAX_DEPTH {
        collect(fields, path, schema, depth, &mut seen);
    }
    // a schema that names no type but null allows anything
    let nullable = seen.null || seen.types.is_empty() && !seen.not_null;
    let mut field = Field::new(FieldType::union(seen.types), nullable);
    field.place = schema.get("x-aam-place").and_then(Value::as_u64).and_then(|p| u32::try_from(p).ok());
    field.description = schema.get("description").and_then(Value::as_str).map(str::to_owned);
    fields.insert(path.clone(), field);
}

#[derive(Default)]
struct Seen {
    types: Vec<FieldType>,
    null: bool,
    not_null: bool,
}

fn collect(fields: &mut Fields, path: &FieldPath, schema: &Value, depth: u32, seen: &mut Seen) {
    for member in ["oneOf", "anyOf"].iter().filter_map(|k| schema.get(k)?.as_array()).flatten() {
        if depth < MAX_DEPTH {
            collect(fields, path, member, depth + 1, seen);
        }
    }
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("properties").is_some() => vec!["object"],
        _ if schema.get("items").is_some() => vec!["array"],
        _ => vec![],
    };
    let ours = schema.get("x-aam-type").and_then(Value::as_str);
    seen.not_null |= ours == Some("any!");
    for name in names {
        if name == "null" {
            seen.null = true;
        } else if let Some(ty) = named(name, schema, ours) {
            nested(fields, path, schema, &ty, depth);
            seen.types.push(ty);
        } else {
            seen.types.push(FieldType::Any);
        }
    }
}

fn nested(fields: &mut Fields, path: &FieldPath, schema: &Value, ty: &FieldType, depth: u32) {
    match ty {
        FieldType::Object => {
            for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                read(fields, &path.child(Segment::Name(name.clone())), schema, depth + 1);
            }
        }
        FieldType::Array => {
            if let Some(items) = schema.get("items").filter(|i| i.is_object()) {
                read(fields, &path.child(Segment::Items), items, depth + 1);
            }
        }
        FieldType::Map => {
            if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object()) {
                read(fields, &path.child(Segment::Values), values, depth + 1);
            }
        }
        _ => {}
    }
}

/// The type that one name of a `type` list stands for; `None` for a name that JSON Schema does not know.
fn named(name: &str, schema: &Value, ours: Option<&str>) -> Option<FieldType> {
    let text = |key| schema.get(key).and_then(Value::as_str);
    let airbyte = text("airbyte_type");
    if let Some(ty @ (FieldType::Decimal { .. } | FieldType::String(Some(_)) | FieldType::Map)) =
        ours.and_then(|t| t.parse().ok())
    {
        return Some(ty);
    }
    Some(match name {
        "boolean" => FieldType::Boolean,
        "integer" => FieldType::Integer,
        "number" if matches!(airbyte, Some("integer")) => FieldType::Integer,
        "number" => FieldType::Number,
        "string" => match (text("format"), airbyte) {
            (_, Some("big_integer")) => FieldType::Integer,
            (_, Some("big_number")) => FieldType::Number,
            (Some("date"), _) => FieldType::Date,
            (Some("time"), Some("time_without_timezone")) => FieldType::Time,
            (Some("time"), _) => FieldType::TimeTz,
            (Some("date-time"), Some("timestamp_without_timezone")) => FieldType::Timestamp,
            (Some("date-time"), _) => FieldType::TimestampTz,
            _ if text("contentEncoding") == Some("base64") => FieldType::Binary,
            (format, _) => FieldType::String(format.and_then(StringFormat::new)),
        },
        // with named properties it is an object, whatever else it allows
        "object"
            if schema.get("properties").is_none()
                && schema.get("additionalProperties").is_some_and(Value::is_object) =>
        {
            FieldType::Map
        }
        "object" => FieldType::Object,
        "array" => FieldType::Array,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(schema: &str) -> String {
        let fields = stream_from_json_schema(&serde_json::from_str(schema).unwrap());
        fields.iter().map(|(path, field)| format!("{path}: {}", field.shape())).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn schemas_of_real_connectors_are_understood() {
        let schema = r#"{"$schema": "x", "type": "object", "additionalProperties": true, "properties": {
            "id": {"type": "number", "airbyte_type": "integer"},
            "count": {"type": ["null", "integer"]}, "n": {"type": ["number", "null"]},
            "day": {"type": "string", "format": "date"},
            "at": {"type": ["null", "string"], "format": "date-time"},
            "local": {"type": "string", "format": "date-time", "airbyte_type": "timestamp_without_timezone"},
            "clock": {"type": "string", "format": "time", "airbyte_type": "time_without_timezone"},
            "mail": {"type": ["string", "null"], "format": "email"},
            "big": {"type": "string", "airbyte_type": "big_integer"},
            "either": {"oneOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "boolean"}}}]},
            "both": {"type": ["null", "string", "integer"]},
            "tags": {"type": ["null", "array"], "items": {"type": ["null", "string"]}},
            "address": {"type": "object", "additionalProperties": true, "properties": {"city.name": {"type": "string"}}},
            "labels": {"type": "object", "additionalProperties": {"type": "number"}},
            "free": {}, "nothing": {"type": "null"}, "odd": {"type": "file"}
        }}"#;
        insta::assert_snapshot!(shown(schema), @r#"
        address: object!
        address."city.name": string!
        at: timestamp_tz
        big: integer!
        both: integer|string
        clock: time!
        count: integer
        day: date!
        either: string|object!
        either.a: boolean!
        free: any
        id: integer!
        labels: map!
        labels{}: number!
        local: timestamp!
        mail: string<email>
        n: number
        nothing: any
        odd: any!
        tags: array
        tags[]: string
        "#);
    }

    fn leaf() -> impl Strategy<Value = FieldType> {
        prop_oneof![
            Just(FieldType::Boolean),
            Just(FieldType::Integer),
            Just(FieldType::Number),
            Just(FieldType::Date),
            Just(FieldType::Time),
            Just(FieldType::TimeTz),
            Just(FieldType::Timestamp),
            Just(FieldType::TimestampTz),
            Just(FieldType::Binary),
            Just(FieldType::Any),
            Just(FieldType::String(None)),
            (1..50_u32, 0..20_u32).prop_map(|(precision, scale)| FieldType::Decimal { precision, scale }),
            prop_oneof!["date", "time", "date-time", "uuid", "email"]
                .prop_map(|f| FieldType::String(StringFormat::new(&f))),
        ]
    }

    /// A field with everything below it, as paths relative to it.
    type Tree = Vec<(Vec<Segment>, FieldType, bool)>;

    fn tree() -> impl Strategy<Value = Tree> {
        let union = prop::collection::btree_set(leaf(), 2..4).prop_map(FieldType::union);
        let end = (prop_oneof![4 => leaf(), 1 => union], any::<bool>()).prop_map(|(ty, null)| vec![(vec![], ty, null)]);
        end.prop_recursive(3, 20, 4, |inner| {
            let below = |ty: FieldType, null: bool, parts: Vec<(Segment, Tree)>| {
                let mut all = vec![(vec![], ty, null)];
                for (segment, part) in parts {
                    all.extend(part.into_iter().map(|(p, t, n)| ([vec![segment.clone()], p].concat(), t, n)));
                }
                all
            };
            prop_oneof![
                (prop::collection::btree_map("[a-z.]{1,3}", inner.clone(), 0..4), any::<bool>()).prop_map(
                    move |(parts, null)| below(
                        FieldType::Object,
                        null,
                        parts.into_iter().map(|(n, p)| (Segment::Name(n), p)).collect()
                    )
                ),
                (prop::option::of(inner.clone()), any::<bool>()).prop_map(move |(part, null)| below(
                    FieldType::Array,
                    null,
                    part.into_iter().map(|p| (Segment::Items, p)).collect()
                )),
                (prop::option::of(inner), any::<bool>()).prop_map(move |(part, null)| below(
                    FieldType::Map,
                    null,
                    part.into_iter().map(|p| (Segment::Values, p)).collect()
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn there_and_back_loses_nothing(trees in prop::collection::btree_map(".{1,4}", tree(), 0..5), place in 0..9_u32) {
            let mut fields = Fields::new();
            for (name, tree) in trees {
                for (rest, ty, nullable) in tree {
                    let path = rest.into_iter().fold(FieldPath::top(&name), |p, s| p.child(s));
                    let mut field = Field::new(ty, nullable);
                    field.place = (path.segments().len() == 1).then_some(place);
                    field.description = nullable.then(|| name.clone());
                    fields.insert(path, field);
                }
            }
            prop_assert_eq!(stream_from_json_schema(&fields_to_json_schema(&fields)), fields);
        }
    }
}
