//! The closed set of field types and their text form in a lock.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a field holds. Nullability is apart, on [`super::Field`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldType {
    /// true or false
    Boolean,
    /// A whole number of any size.
    Integer,
    /// A number whose precision the source does not state.
    Number,
    /// A number with at most `precision` digits, `scale` of them after the point.
    Decimal {
        /// All digits.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// Text, perhaps of a stated format.
    String(Option<StringFormat>),
    /// A calendar date.
    Date,
    /// A time of day without zone.
    Time,
    /// A time of day with an offset.
    TimeTz,
    /// Date and time without zone.
    Timestamp,
    /// A point in time.
    TimestampTz,
    /// Bytes, carried as base64 text.
    Binary,
    /// Named fields, listed below it in the lock where the source states them.
    Object,
    /// A list; `path[]` in the lock gives the type of its items where the source states it.
    Array,
    /// Free keys; `path{}` in the lock gives the type of the values where the source states it.
    Map,
    /// Anything: the source states no type.
    Any,
    /// One of several types. At least two, never nested.
    Union(BTreeSet<FieldType>),
}

/// The `format` of a string, as JSON Schema names it (`uuid`, `email`, …): lower-case ASCII, digits and `-`.
/// `date` and `time` here mean text that only claims the form; typed dates are [`FieldType::Date`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StringFormat(String);

impl StringFormat {
    /// Checks and wraps a format's name; `None` if it is not `[a-z][a-z0-9-]*`.
    pub fn new(name: &str) -> Option<Self> {
        let ok = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ok.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that names no field type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no field type; known are {KNOWN_TYPES}")]
pub struct TypeError {
    /// The text as given.
    pub given: String,
}

/// The list that error messages show.
const KNOWN_TYPES: &str = "boolean, integer, number, decimal(p,s), string, string<format>, date, time, time_tz, timestamp, \
                           timestamp_tz, binary, object, array, map, any and unions a|b";

impl FieldType {
    /// A union of the given types: flattened, and just the type itself when only one is left.
    pub fn union(types: impl IntoIterator<Item = FieldType>) -> Self {
        let mut members = BTreeSet::new();
        for t in types {
            match t {
                Self::Union(inner) => members.extend(inner),
                Self::Any => return Self::Any,
                other => {
                    members.insert(other);
                }
            }
        }
        match members.len() {
            0 => Self::Any,
            1 => members.pop_first().expect("one member"),
            _ => Self::Union(members),
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            Self::String(None) => "string",
            Self::String(Some(format)) => return write!(f, "string<{}>", format.as_str()),
            Self::Date => "date",
            Self::Time => "time",
            Self::TimeTz => "time_tz",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamp_tz",
            Self::Binary => "binary",
            Self::Object => "object",
            Self::Array => "array",
            Self::Map => "map",
            Self::Any => "any",
            Self::Union(members) => {
                for (i, member) in members.iter().enumerate() {
                    if i > 0 {
                        f.write_str("|")?;
                    }
                    member.fmt(f)?;
                }
                return Ok(());
            }
        };
        f.write_str(word)
    }
}

impl FromStr for FieldType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let unknown = || TypeError { given: text.to_owned() };
        if text.contains('|') {
            let members = text.split('|').map(str::parse).collect::<Result<BTreeSet<_>, _>>()?;
            let odd = members.len() != text.split('|').count() || members.contains(&Self::Any);
            return if odd { Err(unknown()) } else { Ok(Self::Union(members)) };
        }
        Ok(match text {
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::String(None),
            "date" => Self::Date,
            "time" => Self::Time,
            "time_tz" => Self::TimeTz,
            "timestamp" => Self::Timestamp,
            "timestamp_tz" => Self::TimestampTz,
            "binary" => Self::Binary,
            "object" => Self::Object,
            "array" => Self::Array,
            "map" => Self::Map,
            "any" => Self::Any,
            _ => {
                if let Some(inner) = text.strip_prefix("string<").and_then(|t| t.strip_suffix('>')) {
                    return StringFormat::new(inner).map(|f| Self::String(Some(f))).ok_or_else(unknown);
                }
                let inner = text.strip_prefix("decimal(").and_then(|t| t.strip_suffix(')')).ok_or_else(unknown)?;
                let (precision, scale) = inner.split_once(',').ok_or_else(unknown)?;
                Self::Decimal {
                    precision: precision.parse().map_err(|_| unknown())?,
                    scale: scale.parse().map_err(|_| unknown())?,
                }
            }
        })
    }
}

impl Serialize for FieldType {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FieldType {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_as_written() {
        for text in [
            "boolean",
            "integer",
            "number",
            "decimal(40,2)",
            "string",
            "string<uuid>",
            "date",
            "time",
            "time_tz",
            "timestamp",
            "timestamp_tz",
            "binary",
            "object",
            "array",
            "map",
            "any",
            "integer|string",
        ] {
            assert_eq!(text.parse::<FieldType>().unwrap().to_string(), text);
        }
        for text in ["", "int", "decimal(1)", "string<>", "string<a b>", "a|b", "string|string", "any|string"] {
            assert!(text.parse::<FieldType>().is_err(), "{text} was taken");
        }
    }
}
