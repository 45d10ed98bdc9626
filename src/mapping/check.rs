//! Types mappings against entities and against the locks of the connections that use them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compile::compile_checked;
use super::convert::{self, ValueType};
use super::expression::CompiledExpression;
use super::place;
use crate::diag::Diagnostic;
use crate::model::{Catalog, FieldPath, FieldType, Segment, Stream, StreamName, quote_name};
use crate::spec::{At, Connection, Desired, EntityMapping, EntitySpec, Lock, MappingRule, MappingSpec};

/// Checks every mapping: names and types against its entities, and against each lock of a connection that uses it.
/// A mapping that no locked connection uses is checked for itself. Sorted, and each problem once.
pub fn check(desired: &Desired) -> Vec<Diagnostic> {
    let mut found = BTreeSet::new();
    for mapping in desired.mappings.values() {
        let users: Vec<(&Connection, &Lock)> = desired
            .connections
            .values()
            .filter(|c| c.mapping.as_ref().is_some_and(|m| Arc::ptr_eq(m, mapping) || m.path == mapping.path))
            .filter_map(|c| Some((c, c.lock.as_ref()?)))
            .collect();
        let mut pairs = BTreeSet::new();
        for entry in &mapping.entities {
            let mut own = Checker::new(mapping, None);
            if !pairs.insert((&entry.entity.value, &entry.stream.value)) {
                let message = format!("`{}` is mapped from this stream twice", entry.entity.value);
                own.error("AAM-M014", &entry.entity, message, "mapped before");
            }
            match desired.entities.get(&entry.entity.value) {
                None => own.unknown_entity(entry, desired.entities.keys()),
                Some(entity) => check_entry(entry, entity, &users, &mut own),
            }
            found.extend(own.found);
        }
    }
    // the same problem seen in two locks is one problem
    let mut seen = BTreeSet::new();
    found.into_iter().filter(|d| seen.insert((d.place.clone(), d.code, d.message.clone()))).collect()
}

fn check_entry(entry: &EntityMapping, entity: &EntitySpec, users: &[(&Connection, &Lock)], own: &mut Checker<'_>) {
    let mut seen = false;
    for (connection, lock) in users {
        let Some((_, stream)) = find_stream(&lock.catalog, &entry.stream.value) else { continue };
        seen = true;
        let against = format!("{} in {} (version {})", entry.stream.value, connection.lock_path, lock.version);
        let mut checker = Checker::new(own.mapping, Some((stream, against)));
        compile_checked(entry, entity, &mut checker);
        own.found.extend(checker.found);
    }
    if !seen {
        if !users.is_empty() {
            own.unknown_stream(entry, users);
        }
        compile_checked(entry, entity, own);
    }
}

/// The stream that a name means: the full name, or a bare name that only one stream has.
pub fn find_stream<'a>(catalog: &'a Catalog, name: &StreamName) -> Option<(&'a StreamName, &'a Stream)> {
    if let Some(found) = catalog.streams.get_key_value(name) {
        return Some(found);
    }
    let mut same = catalog.streams.iter().filter(|(n, _)| name.namespace.is_none() && n.name == name.name);
    same.next().filter(|_| same.next().is_none())
}

/// Which fields of a stream a mapping takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Fields that feed a canonical field, the key, or an expression.
    pub taken: Vec<FieldPath>,
    /// Fields that go to `unknown_fields`.
    pub unknown: Vec<FieldPath>,
}

