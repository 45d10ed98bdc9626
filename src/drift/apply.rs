//! Carries changes out on the approved catalog.

use std::collections::BTreeMap;

use super::Change;
use super::compare::{cursor_field, renamed, renamed_cursor, streams_renamed};
use super::sides::goes_with_retype;
use crate::model::{Catalog, Field, FieldPath, FieldType, Stream, StreamName};

/// The catalog with these changes, which must come from [`super::compare`] with the same observed catalog.
///
/// All of them give the observed body exactly. Some of them give a catalog that holds together: what lies inside an
/// added, removed or renamed field goes with it; a change inside a field or stream that is not there (its own change was left
/// out) is left out too; and a key or cursor follows the fields it names. The order of `changes` does not matter.
pub fn apply(catalog: &Catalog, changes: &[Change], observed: &Catalog) -> Catalog {
    let mut result = catalog.clone();
    for (from, to) in streams_renamed(changes) {
        if let Some(stream) = result.streams.remove(from) {
            result.streams.insert(to.clone(), stream);
        }
    }
    let mut by_stream: BTreeMap<&StreamName, Vec<&Change>> = BTreeMap::new();
    for change in changes.iter().filter(|change| !matches!(change, Change::StreamRenamed { .. })) {
        by_stream.entry(change.stream()).or_default().push(change);
    }
    for (name, mut changes) in by_stream {
        // Outermost first: a change inside a renamed field is listed under the new name.
        changes.sort_by_cached_key(|c| (phase(c), c.field().map(|f| f.segments().len()), c.field().cloned()));
        match (result.streams.get_mut(name), observed.streams.get(name)) {
            (Some(stream), Some(seen)) => changes.iter().for_each(|change| in_stream(stream, change, seen)),
            (Some(_), None) => {
                result.streams.remove(name);
            }
            (None, Some(seen)) if changes.iter().any(|change| matches!(change, Change::StreamAdded { .. })) => {
                result.streams.insert(name.clone(), seen.clone());
            }
            // A change inside a renamed stream whose rename was left out.
            (None, _) => {}
        }
        if let (Some(stream), Some(seen)) = (result.streams.get_mut(name), observed.streams.get(name)) {
            settle(stream, seen);
        }
    }
    result
}

/// Names first, so that everything else finds its place; what appears last, when what it lies in is there.
fn phase(change: &Change) -> u8 {
    match change {
        Change::StreamAdded { .. }
        | Change::StreamRemoved { .. }
        | Change::StreamRenamed { .. }
        | Change::FieldRenamed { .. } => 0,
        Change::FieldRemoved { .. } => 1,
        Change::FieldRetyped { .. } | Change::NullabilityChanged { .. } => 2,
        Change::FieldAdded { .. } => 3,
        Change::KeyChanged { .. } | Change::CursorChanged { .. } | Change::SyncModesChanged { .. } => 4,
    }
}

fn in_stream(stream: &mut Stream, change: &Change, seen: &Stream) {
    match change {
        Change::StreamAdded { .. } | Change::StreamRemoved { .. } | Change::StreamRenamed { .. } => {}
        Change::FieldRenamed { from, to, .. } => rename(stream, from, to, seen),
        Change::FieldRemoved { field, .. } => stream.fields.retain(|path, _| !path.is_within(field)),
        Change::FieldRetyped { field, after, .. } => retype(stream, field, after, seen),
        Change::NullabilityChanged { field, nullable, .. } => {
            if let Some(field) = stream.fields.get_mut(field) {
                field.nullable = *nullable;
            }
        }
        Change::FieldAdded { field, .. } => {
            if has_room_for(stream, field, seen) {
                stream.fields.retain(|path, _| !path.is_within(field));
                copy_within(stream, field, seen);
            }
        }
        Change::KeyChanged { after, .. } => {
            if after.iter().all(|path| stream.fields.contains_key(path) || !seen.fields.contains_key(path)) {
                stream.key.clone_from(after);
            }
        }
        Change::CursorChanged { .. } => {
            let named = cursor_field(&seen.cursor);
            if named.is_none_or(|path| stream.fields.contains_key(path) || !seen.fields.contains_key(path)) {
                stream.cursor = seen.cursor.clone();
            }
        }
        Change::SyncModesChanged { after, .. } => stream.modes.clone_from(after),
    }
}

