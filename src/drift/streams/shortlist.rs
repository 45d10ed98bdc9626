//! Which streams are compared field by field: those that share one of a few fields of the stream that went, or its own name.
//!
//! One pass over the fields of what came and stayed finds them. What very many streams hold (`id`, `created_at`) finds nobody: in
//! a catalog of hundreds of like streams only their names could tell.

use std::collections::{BTreeSet, HashMap};

use super::Side;
use crate::model::FieldPath;

/// Of a stream that went, so many fields are looked for, spread over all of them. Four in five are in its new shape, so that
/// one of eight is.
const LOOKED_FOR: usize = 8;
/// A field or name that more streams hold says nothing about which of them it is.
const MOST_HOLDERS: usize = 64;

/// Pairs that are worth a comparison, sorted: (what went, what was seen).
pub(super) fn shortlist(gone: &[Side<'_>], seen: &[Side<'_>]) -> BTreeSet<(usize, usize)> {
    let mut holders: HashMap<&FieldPath, Vec<usize>> = HashMap::new();
    for side in gone {
        holders.extend(looked_for(side).map(|path| (path, Vec::new())));
    }
    let mut named: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, side) in seen.iter().enumerate() {
        named.entry(&side.name.name).or_default().push(at);
        for path in side.stream.fields.keys() {
            if let Some(holders) = holders.get_mut(path) {
                holders.push(at);
            }
        }
    }
    let mut pairs = BTreeSet::new();
    for (at, side) in gone.iter().enumerate() {
        let by_field = looked_for(side).filter_map(|path| holders.get(path));
        for found in by_field.chain(named.get(side.name.name.as_str())).filter(|found| found.len() <= MOST_HOLDERS) {
            pairs.extend(found.iter().map(|other| (at, *other)));
        }
    }
    pairs
}

fn looked_for<'a>(side: &Side<'a>) -> impl Iterator<Item = &'a FieldPath> {
    let step = side.stream.fields.len().div_ceil(LOOKED_FOR).max(1);
    side.stream.fields.keys().step_by(step)
}
