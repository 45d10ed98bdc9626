//! Lists every change that leads from one catalog to another.
//!
//! Outermost first: what lies inside an added, removed or renamed field goes with it and is no change of its own. Paths
//! inside a renamed field are written with its new name, and a key or cursor that only follows a rename has not changed. A
//! stream that goes by another name is compared as if it had kept it; its changes carry the new name.

use std::collections::{BTreeMap, BTreeSet};

use super::rename::{Judged, Values};
use super::sides::{Sides, Spot, goes_with_retype};
use super::streams::Streams;
use super::tree::{Node, below};
use super::{Change, Grade, grade};
use crate::model::{Catalog, Cursor, Field, FieldPath, StreamName};

/// Every change from the approved catalog to the observed one, sorted by stream and path. Empty exactly when both have
/// the same body. [`super::apply`] is its inverse.
pub fn compare(lock: &Catalog, observed: &Catalog) -> Vec<Change> {
    compare_with(lock, observed, &Values::default())
}

/// The same, where values were sampled: they find renames that names hide, and take apart what only looks like one.
pub fn compare_with(lock: &Catalog, observed: &Catalog, values: &Values) -> Vec<Change> {
    let mut changes = Vec::new();
    let streams = Streams::of(lock, observed);
    let before: BTreeMap<&StreamName, &StreamName> = streams.renames().map(|(from, to)| (to, from)).collect();
    let renamed: BTreeSet<&StreamName> = before.values().copied().collect();
    let names: BTreeSet<&StreamName> = lock.streams.keys().chain(observed.streams.keys()).collect();
    for name in names {
        if renamed.contains(name) {
            continue;
        }
        let from = before.get(name).copied();
        if let Some(from) = from {
            changes.push(Change::StreamRenamed { stream: from.clone(), to: name.clone() });
        }
        match (lock.streams.get(from.unwrap_or(name)), observed.streams.get(name)) {
            (Some(before), Some(after)) => {
                stream_changes(Sides { name, before, after, sampled: values.get(name) }, &mut changes);
            }
            (Some(_), None) => changes.push(Change::StreamRemoved { stream: name.clone() }),
            (None, Some(after)) => {
                changes.push(Change::StreamAdded { stream: name.clone(), fields: after.fields.len() });
            }
            (None, None) => {}
        }
    }
    changes.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.cmp(b)));
    changes
}

/// Stream by stream, under their names now; what concerns the stream as a whole, then field by field in the order of the lock.
fn order(change: &Change) -> (&StreamName, Option<&FieldPath>) {
    match change {
        Change::StreamRenamed { to, .. } => (to, None),
        _ => (change.stream(), change.field()),
    }
}

/// The new names of streams, with the old ones.
pub(super) fn streams_renamed(changes: &[Change]) -> impl Iterator<Item = (&StreamName, &StreamName)> {
    changes.iter().filter_map(|change| match change {
        Change::StreamRenamed { stream, to } => Some((stream, to)),
        _ => None,
    })
}

/// The stream's name after all changes.
pub(crate) fn stream_now<'a>(changes: &'a [Change], before: &'a StreamName) -> &'a StreamName {
    streams_renamed(changes).find(|(from, _)| *from == before).map_or(before, |(_, to)| to)
}

/// The stream's name before all changes.
pub(super) fn stream_before<'a>(changes: &'a [Change], now: &'a StreamName) -> &'a StreamName {
    streams_renamed(changes).find(|(_, to)| *to == now).map_or(now, |(from, _)| from)
}

fn stream_changes(sides: Sides<'_>, into: &mut Vec<Change>) {
    let Sides { name, before, after, .. } = sides;
    let mut walk = Walk { stream: name, sides, changes: Vec::new() };
    walk.inside((None, &Node::of(&before.fields)), (None, &Node::of(&after.fields)));
    let renames: Vec<(FieldPath, FieldPath)> = renames_in(&walk.changes, name);
    let key: Vec<FieldPath> = before.key.iter().map(|path| renamed(path, &renames)).collect();
    if key != after.key {
        into.push(Change::KeyChanged { stream: name.clone(), before: key, after: after.key.clone() });
    }
    let cursor = renamed_cursor(&before.cursor, &renames);
    if cursor != after.cursor {
        let gone = cursor_field(&cursor).is_some_and(|field| !after.fields.contains_key(field));
        into.push(Change::CursorChanged {
            stream: name.clone(),
            before: cursor.to_string(),
            after: after.cursor.to_string(),
            lost: after.cursor == Cursor::None || gone,
        });
    }
    if before.modes != after.modes {
        into.push(Change::SyncModesChanged {
            stream: name.clone(),
            before: before.modes.clone(),
            after: after.modes.clone(),
        });
    }
    into.append(&mut walk.changes);
}

/// All renames of a stream, outermost first.
pub(crate) fn renames_in(changes: &[Change], name: &StreamName) -> Vec<(FieldPath, FieldPath)> {
    let mut renames: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::FieldRenamed { stream, from, to, .. } if stream == name => Some((from.clone(), to.clone())),
            _ => None,
        })
        .collect();
    renames.sort_by_key(|(from, _)| from.segments().len());
    renames
}

/// The path after all renames, which must be sorted outermost first.
pub(crate) fn renamed(path: &FieldPath, renames: &[(FieldPath, FieldPath)]) -> FieldPath {
    renames.iter().fold(path.clone(), |path, (from, to)| path.rebased(from, to).unwrap_or(path))
}

