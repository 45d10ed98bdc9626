//! Catalogs: what a source offers, stream by stream and field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{FieldPath, FieldType, StreamName};

/// All streams of a source, or the selected ones of a connection. Facts of the source only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Streams by name.
    pub streams: BTreeMap<StreamName, Stream>,
}

/// One stream: its fields and what the source says about keys, cursors and sync modes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The key the source defines, in the order of the source; empty if it has none.
    pub key: Vec<FieldPath>,
    /// What may serve as cursor.
    pub cursor: Cursor,
    /// The sync modes the source supports.
    pub modes: BTreeSet<SyncMode>,
    /// Every field, nested ones too, by path.
    pub fields: BTreeMap<FieldPath, Field>,
}

/// One field. Only type and nullability are covered by the fingerprint; place and description never are drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What it holds.
    pub ty: FieldType,
    /// Whether it may be null or missing.
    pub nullable: bool,
    /// Its place among the fields of the stream, counted from 0, where the source keeps places. Absent in a lock.
    pub place: Option<u32>,
    /// The source's own words about it. Absent in a lock.
    pub description: Option<String>,
}

impl Field {
    /// A field without place and description.
    pub fn new(ty: FieldType, nullable: bool) -> Self {
        Self { ty, nullable, place: None, description: None }
    }

    /// Whether both are the same as far as a fingerprint sees.
    pub fn same_shape(&self, other: &Field) -> bool {
        self.ty == other.ty && self.nullable == other.nullable
    }
}

/// What the source says about incremental reading.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cursor {
    /// No incremental reading.
    #[default]
    None,
    /// The source keeps its own position; the path is its default cursor field, if it names one.
    SourceDefined(Option<FieldPath>),
    /// A person may choose any of the fields; the path is the source's suggestion, if it has one.
    Any(Option<FieldPath>),
}

/// How a stream can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// All rows each time.
    FullRefresh,
    /// Only what is new since the last state.
    Incremental,
}

impl SyncMode {
    /// The word in locks and in Airbyte's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FullRefresh => "full_refresh",
            Self::Incremental => "incremental",
        }
    }
}

impl FromStr for SyncMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full_refresh" => Ok(Self::FullRefresh),
            "incremental" => Ok(Self::Incremental),
            _ => Err(format!("`{text}` is no sync mode; known are full_refresh and incremental")),
        }
    }
}

/// The lock's form: `source_defined`, `source_defined(updated_at)`, `any`, `any(updated_at)`; [`Cursor::None`] has none.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::SourceDefined(None) => f.write_str("source_defined"),
            Self::SourceDefined(Some(field)) => write!(f, "source_defined({field})"),
            Self::Any(None) => f.write_str("any"),
            Self::Any(Some(field)) => write!(f, "any({field})"),
        }
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |t: &str| t.strip_prefix('(')?.strip_suffix(')')?.parse::<FieldPath>().ok();
        match text {
            "none" => return Ok(Self::None),
            "source_defined" => return Ok(Self::SourceDefined(None)),
            "any" => return Ok(Self::Any(None)),
            _ => {}
        }
        let field = |rest: Option<&str>| rest.and_then(inner);
        if let Some(path) = field(text.strip_prefix("source_defined")) {
            return Ok(Self::SourceDefined(Some(path)));
        }
        if let Some(path) = field(text.strip_prefix("any")) {
            return Ok(Self::Any(Some(path)));
        }
        Err(format!("`{text}` is no cursor; known are source_defined, any, and either with (field)"))
    }
}

impl Stream {
    /// Top-level fields in the order of the source, then those without a place by name.
    pub fn columns(&self) -> Vec<(&FieldPath, &Field)> {
        let mut columns: Vec<_> = self.fields.iter().filter(|(path, _)| path.segments().len() == 1).collect();
        columns.sort_by_key(|(_, field)| field.place.unwrap_or(u32::MAX));
        columns
    }
}
