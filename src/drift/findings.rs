//! What rename detection found out about each change of a drift: once for each level, for all changes in it, and once for
//! all streams.

use std::collections::BTreeMap;

use super::compare::{renames_in, stream_before};
use super::rename::{Judged, Line};
use super::sides::Sides;
use super::streams::{Streams, reach};
use super::tree::Node;
use super::{Change, Scene, impact};
use crate::model::{Catalog, FieldPath, StreamName};
use crate::spec::FieldSelection;

/// What came and is, with this probability or more, the new name of something that went without a partner is no mere addition.
/// Of two that went and two that came alike, each is with nearly 0.5.
const LEAST_CLAIM: f64 = 0.3;

/// What was found out about a change.
#[derive(Debug, Clone, Default)]
pub(super) struct Finding {
    /// Of a rename: how likely a reviewer takes it.
    pub confidence: Option<f64>,
    /// Of a rename: why values do not prove it, if they do not. Of what came: what it could be the new name of.
    pub doubt: Option<String>,
    /// Of a field that went: the one that stayed and surely holds its values.
    pub lives_on: Option<FieldPath>,
    /// What was seen.
    pub lines: Vec<Line>,
}

/// Findings for changes by their place among `changes`: for renames, and for what went or came and may be one.
pub(super) fn findings(changes: &[Change], scene: Scene<'_>) -> BTreeMap<usize, Finding> {
    let mut found = of_streams(changes, scene);
    of_fields(changes, scene, &mut found);
    found
}

/// Of streams that went, came or were renamed.
fn of_streams(changes: &[Change], scene: Scene<'_>) -> BTreeMap<usize, Finding> {
    let mut found = BTreeMap::new();
    let is_about = |change: &Change| {
        matches!(change, Change::StreamAdded { .. } | Change::StreamRemoved { .. } | Change::StreamRenamed { .. })
    };
    if !changes.iter().any(is_about) {
        return found;
    }
    let seen = Streams::of(scene.lock, scene.observed);
    // Where a spec lists its streams, one that went may live on as any other.
    let mut wider: Vec<(&FieldSelection, Catalog)> = Vec::new();
    for change in changes.iter() {
        let (Change::StreamRemoved { stream } | Change::StreamRenamed { stream, .. }) = change else { continue };
        let (Some(whole), Some(choice)) = (scene.whole, impact::choice(scene.connection, stream)) else { continue };
        if wider.iter().all(|(fields, _)| **fields != choice.fields) {
            wider.push((&choice.fields, reach(scene.observed, whole, &choice.fields)));
        }
    }
    let wider: Vec<_> = wider.iter().map(|(fields, reach)| (*fields, Streams::of(scene.lock, reach))).collect();
    let around = |stream: &StreamName| {
        let choice = impact::choice(scene.connection, stream);
        let wide = choice.and_then(|choice| wider.iter().find(|(fields, _)| **fields == choice.fields));
        wide.map_or(&seen, |(_, streams)| streams)
    };
    for (at, change) in changes.iter().enumerate() {
        let finding = match change {
            Change::StreamRenamed { stream, to } => around(stream)
                .judged(stream, to)
                .map(|(confidence, lines)| Finding { confidence: Some(confidence), lines, ..Finding::default() }),
            Change::StreamRemoved { stream } => {
                Some(Finding { lines: around(stream).candidates(stream), ..Finding::default() })
            }
            Change::StreamAdded { stream, .. } => claimed_by(seen.claims(stream)),
            _ => None,
        };
        found.extend(finding.map(|finding| (at, finding)));
    }
    found
}

/// Of fields that went, came or were renamed.
fn of_fields(changes: &[Change], scene: Scene<'_>, found: &mut BTreeMap<usize, Finding>) {
    let Scene { lock, observed, values, .. } = scene;
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
    for ((name, parent), members) in levels {
        if members.iter().all(|at| matches!(changes[*at], Change::FieldAdded { .. })) {
            continue;
        }
        let before = lock.streams.get(stream_before(changes, name));
        let (Some(before), Some(after)) = (before, observed.streams.get(name)) else { continue };
        let sides = Sides { name, before, after, sampled: values.get(name) };
        let (old, new) = (Node::of(&before.fields), Node::of(&after.fields));
        let was = parent.as_ref().map(|path| old_name(path, changes, name));
        let (Some(old), Some(new)) = (old.at(was.as_ref()), new.at(parent.as_ref())) else { continue };
        let level = sides.level((parent.as_ref(), old), (parent.as_ref(), new));
        let judged = Judged::of(&level, sides.sampled);
        let gone = |path: &FieldPath| level.gone.iter().position(|member| member.path == *path);
        let came = |path: &FieldPath| level.new.iter().position(|member| member.path == *path);
        let removed: Vec<usize> = members
            .iter()
            .filter_map(|at| match &changes[*at] {
                Change::FieldRemoved { field, .. } => gone(field),
                _ => None,
            })
            .collect();
        for at in members {
            let finding = match &changes[at] {
                Change::FieldRenamed { from, to, .. } => {
                    gone(from).zip(came(to)).map(|(gone, new)| of_rename(&judged, gone, new))
                }
                Change::FieldRemoved { field, .. } => gone(field).map(|gone| Finding {
                    lines: judged.candidates(gone),
                    lives_on: judged.lives_on(gone).cloned(),
                    ..Finding::default()
                }),
                Change::FieldAdded { field, .. } => came(field).and_then(|new| {
                    if let Some(held) = judged.holds_values_of(new) {
                        let doubt = Some(format!("it holds the values of {held}, which went"));
                        return Some(Finding { doubt, ..Finding::default() });
                    }
                    let path = |gone: usize| &level.gone[gone].path;
                    claimed_by(removed.iter().map(|gone| (judged.confidence(*gone, new), path(*gone))).collect())
                }),
                _ => None,
            };
            found.extend(finding.map(|finding| (at, finding)));
        }
    }
}

/// Whether something that came may be the new name of one of those that went, by the probability of each.
fn claimed_by<T: std::fmt::Display>(claims: Vec<(f64, T)>) -> Option<Finding> {
    let all: f64 = claims.iter().map(|(claim, _)| claim).sum();
    let (_, likeliest) = claims.into_iter().reduce(|best, other| if other.0 > best.0 { other } else { best })?;
    let doubt = (all >= LEAST_CLAIM).then(|| format!("it may be the new name of {likeliest}"));
    Some(Finding { doubt, ..Finding::default() })
}

fn of_rename(judged: &Judged<'_>, gone: usize, new: usize) -> Finding {
    Finding {
        confidence: Some(judged.confidence(gone, new)),
        doubt: judged.doubt(gone, new),
        lines: judged.lines(gone, new),
        lives_on: None,
    }
}

/// A path as it was before any rename around it.
pub(super) fn old_name(path: &FieldPath, changes: &[Change], stream: &StreamName) -> FieldPath {
    let mut renames = renames_in(changes, stream);
    renames.reverse();
    renames.iter().fold(path.clone(), |path, (from, to)| path.rebased(to, from).unwrap_or(path))
}
