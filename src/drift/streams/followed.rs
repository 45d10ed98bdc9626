//! What a connection that lists its streams sees of the others: only what a stream that went may live on as.

use super::Streams;
use crate::drift::impact::choice_in;
use crate::model::{Catalog, StreamName};
use crate::spec::{FieldSelection, Selection, carried, select_present};

/// What the source shows of what a connection carries: what the spec selects, and in the place of a listed stream that went
/// the unlisted one that is its new name.
pub fn followed(lock: &Catalog, whole: &Catalog, selection: &Selection) -> Catalog {
    let mut observed = select_present(whole, selection);
    if *selection == Selection::All {
        return observed;
    }
    let gone: Vec<&StreamName> = lock.streams.keys().filter(|name| !observed.streams.contains_key(name)).collect();
    let mut done: Vec<&FieldSelection> = Vec::new();
    let mut found = Vec::new();
    for fields in gone.iter().filter_map(|name| Some(&choice_in(selection, name)?.fields)) {
        if done.contains(&fields) {
            continue;
        }
        done.push(fields);
        let reach = reach(&observed, whole, fields);
        for (from, to) in Streams::of(lock, &reach).renames() {
            if choice_in(selection, from).is_some_and(|choice| choice.fields == *fields) {
                found.push((to.clone(), reach.streams[to].clone()));
            }
        }
    }
    observed.streams.extend(found);
    observed
}

/// What a stream that went is looked for in: everything that the source shows, with the fields that would be carried of it.
pub(in crate::drift) fn reach(observed: &Catalog, whole: &Catalog, fields: &FieldSelection) -> Catalog {
    let unlisted = whole.streams.iter().filter(|(name, _)| !observed.streams.contains_key(name));
    let unlisted = unlisted.map(|(name, stream)| (name.clone(), carried(stream, fields)));
    Catalog { streams: observed.streams.clone().into_iter().chain(unlisted).collect() }
}
