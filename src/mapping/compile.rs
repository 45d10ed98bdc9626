//! Compiles one `entities:` entry of a mapping: every name resolved, every literal typed, every expression parsed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde_json::Value;

use super::check::Checker;
use super::convert::{self, ValueType};
use super::expression::CompiledExpression;
use super::hash::mapping_digest;
use super::place;
use crate::diag::{Diagnostic, Severity};
use crate::model::{FieldPath, Segment, Stream, StreamName};
use crate::spec::{At, EntityMapping, EntitySpec, FieldMapping, MappingRule, MappingSpec};

/// A mapping of one stream to one entity, ready to run. Cheap to keep, made once per mapping version.
#[derive(Debug)]
pub struct CompiledMapping {
    entity: String,
    stream: StreamName,
    pub(super) key: Vec<FieldPath>,
    pub(super) rules: Vec<Rule>,
    pub(super) deleted_when: Option<CompiledExpression>,
    /// Required fields of the entity.
    pub(super) required: Vec<String>,
    /// Paths that rules and key read and that are taken out of the record afterwards.
    pub(super) taken: Vec<FieldPath>,
    /// Paths that expressions use.
    pub(super) used: Vec<FieldPath>,
    lineage: BTreeMap<String, Vec<String>>,
    digest: String,
}

/// One canonical field.
#[derive(Debug)]
pub(super) struct Rule {
    pub target: Target,
    /// `None` for extras, which take any JSON.
    pub ty: Option<ValueType>,
    pub source: Source,
}

/// Where a value goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Field(String),
    Extra(String),
}

/// Where a value comes from.
#[derive(Debug)]
pub(super) enum Source {
    Path {
        path: FieldPath,
        /// Nothing else reads this top-level field: its value is moved, not copied.
        moved: bool,
    },
    From {
        path: FieldPath,
        cast: Option<ValueType>,
        values: HashMap<String, Value>,
        default: Option<Value>,
    },
    Expression(CompiledExpression),
}

impl Target {
    /// `name`, or `extras.name`; the part after `extras.` is one name, quoted where it holds a dot.
    fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("extras.") else { return Ok(Self::Field(text.to_owned())) };
        match rest.parse::<FieldPath>().as_ref().map(FieldPath::segments) {
            Ok([Segment::Name(name)]) => Ok(Self::Extra(name.clone())),
            _ => Err("after `extras.` comes one name; quote a name that holds a dot".to_owned()),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Field(name) | Self::Extra(name) => name,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Extra(name) => write!(f, "extras.{}", crate::model::quote_name(name)),
        }
    }
}

impl CompiledMapping {
    /// The canonical entity.
    pub fn entity(&self) -> &str {
        &self.entity
    }

    /// The stream, as the mapping names it.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The source fields that identify a record; empty: none do.
    pub fn key(&self) -> &[FieldPath] {
        &self.key
    }

    /// Canonical field → source fields.
    pub fn lineage(&self) -> &BTreeMap<String, Vec<String>> {
        &self.lineage
    }

    /// Every path of a record that it looks at.
    pub fn reads(&self) -> impl Iterator<Item = &FieldPath> {
        self.rules.iter().flat_map(Rule::reads).chain(&self.taken).chain(&self.used)
    }

