//! Values of the canonical types: what fits without a cast, what each cast takes, and literals in a mapping.
//!
//! The canonical forms in JSON: integers are numbers of any size; decimals are text, so that no reader rounds them;
//! dates and timestamps are RFC 3339 text, timestamps in UTC; the rest is what JSON has.

use std::fmt;
use std::str::FromStr;

use serde_json::{Number, Value};

use super::{number, time};
use crate::model::FieldType;

/// The type of a canonical field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// Text.
    String,
    /// A whole number of any size.
    Integer,
    /// A finite decimal number, exact; text in JSON.
    Decimal,
    /// true or false
    Boolean,
    /// A calendar date.
    Date,
    /// A point in time.
    Timestamp,
    /// A JSON object.
    Object,
    /// A JSON array.
    Array,
}

impl ValueType {
    /// All of them, for messages.
    pub const ALL: [Self; 8] = [
        Self::String,
        Self::Integer,
        Self::Decimal,
        Self::Boolean,
        Self::Date,
        Self::Timestamp,
        Self::Object,
        Self::Array,
    ];

    /// The word in entities and in `as:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Object => "object",
            Self::Array => "array",
        }
    }

    /// Whether `as:` may name it.
    pub fn is_cast(self) -> bool {
        !matches!(self, Self::Object | Self::Array)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ValueType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|t| t.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|t| t.as_str()).collect();
            format!("`{}` is no canonical type; known are {}", text.escape_debug(), known.join(", "))
        })
    }
}

/// Whether every value of the source type becomes the canonical type by itself. `any` is decided record by record.
pub(super) fn fits(source: &FieldType, target: ValueType) -> bool {
    match source {
        FieldType::Any => true,
        FieldType::Union(members) => members.iter().all(|m| fits(m, target)),
        FieldType::String(_) | FieldType::Binary | FieldType::Time | FieldType::TimeTz => target == ValueType::String,
        FieldType::Integer => matches!(target, ValueType::Integer | ValueType::Decimal),
        FieldType::Number | FieldType::Decimal { .. } => target == ValueType::Decimal,
        FieldType::Boolean => target == ValueType::Boolean,
        FieldType::Date => target == ValueType::Date,
        FieldType::Timestamp | FieldType::TimestampTz => target == ValueType::Timestamp,
        FieldType::Object | FieldType::Map => target == ValueType::Object,
        FieldType::Array => target == ValueType::Array,
    }
}

/// Whether `as: cast` can take values of the source type at all.
pub(super) fn castable(source: &FieldType, cast: ValueType) -> bool {
    match source {
        FieldType::Any => true,
        FieldType::Union(members) => members.iter().any(|m| castable(m, cast)),
        FieldType::String(_) => true,
        FieldType::Integer | FieldType::Number | FieldType::Decimal { .. } => cast != ValueType::Date,
        FieldType::Boolean => matches!(cast, ValueType::Boolean | ValueType::String),
        FieldType::Date | FieldType::Timestamp | FieldType::TimestampTz => {
            matches!(cast, ValueType::Date | ValueType::Timestamp | ValueType::String)
        }
        FieldType::Time | FieldType::TimeTz | FieldType::Binary => cast == ValueType::String,
        FieldType::Object | FieldType::Map | FieldType::Array => cast == ValueType::String,
    }
}

/// Whether a value of type `from` becomes `to` without a further cast.
pub(super) fn widens(from: ValueType, to: ValueType) -> bool {
    from == to || (from, to) == (ValueType::Integer, ValueType::Decimal)
}

