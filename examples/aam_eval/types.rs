//! The types that projects name, as field types: by the words that Rails, Django, Odoo, SQL and JSON Schema use.

use aam::model::{FieldType, StringFormat};

/// The field type that a project's word stands for; a word nobody knows stands for text, which most of them are.
pub fn field_type(written: &str) -> FieldType {
    let known = written.split('|').filter(|word| *word != "null").map(one);
    FieldType::union(known)
}

fn one(written: &str) -> FieldType {
    let word = written.trim().to_ascii_lowercase();
    if word.ends_with("[]") || word.starts_with("array") {
        return FieldType::Array;
    }
    // `CharField`, `varchar(255)`: the word before what is in brackets, without what Django puts behind it
    let word = word.split(['(', '[', '<']).next().unwrap_or_default().trim_end_matches("field");
    let format = |name: &str| FieldType::String(StringFormat::new(name));
    let is = |endings: &[&str]| endings.iter().any(|ending| word.ends_with(ending));
    match word {
        "any" | "" => FieldType::Any,
        "bigint" | "int8" | "bigserial" => FieldType::Decimal { precision: 19, scale: 0 },
        "object" | "json" | "jsonb" | "hstore" | "serialized" => FieldType::Object,
        "time" => FieldType::Time,
        "date" => FieldType::Date,
        "datetime" | "timestamp" => FieldType::Timestamp,
        "timestamptz" | "timestamp_tz" => FieldType::TimestampTz,
        "float" | "double" | "real" | "number" | "numeric" | "decimal" | "monetary" => FieldType::Number,
        "point" | "geometry" | "geography" => FieldType::Object,
        _ if is(&["boolean", "bool"]) => FieldType::Boolean,
        _ if is(&["datetime"]) => FieldType::Timestamp,
        _ if is(&["integer", "int", "serial", "auto", "primary_key", "counter", "countercache", "references"]) => {
            FieldType::Integer
        }
        _ if is(&["foreignkey", "onetoone", "many2one", "belongs_to"]) => {
            FieldType::union([FieldType::Integer, FieldType::String(None)])
        }
        _ if is(&["many2many", "one2many", "manytomany"]) => FieldType::Array,
        _ if is(&["decimal", "float", "money"]) => FieldType::Number,
        _ if is(&["json", "jsonb", "hstore"]) => FieldType::Object,
        _ if is(&["uuid"]) => format("uuid"),
        _ if is(&["email"]) => format("email"),
        _ if is(&["url", "uri"]) => format("uri"),
        _ if is(&["ipaddress", "inet"]) => format("ip"),
        _ if is(&["binary", "blob", "bytea"]) => FieldType::Binary,
        _ if is(&["array"]) => FieldType::Array,
        "string" | "char" | "varchar" | "character" | "character varying" | "nvarchar" | "citext" | "cichar" => {
            FieldType::String(None)
        }
        _ => format(word),
    }
}
