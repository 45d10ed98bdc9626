//! The canonical form of a catalog and its SHA-256.
//!
//! The form is the JSON of a lock's `streams` (RFC 8785): anyone can recompute a fingerprint from a lock file with a
//! YAML reader, a JCS writer and `sha256sum`. Every value in it is a string or a list of strings, so number forms
//! and YAML's guesses cannot matter.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Catalog, Cursor, Field, FieldPath, FieldType, Stream, StreamName};

/// How a fingerprint is made of a catalog. A new way stands beside the old ones: what is stored keeps its own, so that a
/// new one never looks like drift.
#[derive(Debug, Clone, Copy)]
enum Algorithm {
    /// SHA-256 of the canonical JSON (RFC 8785) of [`Catalog::body`].
    S1,
    /// Stands for one that nothing is made with any more.
    #[cfg(test)]
    S0,
}

impl Algorithm {
    const ALL: &[Self] = &[
        Self::S1,
        #[cfg(test)]
        Self::S0,
    ];

    /// What fingerprints of this kind begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::S1 => "s1:",
            #[cfg(test)]
            Self::S0 => "s0:",
        }
    }

    fn fingerprint(self, catalog: &Catalog) -> Fingerprint {
        let bytes = match self {
            Self::S1 => serde_jcs::to_vec(&catalog.body()).expect("a body holds only strings, lists and maps"),
            #[cfg(test)]
            Self::S0 => format!("{:?}", catalog.body()).into_bytes(),
        };
        Fingerprint(format!("{}{}", self.prefix(), hex::encode(Sha256::digest(&bytes))))
    }
}

/// The fingerprint of a catalog: `s1:` and 64 hex digits. `s1` names the algorithm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The first eight hex digits: names drift files and is shown to people.
    pub fn short(&self) -> &str {
        &self.0[3..11]
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that of the catalog, by the algorithm it was made with.
    pub fn is_of(&self, catalog: &Catalog) -> bool {
        let made_by = Algorithm::ALL.iter().find(|algorithm| self.0.starts_with(algorithm.prefix()));
        made_by.is_some_and(|algorithm| algorithm.fingerprint(catalog) == *self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = Algorithm::ALL.iter().find_map(|algorithm| text.strip_prefix(algorithm.prefix()));
        let hex = hex.ok_or_else(|| format!("`{text}` is no fingerprint: it must begin with `s1:`"))?;
        if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is no fingerprint: 64 lower-case hex digits must follow `s1:`"))
        }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.0
    }
}

/// A lock body that is no catalog. `at` leads to the place: stream, then the key below it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", at.join(" > "))]
pub struct BodyError {
    /// The keys that lead to the problem.
    pub at: Vec<String>,
    /// What is wrong there.
    pub why: String,
}

impl Catalog {
    /// The lock's `streams` as JSON: what the fingerprint covers, and nothing else.
    pub fn body(&self) -> Value {
        let strings = |items: Vec<String>| Value::Array(items.into_iter().map(Value::String).collect());
        let mut streams = Map::new();
        for (name, stream) in &self.streams {
            let mut body = Map::new();
            if !stream.key.is_empty() {
                body.insert("key".into(), strings(stream.key.iter().map(FieldPath::to_string).collect()));
            }
            if stream.cursor != Cursor::None {
                body.insert("cursor".into(), Value::String(stream.cursor.to_string()));
            }
            body.insert("modes".into(), strings(stream.modes.iter().map(|m| m.as_str().to_owned()).collect()));
            let fields = stream.fields.iter().map(|(path, field)| (path.to_string(), Value::String(field.shape())));
            body.insert("fields".into(), Value::Object(fields.collect()));
            streams.insert(name.to_string(), Value::Object(body));
        }
        Value::Object(streams)
    }

