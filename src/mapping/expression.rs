//! Expressions: minijinja over one record.
//!
//! Variables are the record's top-level fields, null where the record has none of that name; `record["any name"]`
//! reaches names that are no identifiers. Undefined values may not be used (`address.stret` with a typo fails the
//! record), and a limit on steps stops what would run for ever. Whole numbers up to 38 digits and fractions that a
//! float holds exactly are numbers; longer ones are text, so that no digit is lost.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use minijinja::value::{Value as Jinja, ValueKind};
use minijinja::{Environment, Expression, UndefinedBehavior};
use serde_json::{Map, Number, Value};

use super::{convert, number};
use crate::model::{FieldPath, Segment};

/// Steps that one expression may take for one record: some 100,000 operations, far more than a mapping needs.
const FUEL: u64 = 100_000;

/// The name under which an expression sees the whole record.
const RECORD: &str = "record";

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true); // gives errors their place
    environment
});

/// A compiled expression and what it uses.
#[derive(Debug)]
pub(super) struct CompiledExpression {
    expression: Expression<'static, 'static>,
    /// Top-level fields that it sees.
    roots: BTreeSet<String>,
    /// What it uses of them, as far as its text tells.
    uses: Vec<FieldPath>,
    /// Whether it uses `record` in another way than `record["name"]`, and must be given all of it.
    whole_record: bool,
}

/// Why an expression does not compile, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// In minijinja's words.
    pub why: String,
    /// Bytes of the expression.
    pub range: Option<Range<usize>>,
}

impl CompiledExpression {
    pub(super) fn new(text: &str) -> Result<Self, SyntaxError> {
        let expression = ENVIRONMENT
            .compile_expression_owned(text.to_owned())
            .map_err(|error| SyntaxError { why: plain(&error), range: error.range() })?;
        let mut uses = Vec::new();
        let mut whole_record = false;
        let globals: BTreeSet<&str> = ENVIRONMENT.globals().map(|(name, _)| name).collect();
        let mut names: Vec<_> = expression.undeclared_variables(true).into_iter().collect();
        names.sort();
        for name in names {
            let mut parts = name.split('.');
            let root = parts.next().unwrap_or_default();
            if root == RECORD {
                let (named, all) = named_fields(text);
                uses.extend(named.into_iter().map(FieldPath::top));
                // `record.name` is told apart from `record["name"]` by the dot
                let dotted: Vec<_> = parts.map(|p| Segment::Name(p.to_owned())).collect();
                match FieldPath::from_segments(dotted) {
                    Some(path) => uses.push(path),
                    None => whole_record |= !all,
                }
            } else if !globals.contains(root) {
                let segments = name.split('.').map(|p| Segment::Name(p.to_owned())).collect();
                uses.extend(FieldPath::from_segments(segments));
            }
        }
        uses.sort();
        uses.dedup();
        let roots = uses.iter().map(|path| path.root().to_owned()).collect();
        Ok(Self { expression, roots, uses, whole_record })
    }

    /// The source fields that it uses.
    pub(super) fn uses(&self) -> &[FieldPath] {
        &self.uses
    }

    /// Whether it may look at any field.
    pub(super) fn sees_all(&self) -> bool {
        self.whole_record
    }

    /// Its value for a record; null for undefined and none.
    pub(super) fn evaluate(&self, record: &Map<String, Value>) -> Result<Value, String> {
        let field = |name: &str| (Jinja::from(name), record.get(name).map_or(Jinja::from(()), to_jinja));
        let whole: Jinja = if self.whole_record {
            Jinja::from_pairs(record.iter().map(|(name, value)| (name.as_str(), to_jinja(value))))
        } else {
            Jinja::from_pairs(self.roots.iter().map(|name| field(name)))
        };
        let context =
            Jinja::from_pairs(self.roots.iter().map(|name| field(name)).chain([(Jinja::from(RECORD), whole)]));
        let value = self.expression.eval(context).map_err(|error| plain(&error))?;
        from_jinja(&value)
    }

    /// Whether it holds for a record: true, a number other than zero, a list or object with content, or text. Text
    /// that is one of the words for false (`false`, `f`, `no`, `n`, `off`, `0`) or empty does not hold.
    pub(super) fn holds(&self, record: &Map<String, Value>) -> Result<bool, String> {
        Ok(match self.evaluate(record)? {
            Value::Null => false,
            Value::Bool(b) => b,
            Value::Number(n) => number::decimal(n.as_str()).is_none_or(|n| n != "0"),
            Value::String(text) => !text.trim().is_empty() && convert::truth(&text).unwrap_or(true),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
        })
    }
}

/// The names in `record["name"]` and `record['name']`, and whether every use of `record` is of that form.
fn named_fields(text: &str) -> (Vec<String>, bool) {
    let mut names = Vec::new();
    let mut all = true;
    let identifier = |c: char| c.is_alphanumeric() || c == '_';
    for (at, _) in text.match_indices(RECORD) {
        let rest = &text[at + RECORD.len()..];
        if text[..at].ends_with(|c| identifier(c) || c == '.') || rest.starts_with(identifier) {
            continue; // part of a longer name
        }
        let subscript = rest.trim_start().strip_prefix('[').map(str::trim_start);
        let literal = subscript.and_then(|s| {
            let quote = s.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (name, after) = s[1..].split_once(quote)?;
            (!name.contains('\\') && after.trim_start().starts_with(']')).then(|| name.to_owned())
        });
        match literal {
            Some(name) => names.push(name),
            None => all &= rest.trim_start().starts_with('.'),
        }
    }
    (names, all)
}

