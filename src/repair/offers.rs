//! Fields that came, and what a mapping could do with them: a line where a canonical field of that name has no source yet, a
//! note that the field is not mapped where there is none.

use std::collections::BTreeSet;

use crate::drift::{Assessment, Change, is_stream};
use crate::mapping::compile;
use crate::model::{Catalog, FieldPath, StreamName};
use crate::spec::{At, Connection, Desired, EntityField, EntityMapping, EntitySpec, FieldMapping, MappingRule, lock};

/// So many fields are named; the others are counted.
const NAMED: usize = 6;

/// What to tell of the fields that came in streams that the mapping reads. `after` is the catalog that has them.
pub(super) fn offers(
    desired: &Desired,
    connection: &Connection,
    assessment: &Assessment,
    after: &Catalog,
) -> Vec<String> {
    let Some(mapping) = &connection.mapping else { return Vec::new() };
    let (mut notes, mut unmapped) = (Vec::new(), Vec::new());
    for change in &assessment.changes {
        let Change::FieldAdded { stream, field, .. } = &change.change else { continue };
        // what lies inside a field goes with it
        if field.parent().is_some() {
            continue;
        }
        let before = assessment.stream_before(&change.change);
        let entries: Vec<&EntityMapping> =
            mapping.entities.iter().filter(|entry| is_stream(&entry.stream.value, before)).collect();
        let offered = entries.iter().find_map(|entry| {
            let entity = desired.entities.get(&entry.entity.value)?;
            let target = free_target(entry, entity, field)?;
            let (entry, only) = (line(entry, target, field), alone(entity, target));
            compile(mapping, &entry, &only, after.streams.get(stream)).ok().map(|_| (&entity.name, target))
        });
        match offered {
            Some((entity, target)) => notes.push(format!(
                "{entity}.{target} has no source from this stream yet, and {stream}.{field} may be it: to map it, put \"{target}: {}\" under \
                 fields of {entity} in {}",
                lock::scalar(&field.to_string(), false),
                mapping.path
            )),
            None if entries.is_empty() => {}
            None => unmapped.push((stream, field)),
        }
    }
    notes.extend(told(&unmapped));
    notes
}

/// The canonical field of that name, however it is written, if nothing feeds it.
fn free_target<'a>(entry: &EntityMapping, entity: &'a EntitySpec, field: &FieldPath) -> Option<&'a str> {
    let letters =
        |name: &str| name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let fed: BTreeSet<&str> = entry.fields.iter().map(|mapped| mapped.target.value.as_str()).collect();
    let wanted = letters(field.root());
    let mut free = entity.fields.keys().map(String::as_str).filter(|name| !fed.contains(name));
    free.find(|name| letters(name) == wanted)
}

/// The entry with nothing but the line that would be offered.
fn line(entry: &EntityMapping, target: &str, field: &FieldPath) -> EntityMapping {
    fn at<T>(value: T) -> At<T> {
        At { value, line: 0, column: 0, span: 0..0 }
    }
    let mapped = FieldMapping { target: at(target.to_owned()), rule: MappingRule::Path(at(field.clone())) };
    EntityMapping { key: Vec::new(), fields: vec![mapped], deleted_when: None, ..entry.clone() }
}

/// The entity with nothing but that field.
fn alone(entity: &EntitySpec, target: &str) -> EntitySpec {
    let fields = entity.fields.iter().filter(|(name, _)| *name == target);
    let fields = fields.map(|(name, field)| (name.clone(), EntityField { required: false, ..field.clone() }));
    EntitySpec { fields: fields.collect(), ..entity.clone() }
}

fn told(unmapped: &[(&StreamName, &FieldPath)]) -> Option<String> {
    if unmapped.is_empty() {
        return None;
    }
    let named: Vec<String> = unmapped.iter().take(NAMED).map(|(stream, field)| format!("{stream}.{field}")).collect();
    let more = unmapped.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("unmapped: {}{more}; values are kept in unknown_fields until a mapping takes them", named.join(", ")))
}