/// Takes a value that should be of the type already, into its canonical form.
pub(super) fn accept(value: Value, target: ValueType) -> Result<Value, String> {
    let taken = match (target, value) {
        (ValueType::String, Value::String(text)) => Ok(Value::String(text)),
        (ValueType::Boolean, Value::Bool(b)) => Ok(Value::Bool(b)),
        (ValueType::Object, Value::Object(map)) => Ok(Value::Object(map)),
        (ValueType::Array, Value::Array(items)) => Ok(Value::Array(items)),
        (ValueType::Integer, Value::Number(n)) => exact_integer(n.as_str()).ok_or(Value::Number(n)),
        (ValueType::Decimal, Value::Number(n)) => exact_decimal(n.as_str()).ok_or(Value::Number(n)),
        // a decimal that a source carries as text (PostgreSQL's `numeric` beyond JSON's reach) is no surprise
        (ValueType::Decimal, Value::String(text)) => exact_decimal(&text).ok_or(Value::String(text)),
        (ValueType::Date, Value::String(text)) => match time::date(&text) {
            Some(date) if date == text => Ok(Value::String(date)),
            _ => Err(Value::String(text)),
        },
        (ValueType::Timestamp, Value::String(text)) => {
            time::timestamp(&text).map(Value::String).ok_or(Value::String(text))
        }
        (_, value) => Err(value),
    };
    taken.map_err(|value| format!("{} is no {target}", shown(&value)))
}

/// Casts a value, `as: …`.
pub(super) fn cast(value: Value, to: ValueType) -> Result<Value, String> {
    let result = match (to, &value) {
        (ValueType::String, Value::String(_)) => return Ok(value),
        (ValueType::String, other) => Some(Value::String(text_of(other))),
        (ValueType::Integer, Value::Number(n)) => exact_integer(n.as_str()),
        (ValueType::Integer, Value::String(text)) => exact_integer(text.trim()),
        (ValueType::Decimal, Value::Number(n)) => exact_decimal(n.as_str()),
        (ValueType::Decimal, Value::String(text)) => exact_decimal(text.trim()),
        (ValueType::Boolean, Value::Bool(_)) => return Ok(value),
        (ValueType::Boolean, Value::String(text)) => truth(text).map(Value::Bool),
        (ValueType::Boolean, Value::Number(n)) => number::integer(n.as_str()).and_then(|n| truth(&n)).map(Value::Bool),
        (ValueType::Date, Value::String(text)) => time::date(text).map(Value::String),
        (ValueType::Timestamp, Value::String(text)) => time::timestamp(text).map(Value::String),
        (ValueType::Timestamp, Value::Number(n)) => time::epoch(n.as_str()).map(Value::String),
        (ValueType::Object, Value::Object(_)) | (ValueType::Array, Value::Array(_)) => return Ok(value),
        _ => None,
    };
    result.ok_or_else(|| format!("{} cannot become {to}", shown(&value)))
}

/// Reads a value that a person wrote in a mapping: a `default` or the right side of a `values` table.
pub(super) fn literal(text: &str, to: ValueType) -> Result<Value, String> {
    match to {
        ValueType::Object | ValueType::Array => serde_json::from_str(text)
            .map_err(|e| e.to_string())
            .and_then(|value| accept(value, to))
            .map_err(|why| format!("as JSON: {why}")),
        _ => cast(Value::String(text.to_owned()), to),
    }
}

