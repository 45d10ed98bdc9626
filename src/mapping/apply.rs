//! Maps one record.

use serde_json::{Map, Value};

use super::compile::{CompiledMapping, Rule, Source, Target};
use super::{convert, hash, select};
use crate::model::FieldPath;

/// A mapped record.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// Its identity, [`hash::key_text`]; `None` for a mapping without a key.
    pub key: Option<String>,
    /// Whether `deleted_when` holds. `data` is empty then: the event carries that of the last one.
    pub deleted: bool,
    /// Canonical fields; those without a value are absent. `extras.*` lie in an object `extras`.
    pub data: Map<String, Value>,
    /// What no rule took, under the source's names; without nulls.
    pub unknown_fields: Map<String, Value>,
}

/// A record that cannot be mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its identity, if it has one.
    pub key: Option<String>,
    /// Every reason, each naming its field.
    pub reasons: Vec<String>,
    /// Source fields that hold no value, where a required field or the key needs one.
    pub lacks: Vec<FieldPath>,
}

impl Rejected {
    /// Refused for what is in the record.
    pub fn because(key: Option<String>, reasons: Vec<String>) -> Self {
        Self { key, reasons, lacks: Vec::new() }
    }
}

impl CompiledMapping {
    /// Maps a record, the JSON object of its source fields. A record that `deleted_when` marks needs its key only.
    pub fn apply(&self, record: &str) -> Result<Mapped, Rejected> {
        let mut record: Map<String, Value> = serde_json::from_str(record)
            .map_err(|e| Rejected::because(None, vec![format!("the record is no JSON object: {e}")]))?;
        let (mut reasons, mut lacks) = (Vec::new(), Vec::new());
        let key = self.key_of(&record).unwrap_or_else(|path| {
            reasons.push(format!("key: the record has no single value in `{path}`"));
            lacks.push(path.clone());
            None
        });
        let deleted = match self.deleted_when.as_ref().map(|e| e.holds(&record)) {
            None => false,
            Some(Ok(holds)) => holds,
            Some(Err(why)) => {
                reasons.push(format!("deleted_when: {why}"));
                false
            }
        };
        let mut data = Map::new();
        let mut extras = Map::new();
        if !deleted {
            for rule in &self.rules {
                match rule.value(&mut record) {
                    Ok(None) => {}
                    Ok(Some(value)) => {
                        let into = match rule.target {
                            Target::Field(_) => &mut data,
                            Target::Extra(_) => &mut extras,
                        };
                        into.insert(rule.target.name().to_owned(), value);
                    }
                    Err(why) => reasons.push(format!("{}: {why}", rule.target)),
                }
            }
            // one that failed for another reason is not also missing
            let failed =
                |field: &str| reasons.iter().any(|r| r.strip_prefix(field).is_some_and(|r| r.starts_with(':')));
            let missing = self.required.iter().filter(|f| !data.contains_key(*f) && !failed(f));
            let missing: Vec<&String> = missing.collect();
            for field in missing {
                reasons.push(format!("{field}: is required, and the record has no value for it"));
                let rules = self.rules.iter().filter(|r| matches!(&r.target, Target::Field(name) if name == field));
                lacks.extend(rules.flat_map(|rule| rule.reads()).cloned());
            }
        }
        if !reasons.is_empty() {
            return Err(Rejected { key, reasons, lacks });
        }
        if !extras.is_empty() {
            data.insert("extras".to_owned(), Value::Object(extras));
        }
        for path in &self.taken {
            select::take(&mut record, path);
        }
        for path in &self.used {
            select::take_used(&mut record, path);
        }
        record.retain(|_, value| !value.is_null());
        Ok(Mapped { key, deleted, data, unknown_fields: record })
    }

    /// The record's key; `Err` holds what has no value for it.
    fn key_of(&self, record: &Map<String, Value>) -> Result<Option<String>, &FieldPath> {
        if self.key.is_empty() {
            return Ok(None);
        }
        let values: Vec<_> = self.key.iter().map(|path| select::read(record, path)).collect();
        hash::key_text(values.iter().map(Option::as_ref)).map(Some).map_err(|place| &self.key[place])
    }
}

impl Rule {
    /// The source fields that its value comes from.
    pub(super) fn reads(&self) -> &[FieldPath] {
        match &self.source {
            Source::Path { path, .. } | Source::From { path, .. } => std::slice::from_ref(path),
            Source::Expression(expression) => expression.uses(),
        }
    }

    /// The canonical value; `None` where the record has none.
    fn value(&self, record: &mut Map<String, Value>) -> Result<Option<Value>, String> {
        match &self.source {
            Source::Path { path, moved } => {
                let value = if *moved { record.remove(path.root()) } else { select::read(record, path) };
                let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(None) };
                self.ty.map_or(Ok(value.clone()), |ty| convert::accept(value, ty)).map(Some)
            }
            Source::From { path, cast, values, default } => {
                let Some(value) = select::read(record, path) else { return Ok(default.clone()) };
                let value = cast.map_or(Ok(value.clone()), |ty| convert::cast(value, ty))?;
                if values.is_empty() {
                    return self.ty.map_or(Ok(value.clone()), |ty| convert::accept(value, ty)).map(Some);
                }
                if value.is_object() || value.is_array() {
                    return Err(format!("{} has no place in a values table", convert::shown(&value)));
                }
                match values.get(&convert::text_of(&value)).or(default.as_ref()) {
                    Some(mapped) => Ok(Some(mapped.clone())),
                    None => Err(format!("{} is not in the values table, which has no default", convert::shown(&value))),
                }
            }
            Source::Expression(expression) => {
                let value = expression.evaluate(record)?;
                if value.is_null() {
                    return Ok(None);
                }
                self.ty.map_or(Ok(value.clone()), |ty| convert::cast(value, ty)).map(Some)
            }
        }
    }
}