    /// Reads a body back; the inverse of [`Catalog::body`] up to place and description.
    pub fn from_body(body: &Value) -> Result<Self, BodyError> {
        let error = |at: &[&str], why: String| BodyError { at: at.iter().map(|s| (*s).to_owned()).collect(), why };
        let raw: BTreeMap<String, RawStream> = RawStreams::deserialize(body).map_err(|e| error(&[], e.to_string()))?;
        let mut streams = BTreeMap::new();
        for (name, raw) in &raw {
            let stream_name: StreamName = name.parse().map_err(|e: super::NameError| error(&[name], e.to_string()))?;
            let mut stream = Stream::default();
            for part in &raw.key {
                stream.key.push(part.parse().map_err(|e: super::PathError| error(&[name, "key"], e.to_string()))?);
            }
            if let Some(cursor) = &raw.cursor {
                stream.cursor = cursor.parse().map_err(|e| error(&[name, "cursor"], e))?;
            }
            for mode in &raw.modes {
                stream.modes.insert(mode.parse().map_err(|e| error(&[name, "modes"], e))?);
            }
            for (path, shape) in &raw.fields {
                let at = [name.as_str(), "fields", path.as_str()];
                let parsed: FieldPath = path.parse().map_err(|e: super::PathError| error(&at, e.to_string()))?;
                let field = Field::from_shape(shape).map_err(|e| error(&at, e.to_string()))?;
                stream.fields.insert(parsed, field);
            }
            streams.insert(stream_name, stream);
        }
        Ok(Self { streams })
    }

    /// The SHA-256 of the canonical form of [`Catalog::body`]. Whether a stored one is of this catalog: [`Fingerprint::is_of`].
    pub fn fingerprint(&self) -> Fingerprint {
        Algorithm::S1.fingerprint(self)
    }

    /// As an earlier version made it.
    #[cfg(test)]
    pub(crate) fn old_fingerprint(&self) -> Fingerprint {
        Algorithm::S0.fingerprint(self)
    }
}

impl Field {
    /// The lock's form: the type, and `!` when it is never null.
    pub fn shape(&self) -> String {
        format!("{}{}", self.ty, if self.nullable { "" } else { "!" })
    }

    /// Reads [`Field::shape`] back.
    pub fn from_shape(text: &str) -> Result<Self, super::TypeError> {
        let (ty, nullable) = text.strip_suffix('!').map_or((text, true), |ty| (ty, false));
        Ok(Self::new(ty.parse::<FieldType>()?, nullable))
    }
}

type RawStreams = BTreeMap<String, RawStream>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStream {
    #[serde(default)]
    key: Vec<String>,
    cursor: Option<String>,
    modes: Vec<String>,
    fields: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        serde_json::json!({"public/accounts": {
            "key": ["id"], "cursor": "any(updated_at)", "modes": ["full_refresh", "incremental"],
            "fields": {"id": "integer!", "tags": "array", "tags[]": "string", "\"weird.name\"": "string", "n": "decimal(40,2)"}
        }})
    }

    #[test]
    fn a_body_comes_back_unchanged() {
        assert_eq!(Catalog::from_body(&sample()).unwrap().body(), sample());
    }

    #[test]
    fn the_fingerprint_is_that_of_the_published_form() {
        let canonical = r#"{"public/accounts":{"cursor":"any(updated_at)","fields":{"\"weird.name\"":"string","id":"integer!","n":"decimal(40,2)","tags":"array","tags[]":"string"},"key":["id"],"modes":["full_refresh","incremental"]}}"#;
        let expected = format!("s1:{}", hex::encode(Sha256::digest(canonical)));
        assert_eq!(Catalog::from_body(&sample()).unwrap().fingerprint().as_str(), expected);
    }

    #[test]
    fn place_and_description_are_not_covered() {
        let mut catalog = Catalog::from_body(&sample()).unwrap();
        let before = catalog.fingerprint();
        for stream in catalog.streams.values_mut() {
            for (place, field) in (0..).zip(stream.fields.values_mut()) {
                field.place = Some(place);
                field.description = Some("text".into());
            }
        }
        assert_eq!(catalog.fingerprint(), before);
    }
}
