//! One line of words for each change: the same in drift files, commit messages and terminals.

use super::{Change, Grade, Graded};
use crate::model::{Field, FieldPath, StreamName, SyncMode};

/// A sign (`+` more, `-` gone, `~` different, `!` incremental reading stops) and the change in words, without markup.
/// Names from outside are quoted by the rules of paths, so the line holds no control characters.
pub fn say(change: &Change) -> String {
    let Some(Graded { grade, reason }) = retyped(change) else { return line_of(change) };
    let why = match grade {
        Grade::Widened => format!("widened: {reason}"),
        Grade::Narrowed => format!("narrowed: {reason}"),
        Grade::Reinterpreted => reason.to_owned(),
    };
    format!("{} ({why})", line_of(change))
}

/// What the change of type means that a change is or, in a rename, carries.
pub(crate) fn retyped(change: &Change) -> Option<Graded> {
    match change {
        Change::FieldRetyped { before, after, .. } => Some(super::grade(before, after)),
        Change::FieldRenamed { before, after, .. } => {
            let (was, is) = (Field::from_shape(before).ok()?, Field::from_shape(after).ok()?);
            (was.ty != is.ty).then(|| super::grade(&was.ty, &is.ty))
        }
        _ => None,
    }
}

/// The canonical line of a change: what [`say`] says, without remarks. It stands for the change in `rejected.yaml`, so another
/// wording would ask about everything that was rejected again.
pub fn line_of(change: &Change) -> String {
    match change {
        Change::StreamAdded { stream, fields } => {
            format!("+ {stream}  stream with {fields} field{}", if *fields == 1 { "" } else { "s" })
        }
        Change::StreamRemoved { stream } => format!("- {stream}  stream"),
        Change::StreamRenamed { stream, to } => format!("~ {stream} -> {to}  stream"),
        Change::FieldAdded { stream, field, after } => format!("+ {}: {after}", at(stream, field)),
        Change::FieldRemoved { stream, field, before } => format!("- {}: {before}", at(stream, field)),
        Change::FieldRenamed { stream, from, to, before, after } if before == after => {
            format!("~ {} -> {to}: {after}", at(stream, from))
        }
        Change::FieldRenamed { stream, from, to, before, after } => {
            format!("~ {} -> {to}: {before} -> {after}", at(stream, from))
        }
        Change::FieldRetyped { stream, field, before, after, .. } => {
            format!("~ {}: {before} -> {after}", at(stream, field))
        }
        Change::NullabilityChanged { stream, field, nullable } => {
            format!("~ {}: {}", at(stream, field), if *nullable { "may be null now" } else { "never null now" })
        }
        Change::KeyChanged { stream, before, after } => {
            format!("~ {stream}  key: [{}] -> [{}]", paths(before), paths(after))
        }
        Change::CursorChanged { stream, before, after, lost } => {
            format!("{} {stream}  cursor: {before} -> {after}", if *lost { '!' } else { '~' })
        }
        Change::SyncModesChanged { stream, before, after } => {
            let sign = if before.is_subset(after) { '+' } else { '!' };
            let words = |modes: &std::collections::BTreeSet<SyncMode>| {
                modes.iter().map(|mode| mode.as_str()).collect::<Vec<_>>().join(", ")
            };
            format!("{sign} {stream}  modes: {} -> {}", words(before), words(after))
        }
    }
}

fn at(stream: &StreamName, field: &FieldPath) -> String {
    format!("{stream}.{field}")
}

fn paths(paths: &[FieldPath]) -> String {
    paths.iter().map(FieldPath::to_string).collect::<Vec<_>>().join(", ")
}
