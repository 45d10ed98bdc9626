//! PostgreSQL's types in our words, and how each is selected so that its text form loses nothing.

use std::collections::HashMap;

use crate::model::{FieldType, StringFormat};

/// A row of `pg_type`.
#[derive(Debug, Clone)]
pub struct PgType {
    /// `typname`
    pub name: String,
    /// `typtype`: b base, c composite, d domain, e enum, m multirange, r range
    pub kind: String,
    /// What a domain stands for.
    pub base: i64,
    /// The domain's modifier, -1 if none.
    pub typmod: i32,
    /// The item type of an array, 0 otherwise.
    pub element: i64,
    /// Whether the domain forbids null.
    pub not_null: bool,
}

/// All types by oid.
pub type Types = HashMap<i64, PgType>;

/// A column's type with domains followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// In our words.
    pub ty: FieldType,
    /// Of an array: what its items are.
    pub items: Option<FieldType>,
    /// How it leaves the server.
    pub output: Output,
    /// Whether a domain on the way forbids null.
    pub not_null: bool,
}

/// What a column needs so that its text form says everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Its own text form.
    Plain,
    /// `bytea`: base64.
    Bytes,
    /// `money`: its text form hangs on the server's locale.
    Money,
    /// `json`, `jsonb`: JSON already.
    Json,
    /// Arrays and composites: as JSON.
    ToJson,
}

/// Follows domains and names the type in our words.
pub fn resolve(types: &Types, oid: i64, typmod: i32) -> Resolved {
    let (mut oid, mut typmod, mut not_null) = (oid, typmod, false);
    let mut found = types.get(&oid);
    while let Some(domain) = found.filter(|t| t.kind == "d") {
        not_null |= domain.not_null;
        (oid, typmod) = (domain.base, domain.typmod);
        found = types.get(&oid);
    }
    let plain = |ty| Resolved { ty, items: None, output: Output::Plain, not_null };
    let Some(found) = found else { return plain(FieldType::String(None)) };
    if found.element != 0 {
        let items = resolve(types, found.element, typmod);
        // inside JSON, bytes are hex text and money is locale text
        let items =
            if matches!(items.output, Output::Bytes | Output::Money) { FieldType::String(None) } else { items.ty };
        return Resolved { ty: FieldType::Array, items: Some(items), output: Output::ToJson, not_null };
    }
    if found.kind == "c" {
        return Resolved { ty: FieldType::Object, items: None, output: Output::ToJson, not_null };
    }
    match found.name.as_str() {
        "bool" => plain(FieldType::Boolean),
        "int2" | "int4" | "int8" | "oid" => plain(FieldType::Integer),
        "float4" | "float8" => plain(FieldType::Number),
        "numeric" => plain(decimal(typmod)),
        "money" => Resolved { output: Output::Money, ..plain(FieldType::Number) },
        "date" => plain(FieldType::Date),
        "time" => plain(FieldType::Time),
        "timetz" => plain(FieldType::TimeTz),
        "timestamp" => plain(FieldType::Timestamp),
        "timestamptz" => plain(FieldType::TimestampTz),
        "bytea" => Resolved { output: Output::Bytes, ..plain(FieldType::Binary) },
        "json" | "jsonb" => Resolved { output: Output::Json, ..plain(FieldType::Any) },
        "uuid" => plain(FieldType::String(StringFormat::new("uuid"))),
        _ => plain(FieldType::String(None)),
    }
}

/// `numeric(p,s)` keeps both in its modifier; the scale is a signed 11-bit number since PostgreSQL 15.
fn decimal(typmod: i32) -> FieldType {
    let Some(packed) = typmod.checked_sub(4).filter(|m| *m >= 0) else { return FieldType::Number };
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    match (u32::try_from(packed >> 16), u32::try_from(scale)) {
        (Ok(precision), Ok(scale)) => FieldType::Decimal { precision, scale },
        _ => FieldType::Number,
    }
}

impl Resolved {
    /// The expression that gives `column` (quoted) as text that landing reads as `target`.
    pub fn select(&self, column: &str, target: &FieldType) -> String {
        let wants_json = matches!(
            target,
            FieldType::Object | FieldType::Array | FieldType::Map | FieldType::Any | FieldType::Union(_)
        );
        match self.output {
            Output::Json => column.to_owned(),
            Output::ToJson if wants_json || self.ty == FieldType::Array => format!("pg_catalog.to_jsonb({column})"),
            _ if wants_json => format!("pg_catalog.to_jsonb({column})"),
            Output::Bytes => {
                // encode() breaks lines
                format!("pg_catalog.translate(pg_catalog.encode({column}, 'base64'), pg_catalog.chr(10), '')")
            }
            Output::Money => format!("{column}::numeric"),
            Output::Plain if self.ty == *target => column.to_owned(),
            Output::Plain | Output::ToJson => format!("{column}::text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_keep_precision_and_scale() {
        assert_eq!(decimal(-1), FieldType::Number);
        assert_eq!(decimal(((40 << 16) | 2) + 4), FieldType::Decimal { precision: 40, scale: 2 });
        assert_eq!(decimal(((5 << 16) | 0x7fe) + 4), FieldType::Number, "a negative scale has no word");
    }
}
