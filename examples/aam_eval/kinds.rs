//! How each field of a table is classified, against what its project says: added, removed, renamed, retyped.

use std::collections::BTreeMap;

use aam::drift::rename::Member;
use serde::Serialize;

use super::corpus::{Case, Kind};

/// Found and stated changes of one kind.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Tally {
    /// Stated by the project.
    pub stated: usize,
    /// Found by us.
    pub found: usize,
    /// Both.
    pub right: usize,
    /// Of what was found, the share that is right.
    pub precision: f64,
    /// Of what is stated, the share that was found.
    pub recall: f64,
}

/// Counts by kind.
pub type Kinds = BTreeMap<Kind, Tally>;

/// Adds a case. `renames` are those that the detection made. A field that only evidence says was renamed is left out, and so
/// are saas sources' added and removed fields, which may be renames.
pub fn add(kinds: &mut Kinds, case: &Case, renames: &[(String, String)]) {
    let doubtful = |from: Option<&str>, to: Option<&str>| {
        case.changes.iter().any(|change| {
            change.evidence.is_some()
                && (from.is_some() && change.from.as_deref() == from || to.is_some() && change.to.as_deref() == to)
        })
    };
    let stated = case.changes.iter().filter(|change| change.evidence.is_none()).map(|change| {
        let (from, to) = (change.from.clone(), change.to.clone());
        match change.kind {
            Kind::TypeChanged => (Kind::TypeChanged, from.clone(), from),
            kind => (kind, from, to),
        }
    });
    let stated: Vec<_> = stated.collect();
    let level = case.level();
    let mut found: Vec<(Kind, Option<String>, Option<String>)> = Vec::new();
    for (from, to) in renames {
        found.push((Kind::Renamed, Some(from.clone()), Some(to.clone())));
    }
    let names = |members: &[Member<'_>]| -> Vec<String> {
        members.iter().map(|member| member.path.root().to_owned()).collect()
    };
    let gone = names(&level.gone).into_iter().filter(|name| renames.iter().all(|(from, _)| from != name));
    found.extend(gone.map(|name| (Kind::Removed, Some(name), None)));
    let new = names(&level.new).into_iter().filter(|name| renames.iter().all(|(_, to)| to != name));
    found.extend(new.map(|name| (Kind::Added, None, Some(name))));
    for (name, before) in &case.before {
        let after = case.after.iter().find(|(other, _)| other == name);
        if after.is_some_and(|(_, after)| after.ty != before.ty) {
            found.push((Kind::TypeChanged, Some(name.clone()), Some(name.clone())));
        }
    }
    let counted = |(kind, from, to): &&(Kind, Option<String>, Option<String>)| {
        (case.renames_labelled || *kind == Kind::TypeChanged) && !doubtful(from.as_deref(), to.as_deref())
    };
    for one in stated.iter().filter(counted) {
        let tally = kinds.entry(one.0).or_default();
        tally.stated += 1;
        tally.right += usize::from(found.contains(one));
    }
    for one in found.iter().filter(counted) {
        kinds.entry(one.0).or_default().found += 1;
    }
}

/// Works out the shares.
pub fn finish(kinds: &mut Kinds) {
    for tally in kinds.values_mut() {
        tally.precision = tally.right as f64 / tally.found.max(1) as f64;
        tally.recall = tally.right as f64 / tally.stated.max(1) as f64;
    }
}
