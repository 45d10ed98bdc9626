//! `kind: mapping` and `kind: entity` for themselves; types are checked against locks by `crate::mapping`.

use sha2::{Digest, Sha256};

use crate::diag::{Diagnostic, quoted};
use crate::model::{FieldPath, RepoPath, StreamName};
use crate::spec::raw::{RawEntity, RawEntityMapping, RawMapping, RawRule, RawRuleMap};
use crate::spec::read::{Text, nearest};
use crate::spec::source::{Problems, Source};
use crate::spec::{At, EntityField, EntityMapping, EntitySpec, FieldMapping, MappingRule, MappingSpec};

use super::parse;

/// What a canonical field may hold.
const ENTITY_TYPES: &[&str] = &["string", "integer", "decimal", "boolean", "date", "timestamp", "object", "array"];

pub(super) fn check_mapping(
    raw: &RawMapping,
    name: &str,
    path: &RepoPath,
    source: &Source,
    to: &mut Problems<'_>,
) -> Option<MappingSpec> {
    let entities = raw.entities.0.iter().filter_map(|(entity, raw)| check_entity_mapping(entity, raw, to)).collect();
    Some(MappingSpec {
        name: name.to_owned(),
        path: path.clone(),
        text: source.text.clone(),
        digest: hex::encode(Sha256::digest(source.text.as_bytes())),
        system: raw.system.value.clone(),
        entities,
    })
}

fn located<T>(text: &Text, to: &mut Problems<'_>) -> Option<At<T>>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    parse(text, to).map(|value| text.with(value))
}

fn check_entity_mapping(entity: &Text, raw: &RawEntityMapping, to: &mut Problems<'_>) -> Option<EntityMapping> {
    let stream = located::<StreamName>(&raw.stream, to);
    let key = raw.key.iter().flat_map(|k| &k.0).filter_map(|k| located::<FieldPath>(k, to)).collect();
    let rule =
        |(target, rule): &(Text, RawRule)| Some(FieldMapping { target: target.clone(), rule: check_rule(rule, to)? });
    let fields = raw.fields.0.iter().filter_map(rule).collect();
    Some(EntityMapping { entity: entity.clone(), stream: stream?, key, fields, deleted_when: raw.deleted_when.clone() })
}

fn check_rule(rule: &RawRule, to: &mut Problems<'_>) -> Option<MappingRule> {
    let (map, at) = match rule {
        RawRule::Path(path) => return located(path, to).map(MappingRule::Path),
        RawRule::Map(map, at) => (map, at),
    };
    match map.as_ref() {
        RawRuleMap { from: Some(from), r#as, values, default, expr: None } => Some(MappingRule::From {
            from: located(from, to)?,
            cast: r#as.clone(),
            values: values.iter().flat_map(|v| v.0.iter().cloned()).collect(),
            default: default.clone(),
        }),
        RawRuleMap { from: None, r#as: None, values: None, default: None, expr: Some(expr) } => {
            Some(MappingRule::Expr(expr.clone()))
        }
        RawRuleMap { expr: Some(expr), .. } => {
            let d = Diagnostic::error(
                "AAM-S027",
                "`expr` stands alone: it does what `from`, `as`, `values` and `default` do",
            );
            to.add(&expr.place(), d.help("keep `expr` or the others"));
            None
        }
        RawRuleMap { from: None, expr: None, .. } => {
            let d = Diagnostic::error("AAM-S010", "a mapping rule needs `from` or `expr`");
            to.add(&at.place(), d.label("one is missing here"));
            None
        }
    }
}

pub(super) fn check_entity(raw: &RawEntity, name: &str, path: &RepoPath, to: &mut Problems<'_>) -> EntitySpec {
    let mut fields = std::collections::BTreeMap::new();
    for (field, raw) in &raw.fields.0 {
        check_field_name(field, to);
        if !ENTITY_TYPES.contains(&raw.r#type.value.as_str()) {
            let d =
                Diagnostic::error("AAM-S011", format!("{} is no type of a canonical field", quoted(&raw.r#type.value)));
            let d = d.label(format!("expected {}", ENTITY_TYPES.join(", ")));
            let near = nearest(&raw.r#type.value, ENTITY_TYPES.iter().copied());
            to.add(
                &raw.r#type.place(),
                if let Some(near) = near { d.help(format!("did you mean `{near}`?")) } else { d },
            );
        }
        let read = EntityField {
            ty: raw.r#type.value.clone(),
            required: raw.required.unwrap_or(false),
            pii: raw.pii.unwrap_or(false),
            description: raw.description.as_ref().map(|d| d.value.clone()),
        };
        fields.insert(field.value.clone(), read);
    }
    EntitySpec { name: name.to_owned(), path: path.clone(), fields }
}

/// Canonical names are ours, so they are simple: they become JSON keys and SQL paths without quoting.
fn check_field_name(field: &Text, to: &mut Problems<'_>) {
    let simple = field.value.starts_with(|c: char| c.is_ascii_lowercase())
        && field.value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !simple || field.value == "extras" {
        let why = if simple {
            "is reserved for `extras.<name>` of mappings"
        } else {
            "must be lower-case letters, digits and `_`"
        };
        let d = Diagnostic::error("AAM-S026", format!("the canonical field {} {why}", quoted(&field.value)));
        to.add(&field.place(), d);
    }
}
