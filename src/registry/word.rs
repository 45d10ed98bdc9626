//! Words of closed enums as the registry stores them: the same as in JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::Fail;

/// A value for a column of type json, to be bound as `$n::text::json`: bound as a JSON value it would go through jsonb,
/// which knows no `\\u0000` and writes numbers anew.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, Fail> {
    serde_json::to_string(value).map_err(|e| Fail::broken("writing JSON", e.to_string()))
}

/// The word of a unit variant.
pub(super) fn of<T: Serialize>(value: &T) -> Result<String, Fail> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Ok(word),
        _ => Err(Fail::broken("writing a word", "the value is no unit variant")),
    }
}

/// The variant of a word.
pub(super) fn read<T: DeserializeOwned>(word: &str) -> Result<T, Fail> {
    serde_json::from_value(Value::String(word.to_owned())).map_err(|e| Fail::broken("reading a word", e.to_string()))
}