/// Coverage of the stream's fields by all entries that read it; objects whose fields are listed count by those.
pub fn coverage<'a>(entries: impl IntoIterator<Item = &'a EntityMapping>, stream: &Stream) -> Coverage {
    let mut paths = Vec::new();
    for entry in entries {
        paths.extend(entry.key.iter().map(|k| k.value.clone()));
        let expressions = entry.fields.iter().filter_map(|f| match &f.rule {
            MappingRule::Path(path) | MappingRule::From { from: path, .. } => {
                paths.push(path.value.clone());
                None
            }
            MappingRule::Expr(text) => Some(text),
        });
        let expressions: Vec<_> = expressions.chain(&entry.deleted_when).collect();
        for text in expressions {
            paths.extend(CompiledExpression::new(&text.value).map(|e| e.uses().to_vec()).unwrap_or_default());
        }
    }
    let mut coverage = Coverage::default();
    for path in stream.fields.keys().filter(|p| !stream.fields.keys().any(|q| q != *p && q.is_within(p))) {
        let taken = paths.iter().any(|p| path.is_within(p) || p.is_within(path));
        if taken { coverage.taken.push(path.clone()) } else { coverage.unknown.push(path.clone()) }
    }
    coverage
}

/// What a stream's schema says about a path.
enum Lookup {
    /// Of this type.
    Typed(FieldType),
    /// Inside a value whose fields the source does not state.
    Unstated,
    /// No such field.
    Missing,
}