/// The field that a cursor names.
pub(super) fn cursor_field(cursor: &Cursor) -> Option<&FieldPath> {
    match cursor {
        Cursor::None => None,
        Cursor::SourceDefined(field) | Cursor::Any(field) => field.as_ref(),
    }
}

/// The cursor after all renames.
pub(super) fn renamed_cursor(cursor: &Cursor, renames: &[(FieldPath, FieldPath)]) -> Cursor {
    let follow = |field: &Option<FieldPath>| field.as_ref().map(|path| renamed(path, renames));
    match cursor {
        Cursor::None => Cursor::None,
        Cursor::SourceDefined(field) => Cursor::SourceDefined(follow(field)),
        Cursor::Any(field) => Cursor::Any(follow(field)),
    }
}

/// Walks two trees side by side.
struct Walk<'s> {
    stream: &'s StreamName,
    sides: Sides<'s>,
    changes: Vec<Change>,
}

impl Walk<'_> {
    /// Compares what lies inside two fields that correspond to each other. `before`'s path carries new names already.
    fn inside(&mut self, before: Spot<'_, '_>, after: Spot<'_, '_>) {
        let (was, is) = (before.1.field.map(|f| &f.ty), after.1.field.map(|f| &f.ty));
        let mut gone: Vec<(FieldPath, &Node<'_>)> = Vec::new();
        for (segment, node) in &before.1.children {
            let Some(path) = below(before.0, segment) else { continue };
            match after.1.children.get(segment) {
                Some(other) => self.pair(&path, node, other),
                None if goes_with_retype(was, is, segment) => {}
                None => gone.push((path, node)),
            }
        }
        let mut new: Vec<(FieldPath, &Node<'_>)> = Vec::new();
        for (segment, node) in &after.1.children {
            let Some(path) = below(after.0, segment) else { continue };
            if !before.1.children.contains_key(segment) && !goes_with_retype(is, was, segment) {
                new.push((path, node));
            }
        }
        let pairs = if gone.is_empty() || new.is_empty() { Vec::new() } else { self.renames(before, after) };
        self.renamed_removed_added(&pairs, gone, new);
    }

    /// The renames among the fields directly inside two fields that correspond to each other.
    fn renames(&self, before: Spot<'_, '_>, after: Spot<'_, '_>) -> Vec<(FieldPath, FieldPath)> {
        let level = self.sides.level(before, after);
        let matches = Judged::of(&level, self.sides.sampled).matches();
        matches.iter().map(|m| (level.gone[m.gone].path.clone(), level.new[m.new].path.clone())).collect()
    }

    fn renamed_removed_added(
        &mut self,
        pairs: &[(FieldPath, FieldPath)],
        gone: Vec<(FieldPath, &Node<'_>)>,
        mut new: Vec<(FieldPath, &Node<'_>)>,
    ) {
        for (path, node) in gone {
            let partner = pairs.iter().find(|(from, _)| *from == path);
            let found = partner.and_then(|(_, to)| new.iter().position(|(path, _)| path == to));
            match found.map(|at| new.remove(at)) {
                Some((to, other)) => self.rename(path, node, &to, other),
                None => self.removed(path, node),
            }
        }
        for (path, node) in new {
            self.added(path, node);
        }
    }

    /// Two fields of the same path.
    fn pair(&mut self, path: &FieldPath, before: &Node<'_>, after: &Node<'_>) {
        let stream = self.stream.clone();
        match (before.field, after.field) {
            (Some(was), Some(is)) => {
                if was.ty != is.ty {
                    let grade: Grade = grade(&was.ty, &is.ty).grade;
                    let (before, after) = (was.ty.clone(), is.ty.clone());
                    self.changes.push(Change::FieldRetyped { stream, field: path.clone(), before, after, grade });
                }
                if was.nullable != is.nullable {
                    let (stream, field) = (self.stream.clone(), path.clone());
                    self.changes.push(Change::NullabilityChanged { stream, field, nullable: is.nullable });
                }
                self.inside((Some(path), before), (Some(path), after));
            }
            (None, None) => self.inside((Some(path), before), (Some(path), after)),
            (None, Some(_)) => self.added(path.clone(), after),
            (Some(_), None) => {
                self.removed(path.clone(), before);
                self.added(path.clone(), after);
            }
        }
    }

    fn rename(&mut self, from: FieldPath, before: &Node<'_>, to: &FieldPath, after: &Node<'_>) {
        if let (Some(was), Some(is)) = (before.field, after.field) {
            let (stream, to) = (self.stream.clone(), to.clone());
            self.changes.push(Change::FieldRenamed { stream, from, to, before: was.shape(), after: is.shape() });
        }
        self.inside((Some(to), before), (Some(to), after));
    }

    fn removed(&mut self, path: FieldPath, node: &Node<'_>) {
        self.outermost(path, node, &|stream, field, was| Change::FieldRemoved { stream, field, before: was.shape() });
    }

    fn added(&mut self, path: FieldPath, node: &Node<'_>) {
        self.outermost(path, node, &|stream, field, is| Change::FieldAdded { stream, field, after: is.shape() });
    }

    /// One change for the outermost listed fields of a branch; usually the branch's own field.
    fn outermost(
        &mut self,
        path: FieldPath,
        node: &Node<'_>,
        change: &dyn Fn(StreamName, FieldPath, &Field) -> Change,
    ) {
        match node.field {
            Some(field) => self.changes.push(change(self.stream.clone(), path, field)),
            None => {
                for (segment, child) in &node.children {
                    self.outermost(path.child(segment.clone()), child, change);
                }
            }
        }
    }
}