fn plain(error: &minijinja::Error) -> String {
    let words = error.detail().map_or_else(|| error.kind().to_string(), |d| format!("{}: {d}", error.kind()));
    words.chars().take(200).flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}

fn to_jinja(value: &Value) -> Jinja {
    match value {
        Value::Null => Jinja::from(()),
        Value::Bool(b) => Jinja::from(*b),
        Value::String(text) => Jinja::from(text.as_str()),
        Value::Array(items) => items.iter().map(to_jinja).collect(),
        Value::Object(map) => Jinja::from_pairs(map.iter().map(|(name, value)| (name.as_str(), to_jinja(value)))),
        Value::Number(n) => number_to_jinja(n.as_str()),
    }
}

fn number_to_jinja(text: &str) -> Jinja {
    if let Ok(n) = text.parse::<i64>() {
        return Jinja::from(n);
    }
    let exact = number::decimal(text).unwrap_or_else(|| text.to_owned());
    if let Ok(n) = exact.parse::<i128>() {
        return Jinja::from(n);
    }
    match exact.parse::<f64>() {
        // the float's shortest text is the number itself: nothing is lost
        Ok(f) if number::decimal(&format!("{f:e}")).is_some_and(|d| d == exact) => Jinja::from(f),
        _ => Jinja::from(exact),
    }
}

fn from_jinja(value: &Jinja) -> Result<Value, String> {
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => {
            let text = match i128::try_from(value.clone()) {
                Ok(n) if value.is_integer() => n.to_string(),
                _ => {
                    let f = f64::try_from(value.clone()).map_err(|e| plain(&e))?;
                    number::decimal(&format!("{f:e}")).ok_or_else(|| format!("the expression gives {f}"))?
                }
            };
            Value::Number(text.parse::<Number>().map_err(|e| e.to_string())?)
        }
        ValueKind::String => Value::String(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|e| plain(&e))?;
            Value::Array(items.map(|item| from_jinja(&item)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let keys = value.try_iter().map_err(|e| plain(&e))?;
            let pair = |key: Jinja| {
                let inner = value.get_item(&key).map_err(|e| plain(&e))?;
                Ok::<_, String>((key.as_str().map_or_else(|| key.to_string(), str::to_owned), from_jinja(&inner)?))
            };
            Value::Object(keys.map(pair).collect::<Result<_, _>>()?)
        }
        other => return Err(format!("the expression gives a value of kind {other}, which JSON has not")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_what_was_used() {
        let record = r#"{"a":"x","n":1234567890123456789012345678901234567890,"f":0.1,"d":1.23456789012345678901,"flag":"false",
            "address":{"street":"S","city":"C","zip":null},"list":[{"x":1},{"x":2}],"we.ird":"w","nothing":null}"#;
        let record: Map<String, Value> = serde_json::from_str(record).unwrap();
        let expressions = [
            "a",
            "n",
            "f",
            "d",
            "f + 1",
            "7 * 6",
            "missing",
            "nothing",
            "a if f > 0 else none",
            "address.street ~ ', ' ~ address.city",
            "address.stret ~ 'x'",
            "record[\"we.ird\"] ~ a",
            "record.a",
            "record|length",
            "a|upper",
            "list|length",
            "{'k': [a, true]}",
            "1 / 0",
            "range(100000)|list|length + range(100000)|list|length",
            "a ~",
            "a.upper()",
        ];
        let text: String = expressions
            .iter()
            .map(|text| match CompiledExpression::new(text) {
                Err(error) => format!("{text} -> {} at {:?}\n", error.why, error.range),
                Ok(e) => {
                    let uses: Vec<_> = e.uses().iter().map(FieldPath::to_string).collect();
                    let value = e.evaluate(&record).map_or_else(|why| format!("fails: {why}"), |v| v.to_string());
                    format!("{text} -> {value} (uses {})\n", uses.join(", "))
                }
            })
            .collect();
        insta::assert_snapshot!(text, @r#"
        a -> "x" (uses a)
        n -> "1234567890123456789012345678901234567890" (uses n)
        f -> 0.1 (uses f)
        d -> "1.23456789012345678901" (uses d)
        f + 1 -> 1.1 (uses f)
        7 * 6 -> 42 (uses )
        missing -> null (uses missing)
        nothing -> null (uses nothing)
        a if f > 0 else none -> "x" (uses a, f)
        address.street ~ ', ' ~ address.city -> "S, C" (uses address.city, address.street)
        address.stret ~ 'x' -> fails: undefined value: `address.stret` is undefined (uses address.stret)
        record["we.ird"] ~ a -> "wx" (uses a, "we.ird")
        record.a -> "x" (uses a)
        record|length -> 9 (uses )
        a|upper -> "X" (uses a)
        list|length -> 2 (uses list)
        {'k': [a, true]} -> {"k":["x",true]} (uses a)
        1 / 0 -> fails: invalid operation: unable to calculate 1 / 0 (uses )
        range(100000)|list|length + range(100000)|list|length -> 200000 (uses )
        a ~ -> syntax error: unexpected end of input, expected expression at Some(2..3)
        a.upper() -> fails: unknown method: string has no method named upper (uses a.upper)
        "#);
        let held: Vec<_> = ["flag", "a", "nothing", "missing", "f", "0", "''", "'no'", "list", "address.zip", "[]"]
            .iter()
            .map(|text| format!("{text} {}", CompiledExpression::new(text).unwrap().holds(&record).unwrap()))
            .collect();
        insta::assert_snapshot!(held.join(", "), @"flag false, a true, nothing false, missing false, f true, 0 false, '' false, 'no' false, list true, address.zip false, [] false");
    }
}
