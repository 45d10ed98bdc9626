//! What decides whether a record is new: the hash of its content, and the text of its key. And whether a mapping is.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::number;
use crate::spec::{EntitySpec, MappingSpec};

/// SHA-256 (hex) over the operation's word, data and unknown fields. Objects are written with their names sorted, so
/// the order of a source's fields does not matter.
pub fn content_hash(op: &str, data: &Map<String, Value>, unknown_fields: &Map<String, Value>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(op.as_bytes());
    let mut buffer = Vec::with_capacity(256);
    for map in [data, unknown_fields] {
        buffer.clear();
        buffer.push(b'\n');
        // `serde_json::Map` keeps names sorted; a test holds this
        serde_json::to_writer(&mut buffer, map).expect("JSON values always serialize");
        hasher.update(&buffer);
    }
    hex::encode(hasher.finalize())
}

/// A record's identity as text: its key values as a JSON list. Equal numbers have equal texts (`7`, `7.0`); a number
/// and its text do not. `Err` holds the place of a value that can be no key: null, an object or a list.
pub fn key_text<'a>(values: impl IntoIterator<Item = Option<&'a Value>>) -> Result<String, usize> {
    let mut text = String::from("[");
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        match value {
            Some(Value::Number(n)) => match number::decimal(n.as_str()) {
                Some(exact) => text.push_str(&exact),
                None => text.push_str(n.as_str()),
            },
            Some(value @ (Value::String(_) | Value::Bool(_))) => text.push_str(&value.to_string()),
            _ => return Err(place),
        }
    }
    text.push(']');
    Ok(text)
}

/// SHA-256 (hex) over all that decides what becomes of a record: the mapping's text, and the entity's types and required fields.
pub fn mapping_digest(mapping: &MappingSpec, entity: &EntitySpec) -> String {
    let mut hasher = Sha256::new();
    hasher.update(&mapping.digest);
    for (name, field) in &entity.fields {
        hasher.update(format!("\n{name:?} {:?} {}", field.ty, field.required));
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_order_of_names_does_not_matter_but_the_place_of_a_value_does() {
        let one = content_hash("upsert", &map(r#"{"a":1,"b":{"x":1,"y":2}}"#), &map("{}"));
        assert_eq!(one, content_hash("upsert", &map(r#"{"b":{"y":2,"x":1},"a":1}"#), &map("{}")));
        assert_ne!(one, content_hash("delete", &map(r#"{"a":1,"b":{"x":1,"y":2}}"#), &map("{}")));
        assert_ne!(
            content_hash("upsert", &map(r#"{"a":1}"#), &map("{}")),
            content_hash("upsert", &map("{}"), &map(r#"{"a":1}"#))
        );
    }

    #[test]
    fn keys_as_text() {
        let values: Vec<Value> = serde_json::from_str(r#"[7, 7.0, 70e-1, "7", true, "a\"b\u0000"]"#).unwrap();
        let text: Vec<_> = values.iter().map(|v| key_text([Some(v)]).unwrap()).collect();
        insta::assert_snapshot!(text.join(" "), @r#"[7] [7] [7] ["7"] [true] ["a\"b\u0000"]"#);
        assert_eq!(key_text(values.iter().take(2).map(Some)).unwrap(), "[7,7]");
        assert_eq!(key_text([Some(&values[0]), None]), Err(1));
        assert_eq!(key_text([Some(&Value::Null)]), Err(0));
    }
}
