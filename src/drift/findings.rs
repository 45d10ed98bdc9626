//! What rename detection found out about each change of a drift: once for each level, for all changes in it.

use std::collections::BTreeMap;

use super::Change;
use super::compare::renames_in;
use super::rename::{Judged, Line, Values};
use super::sides::Sides;
use super::tree::Node;
use crate::model::{Catalog, FieldPath, StreamName};

/// What was found out about a change.
#[derive(Debug, Clone, Default)]
pub(super) struct Finding {
    /// Of a rename: how likely a reviewer takes it.
    pub confidence: Option<f64>,
    /// Of a rename: why values do not prove it, if they do not; of a field that came: whose new name it could be.
    pub doubt: Option<String>,
    /// What was seen.
    pub lines: Vec<Line>,
}

/// Findings for changes by their place among `changes`: for renames, for removed fields that may live on, and for added ones
/// that may be how.
pub(super) fn findings(
    changes: &[Change],
    lock: &Catalog,
    observed: &Catalog,
    values: &Values,
) -> BTreeMap<usize, Finding> {
    // A level is known by its stream and the path that its fields lie in, as written in the changes.
    let mut levels: BTreeMap<(&StreamName, Option<FieldPath>), Vec<usize>> = BTreeMap::new();
    for (at, change) in changes.iter().enumerate() {
        if let Change::FieldRenamed { stream, from: field, .. }
        | Change::FieldRemoved { stream, field, .. }
        | Change::FieldAdded { stream, field, .. } = change
        {
            levels.entry((stream, field.parent())).or_default().push(at);
        }
    }
    levels.retain(|_, members| members.iter().any(|at| !matches!(changes[*at], Change::FieldAdded { .. })));
    let mut found = BTreeMap::new();
    for ((name, parent), members) in levels {
        let (Some(before), Some(after)) = (lock.streams.get(name), observed.streams.get(name)) else { continue };
        let sides = Sides { name, before, after, sampled: values.get(name) };
        let (old, new) = (Node::of(&before.fields), Node::of(&after.fields));
        let was = parent.as_ref().map(|path| old_name(path, changes, name));
        let (Some(old), Some(new)) = (old.at(was.as_ref()), new.at(parent.as_ref())) else { continue };
        let level = sides.level((parent.as_ref(), old), (parent.as_ref(), new));
        let judged = Judged::of(&level, sides.sampled);
        let gone = |path: &FieldPath| level.gone.iter().position(|member| member.path == *path);
        let came = |path: &FieldPath| level.new.iter().position(|member| member.path == *path);
        for at in members {
            let finding = match &changes[at] {
                Change::FieldRenamed { from, to, .. } => {
                    gone(from).zip(came(to)).map(|(gone, new)| of_rename(&judged, gone, new))
                }
                Change::FieldAdded { field, .. } => {
                    came(field).map(|new| Finding { doubt: judged.origin(new), ..Finding::default() })
                }
                Change::FieldRemoved { field, .. } => {
                    gone(field).map(|gone| Finding { lines: judged.candidates(gone), ..Finding::default() })
                }
                _ => None,
            };
            found.extend(finding.map(|finding| (at, finding)));
        }
    }
    found
}

fn of_rename(judged: &Judged<'_>, gone: usize, new: usize) -> Finding {
    Finding {
        confidence: Some(judged.confidence(gone, new)),
        doubt: judged.doubt(gone, new),
        lines: judged.lines(gone, new),
    }
}

/// A path as it was before any rename around it.
pub(super) fn old_name(path: &FieldPath, changes: &[Change], stream: &StreamName) -> FieldPath {
    let mut renames = renames_in(changes, stream);
    renames.reverse();
    renames.iter().fold(path.clone(), |path, (from, to)| path.rebased(to, from).unwrap_or(path))
}
