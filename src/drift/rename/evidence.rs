//! What spoke for and against a pair, line by line, for people: the same in the drift file, the terminal and JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that was looked at, what was seen, and how it counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What was looked at.
    pub about: About,
    /// What was seen, in words.
    pub seen: String,
    /// How it counted.
    pub counts: Counts,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The names.
    Name,
    /// Of a stream: its fields.
    Fields,
    /// Types and whether they may be null.
    Type,
    /// Places among the fields that stayed.
    Place,
    /// Keys and cursors.
    Role,
    /// What the source says about the fields.
    Description,
    /// What else changed in the table.
    Table,
    /// Other fields, or streams, that could be the partner.
    Rivals,
    /// Values, joined by key or profiles.
    Values,
}

/// How something counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counts {
    /// It speaks for the rename.
    For,
    /// It speaks against it.
    Against,
    /// It says nothing either way.
    Neither,
}

impl Line {
    pub(in crate::drift) fn new(about: About, counts: Counts, seen: impl Into<String>) -> Self {
        Self { about, seen: seen.into(), counts }
    }
}

impl fmt::Display for Line {
    /// `+ name: …` for, `- …` against, `= …` neither.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.counts {
            Counts::For => '+',
            Counts::Against => '-',
            Counts::Neither => '=',
        };
        let about = match self.about {
            About::Name => "name",
            About::Fields => "fields",
            About::Type => "type",
            About::Place => "place",
            About::Role => "role",
            About::Description => "description",
            About::Table => "table",
            About::Rivals => "rivals",
            About::Values => "values",
        };
        write!(f, "{sign} {about}: {}", self.seen)
    }
}