/// Gathers findings about one entry.
pub(super) struct Checker<'a> {
    pub mapping: &'a MappingSpec,
    /// The schema to check against, and what to call it.
    against: Option<(&'a Stream, String)>,
    pub found: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(mapping: &'a MappingSpec, against: Option<(&'a Stream, String)>) -> Self {
        Self { mapping, against, found: Vec::new() }
    }

    /// Notes an error at a node.
    pub(super) fn error<T>(
        &mut self,
        code: &'static str,
        at: &At<T>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) {
        self.found.push(Diagnostic::error(code, message).at(place::of(self.mapping, at)).label(label));
    }

    fn unknown_entity<'n>(&mut self, entry: &EntityMapping, known: impl Iterator<Item = &'n String>) {
        let known: Vec<&str> = known.map(String::as_str).collect();
        let name = &entry.entity.value;
        let diagnostic = Diagnostic::error("AAM-M001", format!("there is no entity `{name}`"))
            .at(place::of(self.mapping, &entry.entity))
            .label("no file in mappings/entities declares it")
            .note(listed("entities", &known));
        self.found.push(suggest(diagnostic, name, &known));
    }

    fn unknown_stream(&mut self, entry: &EntityMapping, users: &[(&Connection, &Lock)]) {
        let name = entry.stream.value.to_string();
        let known: BTreeSet<String> =
            users.iter().flat_map(|(_, lock)| lock.catalog.streams.keys().map(StreamName::to_string)).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let locks: Vec<String> = users.iter().map(|(c, _)| c.lock_path.to_string()).collect();
        let diagnostic =
            Diagnostic::error("AAM-M002", format!("no connection that uses this mapping has a stream `{name}`"))
                .at(place::of(self.mapping, &entry.stream))
                .label("not in any lock")
                .note(listed(&format!("streams in {}", locks.join(", ")), &known));
        self.found.push(suggest(diagnostic, &name, &known));
    }

    pub(super) fn unknown_target(&mut self, target: &At<String>, entity: &EntitySpec) {
        let known: Vec<&str> = entity.fields.keys().map(String::as_str).collect();
        let message = format!("entity {} has no field `{}`", entity.name, target.value);
        let diagnostic = Diagnostic::error("AAM-M003", message)
            .at(place::of(self.mapping, target))
            .label("no such canonical field")
            .note(listed(&format!("fields of {}", entity.path), &known));
        let suggested = suggest(diagnostic, &target.value, &known);
        let help = match suggested.help.clone() {
            Some(help) => {
                format!("{help}; `extras.{}` takes a field that the entity does not have", quote_name(&target.value))
            }
            None => format!("`extras.{}` takes a field that the entity does not have", quote_name(&target.value)),
        };
        self.found.push(suggested.help(help));
    }

    pub(super) fn required(&mut self, entry: &EntityMapping, entity: &EntitySpec, name: &str) {
        let message = format!("required field `{name}` of entity {} is not mapped", entity.name);
        let diagnostic = Diagnostic::error("AAM-M005", message)
            .at(place::of(self.mapping, &entry.entity))
            .label(format!("every record would go to the dead letters for want of `{name}`"));
        self.found
            .push(diagnostic.help(format!("add `{name}:` below `fields:`, or drop `required` in {}", entity.path)));
    }

    /// A plain path: the field exists and fits the target.
    pub(super) fn path(&mut self, path: &At<FieldPath>, target: Option<ValueType>) {
        let Some(Lookup::Typed(found)) = self.field(path) else { return };
        if let Some(target) = target.filter(|t| !convert::fits(&found, *t)) {
            let diagnostic = self
                .misfit(path, &format!("source field `{}` is {found}, the canonical field is {target}", path.value));
            let mend = if convert::castable(&found, target) && target.is_cast() {
                format!("`{{from: {}, as: {target}}}` casts it", path.value)
            } else {
                "an expression (`{expr: …}`) can build the value".to_owned()
            };
            self.found.push(diagnostic.help(mend));
        }
    }

    /// The long form: the field exists, the cast can take it, and its result fits.
    pub(super) fn from(
        &mut self,
        path: &At<FieldPath>,
        cast: Option<(&At<String>, ValueType)>,
        table: bool,
        target: Option<ValueType>,
    ) {
        let Some((name, cast)) = cast else {
            if !table {
                return self.path(path, target);
            }
            if let Some(Lookup::Typed(found @ (FieldType::Object | FieldType::Map | FieldType::Array))) =
                self.field(path)
            {
                let message = format!("source field `{}` is {found}: a values table maps single values", path.value);
                let diagnostic = self.misfit(path, &message);
                self.found.push(diagnostic);
            }
            return;
        };
        if let Some(Lookup::Typed(found)) = self.field(path)
            && !convert::castable(&found, cast)
        {
            let diagnostic =
                self.misfit(path, &format!("source field `{}` is {found}, which cannot become {cast}", path.value));
            self.found.push(diagnostic);
        }
        if let Some(target) = target.filter(|t| !table && !convert::widens(cast, *t)) {
            self.error(
                "AAM-M007",
                name,
                format!("the cast gives {cast}, the canonical field is {target}"),
                format!("must be {target}"),
            );
        }
    }

    /// The type that `as:` names.
    pub(super) fn cast(&mut self, name: &At<String>) -> Option<ValueType> {
        let known: Vec<&str> = ValueType::ALL.into_iter().filter(|t| t.is_cast()).map(ValueType::as_str).collect();
        let cast = name.value.parse::<ValueType>().ok().filter(|t| t.is_cast());
        if cast.is_none() {
            let diagnostic = Diagnostic::error(
                "AAM-M008",
                format!("`as: {}` names no type that a value can be cast to", name.value),
            )
            .at(place::of(self.mapping, name))
            .label("no such cast")
            .note(listed("casts", &known));
            self.found.push(suggest(diagnostic, &name.value, &known));
        }
        cast
    }

    /// A key field exists and holds a single value.
    pub(super) fn key(&mut self, path: &At<FieldPath>) {
        let gathers = path.value.segments().iter().any(|s| !matches!(s, Segment::Name(_)));
        match self.field(path) {
            Some(Lookup::Typed(found @ (FieldType::Object | FieldType::Map | FieldType::Array))) => {
                self.error(
                    "AAM-M011",
                    path,
                    format!("key field `{}` is {found}", path.value),
                    "a key is made of single values",
                );
            }
            _ if gathers => {
                self.error(
                    "AAM-M011",
                    path,
                    format!("key field `{}` is a list", path.value),
                    "a key is made of single values",
                );
            }
            _ => {}
        }
    }

    /// The variables of an expression exist.
    pub(super) fn expression(&mut self, text: &At<String>, expression: &CompiledExpression) {
        let Some((stream, _)) = &self.against else { return };
        let stream = *stream;
        let mut reported = BTreeSet::new();
        for path in expression.uses() {
            if stream.fields.contains_key(&FieldPath::top(path.root())) || !reported.insert(path.root().to_owned()) {
                continue;
            }
            let start = text.value.find(path.root());
            let place = place::within(self.mapping, text, start.map(|s| s..s + path.root().len()));
            self.unknown_field(
                path.root(),
                Diagnostic::error(
                    "AAM-M006",
                    format!("the expression uses `{}`, which the stream does not have", quote_name(path.root())),
                )
                .at(place),
            );
        }
    }

    /// Looks a path up; an unknown one is an error. `None` without a schema.
    fn field(&mut self, path: &At<FieldPath>) -> Option<Lookup> {
        let (stream, _) = self.against.as_ref()?;
        let found = lookup(stream, &path.value);
        if matches!(found, Lookup::Missing) {
            let message = format!("the stream has no field `{}`", path.value);
            let diagnostic = Diagnostic::error("AAM-M006", message).at(place::of(self.mapping, path));
            self.unknown_field(&path.value.to_string(), diagnostic);
        }
        Some(found)
    }

    fn unknown_field(&mut self, name: &str, diagnostic: Diagnostic) {
        let Some((stream, label)) = &self.against else { return };
        let known: Vec<String> = stream.fields.keys().map(FieldPath::to_string).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let diagnostic = diagnostic.label("no such source field").note(listed(label, &known));
        let diagnostic = suggest(diagnostic, name, &known);
        self.found.push(diagnostic);
    }

    fn misfit(&self, path: &At<FieldPath>, message: &str) -> Diagnostic {
        let diagnostic = Diagnostic::error("AAM-M007", message).at(place::of(self.mapping, path)).label("does not fit");
        match &self.against {
            Some((_, label)) => diagnostic.note(format!("checked against {label}")),
            None => diagnostic,
        }
    }
}