fn rename(stream: &mut Stream, from: &FieldPath, to: &FieldPath, seen: &Stream) {
    let renames = [(from.clone(), to.clone())];
    if !stream.fields.contains_key(from) {
        return;
    }
    let fields = std::mem::take(&mut stream.fields);
    stream.fields = fields.into_iter().map(|(path, field)| (renamed(&path, &renames), field)).collect();
    for path in &mut stream.key {
        *path = renamed(path, &renames);
    }
    stream.cursor = renamed_cursor(&stream.cursor, &renames);
    if let Some(after) = seen.fields.get(to) {
        retype(stream, to, &after.ty, seen);
        stream.fields.insert(to.clone(), after.clone());
    }
}

/// Gives a field another type; what can lie inside it with the one type only comes or goes.
fn retype(stream: &mut Stream, at: &FieldPath, after: &FieldType, seen: &Stream) {
    let Some(field) = stream.fields.get_mut(at) else { return };
    let before = std::mem::replace(&mut field.ty, after.clone());
    let depth = at.segments().len();
    let inside = |path: &FieldPath| path.is_within(at).then(|| path.segments().get(depth).cloned()).flatten();
    stream.fields.retain(|path, _| {
        let goes = inside(path).is_some_and(|segment| {
            goes_with_retype(Some(&before), Some(after), &segment) && !holds(seen, &at.child(segment))
        });
        !goes
    });
    let comes = |path: &FieldPath| {
        inside(path).is_some_and(|segment| goes_with_retype(Some(after), Some(&before), &segment))
            && !stream.fields.contains_key(path)
    };
    let new: Vec<(FieldPath, Field)> =
        seen.fields.iter().filter(|(path, _)| comes(path)).map(|(path, field)| (path.clone(), field.clone())).collect();
    stream.fields.extend(new);
}

/// Whether the stream lists that field or anything inside it.
fn holds(stream: &Stream, at: &FieldPath) -> bool {
    stream.fields.keys().any(|path| path.is_within(at))
}

/// Whether the field's surroundings are there: a field inside an object that is not there yet has none.
fn has_room_for(stream: &Stream, field: &FieldPath, seen: &Stream) -> bool {
    let Some(parent) = field.parent() else { return true };
    let Some(wanted) = seen.fields.get(&parent) else { return true };
    let last = field.segments().last();
    stream
        .fields
        .get(&parent)
        .is_some_and(|there| !last.is_some_and(|segment| goes_with_retype(Some(&wanted.ty), Some(&there.ty), segment)))
}

fn copy_within(stream: &mut Stream, at: &FieldPath, seen: &Stream) {
    let inside = seen.fields.iter().filter(|(path, _)| path.is_within(at));
    stream.fields.extend(inside.map(|(path, field)| (path.clone(), field.clone())));
}

/// A key or cursor that names a field which went takes the source's word if that holds, else nothing.
fn settle(stream: &mut Stream, seen: &Stream) {
    let missing = |stream: &Stream, path: &FieldPath| !stream.fields.contains_key(path);
    if stream.key != seen.key && stream.key.iter().any(|path| missing(stream, path)) {
        let holds = seen.key.iter().all(|path| !missing(stream, path));
        stream.key = if holds { seen.key.clone() } else { Vec::new() };
    }
    if stream.cursor != seen.cursor && cursor_field(&stream.cursor).is_some_and(|path| missing(stream, path)) {
        stream.cursor = seen.cursor.clone();
        if cursor_field(&stream.cursor).is_some_and(|path| missing(stream, path)) {
            stream.cursor = crate::model::Cursor::None;
        }
    }
}