/// The closed set of words for true and false, in any case.
pub(super) fn truth(text: &str) -> Option<bool> {
    let word = text.trim();
    let is = |words: &[&str]| words.iter().any(|w| word.eq_ignore_ascii_case(w));
    if is(&["true", "t", "yes", "y", "on", "1"]) {
        Some(true)
    } else if is(&["false", "f", "no", "n", "off", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// A value's text: strings as they are, numbers and booleans as JSON writes them, objects and arrays as compact JSON.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn exact_integer(text: &str) -> Option<Value> {
    number::integer(text)?.parse::<Number>().ok().map(Value::Number)
}

fn exact_decimal(text: &str) -> Option<Value> {
    number::decimal(text).map(Value::String)
}

/// A value as an error shows it: short, control characters escaped.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("text `{}`", shorten(text)),
        other => format!("`{}`", shorten(&other.to_string())),
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let short: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().count() > LONGEST { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cast() {
        let given = [
            r#""x""#,
            r#"" 12 ""#,
            r#""12.50""#,
            r#""Yes""#,
            r#""2024-03-31 10:00:00+02""#,
            r#""20240331""#,
            "1",
            "0",
            "7.00",
            "7.25",
            "1e3",
            "1711846923",
            "true",
            "{}",
            "[1]",
            r#""""#,
            r#""NaN""#,
            "1234567890123456789012345678901234567890.5",
        ];
        let mut text = String::new();
        for json in given {
            let value: Value = serde_json::from_str(json).unwrap();
            let results = ValueType::ALL.iter().filter(|t| t.is_cast()).map(|t| match cast(value.clone(), *t) {
                Ok(v) => format!("{t} {v}"),
                Err(_) => format!("{t} -"),
            });
            text += &format!("{json}: {}\n", results.collect::<Vec<_>>().join(", "));
        }
        insta::assert_snapshot!(text, @r#"
        "x": string "x", integer -, decimal -, boolean -, date -, timestamp -
        " 12 ": string " 12 ", integer 12, decimal "12", boolean -, date -, timestamp -
        "12.50": string "12.50", integer -, decimal "12.5", boolean -, date -, timestamp -
        "Yes": string "Yes", integer -, decimal -, boolean true, date -, timestamp -
        "2024-03-31 10:00:00+02": string "2024-03-31 10:00:00+02", integer -, decimal -, boolean -, date "2024-03-31", timestamp "2024-03-31T08:00:00Z"
        "20240331": string "20240331", integer 20240331, decimal "20240331", boolean -, date "2024-03-31", timestamp "2024-03-31T00:00:00Z"
        1: string "1", integer 1, decimal "1", boolean true, date -, timestamp "1970-01-01T00:00:01Z"
        0: string "0", integer 0, decimal "0", boolean false, date -, timestamp "1970-01-01T00:00:00Z"
        7.00: string "7.00", integer 7, decimal "7", boolean -, date -, timestamp "1970-01-01T00:00:07Z"
        7.25: string "7.25", integer -, decimal "7.25", boolean -, date -, timestamp "1970-01-01T00:00:07.25Z"
        1e3: string "1e+3", integer 1000, decimal "1000", boolean -, date -, timestamp "1970-01-01T00:16:40Z"
        1711846923: string "1711846923", integer 1711846923, decimal "1711846923", boolean -, date -, timestamp "2024-03-31T01:02:03Z"
        true: string "true", integer -, decimal -, boolean true, date -, timestamp -
        {}: string "{}", integer -, decimal -, boolean -, date -, timestamp -
        [1]: string "[1]", integer -, decimal -, boolean -, date -, timestamp -
        "": string "", integer -, decimal -, boolean -, date -, timestamp -
        "NaN": string "NaN", integer -, decimal -, boolean -, date -, timestamp -
        1234567890123456789012345678901234567890.5: string "1234567890123456789012345678901234567890.5", integer -, decimal "1234567890123456789012345678901234567890.5", boolean -, date -, timestamp -
        "#);
    }

    #[test]
    fn without_a_cast_only_the_type_itself_is_taken() {
        let given = [
            r#""x""#,
            r#""12.50""#,
            r#""2024-03-31""#,
            r#""2024-03-31T10:00:00.500+02:00""#,
            "1",
            "7.0",
            "7.25",
            "true",
            "{}",
            "[1]",
            "NaN",
        ];
        let mut text = String::new();
        for json in given {
            let value: Value = serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.to_owned()));
            let results =
                ValueType::ALL.iter().filter_map(|t| Some(format!("{t} {}", accept(value.clone(), *t).ok()?)));
            text += &format!("{json}: {}\n", results.collect::<Vec<_>>().join(", "));
        }
        insta::assert_snapshot!(text, @r#"
        "x": string "x"
        "12.50": string "12.50", decimal "12.5"
        "2024-03-31": string "2024-03-31", date "2024-03-31", timestamp "2024-03-31T00:00:00Z"
        "2024-03-31T10:00:00.500+02:00": string "2024-03-31T10:00:00.500+02:00", timestamp "2024-03-31T08:00:00.5Z"
        1: integer 1, decimal "1"
        7.0: integer 7, decimal "7"
        7.25: decimal "7.25"
        true: boolean true
        {}: object {}
        [1]: array [1]
        NaN: string "NaN"
        "#);
    }

    #[test]
    fn refusals_are_short_and_hold_no_control_characters() {
        let long = Value::String(format!("a\u{1b}[31m{}", "x".repeat(100)));
        insta::assert_snapshot!(cast(long, ValueType::Integer).unwrap_err(), @r"text `a\u{1b}[31mxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` cannot become integer");
        insta::assert_snapshot!(accept(Value::Bool(true), ValueType::Array).unwrap_err(), @"`true` is no array");
    }
}
