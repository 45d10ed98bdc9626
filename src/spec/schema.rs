//! The JSON Schemas (2020-12) of spec files and locks, for editors; made from the raw structs.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw::{RawConnection, RawDestination, RawEntity, RawLock, RawMapping, RawSource};

/// What a schema is published for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaKind {
    /// `kind: source`
    Source,
    /// `kind: destination`
    Destination,
    /// `kind: connection`
    Connection,
    /// `kind: mapping`
    Mapping,
    /// `kind: entity`
    Entity,
    /// A lock file.
    Lock,
}

impl SchemaKind {
    /// All of them.
    pub const ALL: [SchemaKind; 6] =
        [Self::Source, Self::Destination, Self::Connection, Self::Mapping, Self::Entity, Self::Lock];

    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Connection => "connection",
            Self::Mapping => "mapping",
            Self::Entity => "entity",
            Self::Lock => "lock",
        }
    }
}

/// The schema of a kind of file.
pub fn schema(kind: SchemaKind) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = match kind {
        SchemaKind::Source => generator.into_root_schema_for::<RawSource>(),
        SchemaKind::Destination => generator.into_root_schema_for::<RawDestination>(),
        SchemaKind::Connection => generator.into_root_schema_for::<RawConnection>(),
        SchemaKind::Mapping => generator.into_root_schema_for::<RawMapping>(),
        SchemaKind::Entity => generator.into_root_schema_for::<RawEntity>(),
        SchemaKind::Lock => generator.into_root_schema_for::<RawLock>(),
    };
    let mut value = schema.to_value();
    forbid_null(&mut value);
    value["title"] = Value::String(format!("aam {}", kind.word()));
    value
}

/// Takes `null` out of everything optional: a key without a value is an error, and an editor should say so. The choices of
/// a stream may be left empty; they are written as `{"type": "null"}` alone, which stays.
fn forbid_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for key in ["type", "enum"] {
                if let Some(Value::Array(choices)) = map.get_mut(key) {
                    choices.retain(|choice| !choice.is_null() && choice != "null");
                    if let (1, "type") = (choices.len(), key) {
                        let one = choices.remove(0);
                        map.insert(key.to_owned(), one);
                    }
                }
            }
            if let Some(Value::Array(forms)) = map.get_mut("anyOf") {
                let is_null = |form: &Value| form.get("type").is_some_and(|t| t == "null");
                // schemars puts it last; `RawStreams` puts it first and means it.
                if forms.len() == 2 && forms.last().is_some_and(is_null) {
                    forms.pop();
                }
            }
            map.values_mut().for_each(forbid_null);
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        _ => {}
    }
}
