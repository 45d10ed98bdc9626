//! From the tree to raw structs: every problem gets its place, and reading goes on behind it.
//!
//! Not serde: it stops at the first problem, and a spec with three typing errors would need three runs.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

use crate::diag::{Diagnostic, quoted};

use super::At;
use super::source::{Problems, Span};
use super::yaml::{Key, Node, Value};

/// A value that a spec may hold.
pub trait FromNode: Sized {
    /// Reads it; `None` after adding at least one problem.
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self>;

    /// What it is when its key is absent; `None` if the key is required.
    fn absent() -> Option<Self> {
        None
    }

    /// What to go on with after a problem inside it, so that the rest of the file is read too.
    fn broken() -> Option<Self> {
        None
    }
}

impl<T: FromNode> FromNode for Option<T> {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        T::read(node, to).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn broken() -> Option<Self> {
        Some(None)
    }
}

/// A word or text, as written.
pub type Text = At<String>;

impl<T> At<T> {
    /// Joins a value with its place.
    pub fn new(value: T, span: &Span) -> Self {
        Self { value, line: span.line, column: span.column, span: span.start as usize..span.end as usize }
    }

    /// The place.
    pub fn place(&self) -> Span {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { start: number(self.span.start), end: number(self.span.end), line: self.line, column: self.column }
    }

    /// Another value at the same place.
    pub fn with<U>(&self, value: U) -> At<U> {
        At { value, line: self.line, column: self.column, span: self.span.clone() }
    }
}

impl FromNode for Text {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => Some(At::new(text.clone(), &node.span)),
            _ => wrong_type(node, "a single value", to),
        }
    }
}

impl FromNode for bool {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => wrong_type(node, "`true` or `false`", to),
        }
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        match &node.value {
            Value::List(items) => Some(items.iter().filter_map(|item| T::read(item, to)).collect()),
            _ => wrong_type(node, "a list", to),
        }
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, Default)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T: FromNode> FromNode for OneOrMany<T> {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        match &node.value {
            Value::List(_) => Vec::read(node, to).map(Self),
            _ => T::read(node, to).map(|one| Self(vec![one])),
        }
    }
}

/// Names a person chose, each with a value, in the order of the file.
#[derive(Debug, Clone)]
pub struct Pairs<T>(pub Vec<(Text, T)>);

impl<T: FromNode> FromNode for Pairs<T> {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        let entries = map(node, "a map", to)?;
        let read =
            entries.iter().filter_map(|(key, value)| Some((At::new(key.text.clone(), &key.span), T::read(value, to)?)));
        Some(Self(read.collect()))
    }
}

/// A value with its place, for a check that only others can make.
#[derive(Debug, Clone)]
pub struct Placed<T>(pub At<T>);

impl<T: FromNode> FromNode for Placed<T> {
    fn read(node: &Node, to: &mut Problems<'_>) -> Option<Self> {
        T::read(node, to).map(|value| Self(At::new(value, &node.span)))
    }
}

/// Anything: read later, by what a connector says.
#[derive(Debug, Clone)]
pub struct Free(pub Node);

impl FromNode for Free {
    fn read(node: &Node, _: &mut Problems<'_>) -> Option<Self> {
        Some(Self(node.clone()))
    }
}

/// The entries of a map, or a problem that says what was expected.
pub fn map<'n>(node: &'n Node, expected: &str, to: &mut Problems<'_>) -> Option<&'n [(Key, Node)]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        _ => wrong_type(node, expected, to),
    }
}

/// Adds `expected …, found …`.
pub fn wrong_type<T>(node: &Node, expected: &str, to: &mut Problems<'_>) -> Option<T> {
    let found = node.describe();
    let d =
        Diagnostic::error("AAM-S009", format!("expected {expected}, found {found}")).label(format!("not {expected}"));
    let d = if node.is_null() { d.help("give it a value, or remove the key") } else { d };
    to.add(&node.span, d);
    None
}

/// Adds an unknown key with the nearest known one.
pub fn unknown_key(key: &Key, what: &str, known: &[&str], to: &mut Problems<'_>) {
    let d = Diagnostic::error("AAM-S008", format!("{what} has no key {}", quoted(&key.text))).label("unknown key");
    let d = match nearest(&key.text, known.iter().copied()) {
        Some(near) => d.help(format!("did you mean `{near}`?")),
        None => d.note(format!("known: {}", known.join(", "))),
    };
    to.add(&key.span, d);
}

