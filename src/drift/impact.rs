//! What a change breaks: lines of the mapping, and keys, cursors and fields that the spec chose.

use serde::{Deserialize, Serialize};

use super::expr;
use crate::model::{FieldPath, RepoPath, StreamName};
use crate::spec::{At, Connection, EntityMapping, FieldSelection, MappingRule, Selection, StreamChoice};

/// One thing that a change touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Impact {
    /// The file.
    pub file: RepoPath,
    /// The line in it, from 1; 0 where the line is not known.
    pub line: u32,
    /// What kind of thing.
    pub hit: Hit,
}

/// The kinds of things that a change can touch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Hit {
    /// A canonical field takes its value from there.
    Canonical {
        /// The entity.
        entity: String,
        /// The field.
        target: String,
        /// What it reads.
        reads: String,
    },
    /// Records of the entity are told apart by it.
    RecordKey {
        /// The entity.
        entity: String,
    },
    /// It says which records of the entity are deleted.
    DeletedWhen {
        /// The entity.
        entity: String,
    },
    /// The entity is read from that stream.
    EntityStream {
        /// The entity.
        entity: String,
    },
    /// The spec chose it as key.
    ChosenKey,
    /// The spec chose it as cursor.
    ChosenCursor,
    /// The spec names it under `fields`.
    ChosenField,
    /// The spec names the stream.
    ChosenStream,
}

impl Hit {
    /// The entity that is touched, if one is.
    pub fn entity(&self) -> Option<&str> {
        match self {
            Self::Canonical { entity, .. }
            | Self::RecordKey { entity }
            | Self::DeletedWhen { entity }
            | Self::EntityStream { entity } => Some(entity),
            Self::ChosenKey | Self::ChosenCursor | Self::ChosenField | Self::ChosenStream => None,
        }
    }

    /// In words, completing "this touches …".
    pub fn words(&self) -> String {
        match self {
            Self::Canonical { entity, target, reads } => format!("canonical field {entity}.{target} reads {reads}"),
            Self::RecordKey { entity } => format!("it is part of the record key of {entity}"),
            Self::DeletedWhen { entity } => format!("deleted_when of {entity} reads it"),
            Self::EntityStream { entity } => format!("{entity} is read from this stream"),
            Self::ChosenKey => "it is part of the key that the spec chose".to_owned(),
            Self::ChosenCursor => "it is the cursor that the spec chose".to_owned(),
            Self::ChosenField => "the spec names it under `fields`".to_owned(),
            Self::ChosenStream => "the spec names this stream".to_owned(),
        }
    }
}

/// Everything that reads `field` of `stream` (or something inside it, or an object around it in an expression).
pub(super) fn of_field(connection: &Connection, stream: &StreamName, field: &FieldPath) -> Vec<Impact> {
    let mut found = Vec::new();
    if let Some(mapping) = &connection.mapping {
        for entity in mapping.entities.iter().filter(|e| is_stream(&e.stream.value, stream)) {
            in_entity(entity, field, &mut |line, hit| found.push(Impact { file: mapping.path.clone(), line, hit }));
        }
    }
    if let Some(choice) = choice(connection, stream) {
        let mut hit = |hit| found.push(Impact { file: connection.path.clone(), line: 0, hit });
        if choice.key.iter().flatten().any(|path| path.is_within(field)) {
            hit(Hit::ChosenKey);
        }
        if choice.cursor.as_ref().is_some_and(|path| path.is_within(field)) {
            hit(Hit::ChosenCursor);
        }
        let (FieldSelection::Include(names) | FieldSelection::Exclude(names)) = &choice.fields else { return found };
        if field.segments().len() == 1 && names.contains(field.root()) {
            hit(Hit::ChosenField);
        }
    }
    found
}

/// What reads a field of a stream, in words.
pub(crate) fn hits_of_field(connection: &Connection, stream: &StreamName, field: &FieldPath) -> Vec<String> {
    of_field(connection, stream, field).into_iter().map(|impact| impact.hit.words()).collect()
}

/// Everything that needs the stream.
pub(super) fn of_stream(connection: &Connection, stream: &StreamName) -> Vec<Impact> {
    let mut found = Vec::new();
    if let Some(mapping) = &connection.mapping {
        for entity in mapping.entities.iter().filter(|e| is_stream(&e.stream.value, stream)) {
            let hit = Hit::EntityStream { entity: entity.entity.value.clone() };
            found.push(Impact { file: mapping.path.clone(), line: entity.stream.line, hit });
        }
    }
    if choice(connection, stream).is_some() {
        found.push(Impact { file: connection.path.clone(), line: 0, hit: Hit::ChosenStream });
    }
    found
}

/// Whether a name that a person wrote means this stream: its full name, or its bare one.
pub(crate) fn is_stream(written: &StreamName, stream: &StreamName) -> bool {
    written == stream || (written.namespace.is_none() && written.name == stream.name)
}

/// What the spec chose for the stream.
pub(super) fn choice<'a>(connection: &'a Connection, stream: &StreamName) -> Option<&'a StreamChoice> {
    choice_in(&connection.streams, stream)
}

/// What a selection says of the stream; nothing where streams are not listed.
pub(super) fn choice_in<'a>(selection: &'a Selection, stream: &StreamName) -> Option<&'a StreamChoice> {
    let Selection::Listed(listed) = selection else { return None };
    listed.get(stream).or_else(|| listed.iter().find(|(name, _)| is_stream(name, stream)).map(|(_, choice)| choice))
}

fn in_entity(entity: &EntityMapping, field: &FieldPath, hit: &mut dyn FnMut(u32, Hit)) {
    let name = || entity.entity.value.clone();
    for key in entity.key.iter().filter(|key| key.value.is_within(field)) {
        hit(key.line, Hit::RecordKey { entity: name() });
    }
    for mapped in &entity.fields {
        let (line, reads) = match &mapped.rule {
            MappingRule::Path(path) | MappingRule::From { from: path, .. } => {
                (path.line, path.value.is_within(field).then(|| path.value.to_string()))
            }
            MappingRule::Expr(expression) => (expression.line, reads(expression, field)),
        };
        if let Some(reads) = reads {
            hit(line, Hit::Canonical { entity: name(), target: mapped.target.value.clone(), reads });
        }
    }
    if let Some(expression) = entity.deleted_when.as_ref().filter(|e| reads(e, field).is_some()) {
        hit(expression.line, Hit::DeletedWhen { entity: name() });
    }
}

/// What of the field an expression reads, in the expression's words.
fn reads(expression: &At<String>, field: &FieldPath) -> Option<String> {
    let reads: Vec<String> = expr::uses(&expression.value)
        .into_iter()
        .filter(|used| used.path.is_within(field) || field.is_within(&used.path))
        .map(|used| used.path.to_string())
        .collect();
    (!reads.is_empty()).then(|| reads.join(", "))
}