fn lookup(stream: &Stream, path: &FieldPath) -> Lookup {
    let gathers = path.segments().iter().any(|s| !matches!(s, Segment::Name(_)));
    let list = |found: Lookup| match found {
        Lookup::Typed(_) | Lookup::Unstated if gathers => Lookup::Typed(FieldType::Array),
        found => found,
    };
    if let Some(field) = stream.fields.get(path) {
        return list(Lookup::Typed(field.ty.clone()));
    }
    let mut outer = path.parent();
    while let Some(ancestor) = outer {
        if let Some(field) = stream.fields.get(&ancestor) {
            let stated = stream.fields.keys().any(|p| *p != ancestor && p.is_within(&ancestor));
            // any name may follow in a map
            let free = stream.fields.contains_key(&ancestor.child(Segment::Values));
            return if may_hold_fields(&field.ty) && (!stated || free) {
                list(Lookup::Unstated)
            } else {
                Lookup::Missing
            };
        }
        outer = ancestor.parent();
    }
    Lookup::Missing
}

fn may_hold_fields(ty: &FieldType) -> bool {
    match ty {
        FieldType::Any | FieldType::Object | FieldType::Array | FieldType::Map => true,
        FieldType::Union(members) => members.iter().any(may_hold_fields),
        _ => false,
    }
}

/// `what: a, b, c`, cut after 30.
fn listed(what: &str, known: &[&str]) -> String {
    const MOST: usize = 30;
    let shown = known.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    match known.len() {
        0 => format!("{what}: none"),
        n if n > MOST => format!("{what}: {shown} and {} more", n - MOST),
        _ => format!("{what}: {shown}"),
    }
}

/// Adds "did you mean" where a known name is near.
fn suggest(diagnostic: Diagnostic, given: &str, known: &[&str]) -> Diagnostic {
    // below 0.6 less than two thirds of the letters agree, and the guess is a riddle
    let near = |name: &&&str| strsim::normalized_damerau_levenshtein(given, name) >= 0.6;
    let score = |name: &&str| (strsim::normalized_damerau_levenshtein(given, name) * 1000.0) as u32;
    match known.iter().filter(near).max_by_key(|name| score(name)) {
        Some(name) => diagnostic.help(format!("did you mean `{name}`?")),
        None => diagnostic,
    }
}