/// Adds a missing key, placed at the beginning of what lacks it.
pub fn missing_key(node: &Node, what: &str, key: &str, to: &mut Problems<'_>) {
    let span = Span { end: node.span.start + 1, ..node.span };
    let d = Diagnostic::error("AAM-S010", format!("{what} needs the key `{key}`"))
        .label(format!("`{key}` is missing here"));
    to.add(&span, d);
}

/// The known word that a person most likely meant.
pub fn nearest<'w>(given: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // Longer than any name of ours: no typing error, and costly to compare.
    if given.len() > 100 {
        return None;
    }
    let given = given.to_lowercase();
    let rank = |word: &'w str| {
        let lower = word.to_lowercase();
        let distance = strsim::damerau_levenshtein(&given, &lower);
        let near = distance <= (lower.chars().count().max(given.chars().count()) / 3).max(1);
        let begins = given.len() >= 3 && lower.starts_with(&given);
        (near || begins).then_some((distance, word))
    };
    known.into_iter().filter_map(rank).min().map(|(_, word)| word)
}

/// Declares a raw struct once: the Rust type, how it is read, and (by schemars) its JSON Schema.
macro_rules! raw {
    ($(#[$meta:meta])* $name:ident = $what:literal { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }

        impl $crate::spec::read::FromNode for $name {
            fn read(node: &$crate::spec::yaml::Node, to: &mut $crate::spec::source::Problems<'_>) -> Option<Self> {
                use $crate::spec::read::{FromNode, map, missing_key, unknown_key};
                const KNOWN: &[&str] = &[$($crate::spec::read::bare(stringify!($field)),)*];
                let entries = map(node, concat!("a map (", $what, ")"), to)?;
                $(let mut $field: Option<Option<$ty>> = None;)*
                for (key, value) in entries {
                    match key.text.as_str() {
                        $(name if name == $crate::spec::read::bare(stringify!($field)) => {
                            $field = Some(<$ty as FromNode>::read(value, to).or_else(<$ty as FromNode>::broken));
                        })*
                        _ => unknown_key(key, $what, KNOWN, to),
                    }
                }
                $(let $field = $field.unwrap_or_else(|| {
                    let absent = <$ty as FromNode>::absent();
                    if absent.is_none() {
                        missing_key(node, $what, $crate::spec::read::bare(stringify!($field)), to);
                    }
                    absent
                });)*
                let raw = Self { $($field: $field?,)* };
                // `kind` and `description` are there for the schema and for people: that counts as a use.
                $(let _ = &raw.$field;)*
                Some(raw)
            }
        }
    };
}

/// Declares how the variants of an enum are written.
macro_rules! words {
    ($name:ty { $($word:literal => $variant:expr,)* }) => {
        impl $crate::spec::read::FromNode for $name {
            fn read(node: &$crate::spec::yaml::Node, to: &mut $crate::spec::source::Problems<'_>) -> Option<Self> {
                let text = $crate::spec::read::Text::read(node, to)?;
                match text.value.as_str() {
                    $($word => Some($variant),)*
                    _ => $crate::spec::read::not_a_choice(&text, &[$($word,)*], to),
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "enum": [$($word,)*]})
            }
        }
    };
}

pub(super) use {raw, words};

/// A field's name without Rust's `r#`.
pub const fn bare(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Adds a word that is none of the choices.
pub fn not_a_choice<T>(given: &Text, choices: &[&str], to: &mut Problems<'_>) -> Option<T> {
    let d = Diagnostic::error("AAM-S011", format!("{} is not one of the choices", quoted(&given.value)));
    let d = d.label(format!("expected {}", choices.join(", ")));
    let near = nearest(&given.value, choices.iter().copied());
    to.add(&given.place(), if let Some(near) = near { d.help(format!("did you mean `{near}`?")) } else { d });
    None
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

impl JsonSchema for Free {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Free".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object"})
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

impl<T: JsonSchema> JsonSchema for Pairs<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Pairs{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({"type": "object", "additionalProperties": value})
    }
}
