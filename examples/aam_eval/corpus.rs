//! Reads labelled schema changes, a line at a time: what a table's fields were and are, and which of them were renamed.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use aam::drift::rename::{Kept, Level, Member, Role};
use aam::model::{Field, FieldPath};
use anyhow::Context as _;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::types::field_type;

/// A table before and after, with what its project says happened.
#[derive(Debug)]
pub struct Case {
    pub project: String,
    pub table: String,
    pub before: Vec<(String, Field)>,
    pub after: Vec<(String, Field)>,
    pub changes: Vec<Labelled>,
    /// Whether a pair that is not named as a rename is none.
    pub renames_labelled: bool,
}

/// One change as the project states it.
#[derive(Debug, Deserialize)]
pub struct Labelled {
    pub kind: Kind,
    #[serde(default)]
    pub from: Option<String>,
    #[serde(default)]
    pub to: Option<String>,
    /// How a rename was found where the project does not state it: right most of the time, so neither right nor wrong.
    #[serde(default)]
    pub evidence: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Added,
    Removed,
    Renamed,
    TypeChanged,
}

#[derive(Deserialize)]
struct Line {
    project: String,
    table: String,
    before: Fields,
    after: Fields,
    changes: Vec<Labelled>,
    renames_labelled: bool,
}

/// Fields with their types, in the order of the file: the order of the source.
struct Fields(Vec<(String, Field)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields and their types")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, written)) = map.next_entry::<String, String>()? {
                    let place = u32::try_from(fields.len()).map_err(serde::de::Error::custom)?;
                    // the corpus says nothing about nulls
                    let field = Field { place: Some(place), ..Field::new(field_type(&written), true) };
                    fields.push((name, field));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Reads cases one after the other; a line that cannot be read ends the reading with its number.
pub fn read(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Case>>> {
    let file = File::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
    let shown = path.display().to_string();
    let lines = BufReader::new(file).lines().enumerate();
    Ok(lines.filter(|(_, line)| line.as_ref().map_or(true, |line| !line.trim().is_empty())).map(move |(at, line)| {
        let at = at + 1;
        let line = line.with_context(|| format!("{shown}:{at}: cannot be read"))?;
        let line: Line =
            serde_json::from_str(&line).with_context(|| format!("{shown}:{at}: is no pair of table versions"))?;
        Ok(Case {
            project: line.project,
            table: line.table,
            before: line.before.0,
            after: line.after.0,
            changes: line.changes,
            renames_labelled: line.renames_labelled,
        })
    }))
}

impl Case {
    /// The whole table as one level; without places where the order is not to be looked at.
    pub fn without_order(mut self) -> Self {
        self.before.iter_mut().chain(&mut self.after).for_each(|(_, field)| field.place = None);
        self
    }

    /// What stayed, went and came.
    pub fn level(&self) -> Level<'_> {
        let find = |fields: &[(String, Field)]| -> HashMap<String, Option<u32>> {
            fields.iter().map(|(name, field)| (name.clone(), field.place)).collect()
        };
        let (before, after) = (find(&self.before), find(&self.after));
        Level {
            table: self.table.rsplit('.').next().unwrap_or_default(),
            kept: self
                .before
                .iter()
                .filter_map(|(name, field)| {
                    Some(Kept { path: FieldPath::top(name), before: field.place, after: *after.get(name)? })
                })
                .collect(),
            gone: members(&self.before, |name| !after.contains_key(name)),
            new: members(&self.after, |name| !before.contains_key(name)),
        }
    }
}

fn members<'a>(fields: &'a [(String, Field)], takes: impl Fn(&str) -> bool) -> Vec<Member<'a>> {
    let taken = fields.iter().filter(|(name, _)| takes(name));
    taken.map(|(name, field)| Member { path: FieldPath::top(name), field, role: Role::Plain }).collect()
}