    /// [`mapping_digest`] of what it was made from: what it refused is mapped again by one with another.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// Compiles an entry of `mapping`. With the stream's schema (from a lock) source fields and their types are checked too.
/// All errors at once; there are no warnings.
pub fn compile(
    mapping: &MappingSpec,
    entry: &EntityMapping,
    entity: &EntitySpec,
    stream: Option<&Stream>,
) -> Result<CompiledMapping, Vec<Diagnostic>> {
    let mut checker = Checker::new(mapping, stream.map(|s| (s, entry.stream.value.to_string())));
    let compiled = compile_checked(entry, entity, &mut checker);
    if checker.found.iter().any(|d| d.severity == Severity::Error) { Err(checker.found) } else { Ok(compiled) }
}

/// Compiles what can be compiled; what cannot is in the checker's findings.
pub(super) fn compile_checked(
    entry: &EntityMapping,
    entity: &EntitySpec,
    checker: &mut Checker<'_>,
) -> CompiledMapping {
    let mut rules = Vec::new();
    let mut targets = BTreeSet::new();
    for field in &entry.fields {
        let Some((target, ty)) = target(field, entity, checker) else { continue };
        if !targets.insert(target.clone()) {
            checker.error(
                "AAM-M004",
                &field.target,
                format!("canonical field `{target}` is given twice"),
                "given before",
            );
            continue;
        }
        if let Some(source) = source(&field.rule, ty, checker) {
            rules.push(Rule { target, ty, source });
        }
    }
    let required: Vec<String> = entity.fields.iter().filter(|(_, f)| f.required).map(|(n, _)| n.clone()).collect();
    for name in required.iter().filter(|n| !targets.contains(&Target::Field((*n).clone()))) {
        checker.required(entry, entity, name);
    }
    let mut key = Vec::new();
    for part in &entry.key {
        checker.key(part);
        key.push(part.value.clone());
    }
    let deleted_when = entry.deleted_when.as_ref().and_then(|text| expression(text, checker));
    let digest = mapping_digest(checker.mapping, entity);
    finish(entry, rules, key, deleted_when, required, digest)
}

fn finish(
    entry: &EntityMapping,
    mut rules: Vec<Rule>,
    key: Vec<FieldPath>,
    deleted_when: Option<CompiledExpression>,
    required: Vec<String>,
    digest: String,
) -> CompiledMapping {
    let mut readers: HashMap<String, usize> = HashMap::new();
    let mut taken = key.clone();
    let mut used = deleted_when.as_ref().map(|e| e.uses().to_vec()).unwrap_or_default();
    let mut whole_record = deleted_when.as_ref().is_some_and(CompiledExpression::sees_all);
    let mut lineage = BTreeMap::new();
    for rule in &rules {
        let sources = match &rule.source {
            Source::Path { path, .. } | Source::From { path, .. } => {
                taken.push(path.clone());
                vec![path.to_string()]
            }
            Source::Expression(expression) => {
                used.extend_from_slice(expression.uses());
                whole_record |= expression.sees_all();
                expression.uses().iter().map(FieldPath::to_string).collect()
            }
        };
        lineage.insert(rule.target.to_string(), sources);
    }
    for path in taken.iter().chain(&used) {
        *readers.entry(path.root().to_owned()).or_default() += 1;
    }
    let mut moved_roots = BTreeSet::new();
    for rule in &mut rules {
        if let Source::Path { path, moved } = &mut rule.source {
            *moved = !whole_record && path.segments().len() == 1 && readers.get(path.root()) == Some(&1);
            // of a record that is deleted nothing is moved, so the path stays in `taken`
            if *moved && deleted_when.is_none() {
                moved_roots.insert(path.clone());
            }
        }
    }
    taken.retain(|path| !moved_roots.contains(path));
    CompiledMapping {
        entity: entry.entity.value.clone(),
        stream: entry.stream.value.clone(),
        key,
        rules,
        deleted_when,
        required,
        taken,
        used,
        lineage,
        digest,
    }
}

/// The target and its type; `None` type for extras.
fn target(field: &FieldMapping, entity: &EntitySpec, checker: &mut Checker<'_>) -> Option<(Target, Option<ValueType>)> {
    let target = match Target::parse(&field.target.value) {
        Ok(target) => target,
        Err(why) => {
            checker.error(
                "AAM-M012",
                &field.target,
                format!("`{}` is no canonical field: {why}", field.target.value),
                "here",
            );
            return None;
        }
    };
    let Target::Field(name) = &target else { return Some((target, None)) };
    let Some(known) = entity.fields.get(name) else {
        checker.unknown_target(&field.target, entity);
        return None;
    };
    match known.ty.parse::<ValueType>() {
        Ok(ty) => Some((target, Some(ty))),
        Err(why) => {
            let message = format!("field `{name}` of entity {} has an unknown type: {why}", entity.name);
            checker.error("AAM-M013", &field.target, message, format!("see {}", entity.path));
            None
        }
    }
}

fn source(rule: &MappingRule, ty: Option<ValueType>, checker: &mut Checker<'_>) -> Option<Source> {
    match rule {
        MappingRule::Path(path) => {
            checker.path(path, ty);
            Some(Source::Path { path: path.value.clone(), moved: false })
        }
        MappingRule::Expr(text) => expression(text, checker).map(Source::Expression),
        MappingRule::From { from, cast, values, default } => {
            let cast_type = match cast {
                None => None,
                Some(cast) => Some(checker.cast(cast)?),
            };
            checker.from(from, cast.as_ref().zip(cast_type), !values.is_empty(), ty);
            let mut table = HashMap::new();
            for (given, becomes) in values {
                table.insert(given.value.clone(), literal(becomes, ty, checker)?);
            }
            let default = match default {
                None => None,
                Some(text) => Some(literal(text, ty, checker)?),
            };
            Some(Source::From { path: from.value.clone(), cast: cast_type, values: table, default })
        }
    }
}

/// A literal in the target's type; extras take it as text.
fn literal(text: &At<String>, ty: Option<ValueType>, checker: &mut Checker<'_>) -> Option<Value> {
    let Some(ty) = ty else { return Some(Value::String(text.value.clone())) };
    match convert::literal(&text.value, ty) {
        Ok(value) => Some(value),
        Err(why) => {
            checker.error(
                "AAM-M009",
                text,
                format!("the value does not fit the canonical field: {why}"),
                format!("must be {ty}"),
            );
            None
        }
    }
}

fn expression(text: &At<String>, checker: &mut Checker<'_>) -> Option<CompiledExpression> {
    match CompiledExpression::new(&text.value) {
        Ok(expression) => {
            checker.expression(text, &expression);
            Some(expression)
        }
        Err(error) => {
            let place = place::within(checker.mapping, text, error.range);
            let diagnostic = Diagnostic::error("AAM-M010", "the expression cannot be read").at(place).label(error.why);
            checker.found.push(
                diagnostic.help("expressions are those of minijinja: names, `~` joins texts, `if … else …`, filters"),
            );
            None
        }
    }
}
