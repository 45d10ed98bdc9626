//! Which source fields a mapping expression reads, with the place of every name: token by token, never by substring.
//!
//! A use is a chain such as `address.city`, `lines[0].sku` or `record["odd name"].x`. The root of a chain counts as a
//! field only if minijinja agrees that it is a variable, so filters, tests and functions are none.

use std::collections::HashSet;
use std::ops::Range;

use crate::model::{FieldPath, Segment};

/// The variable that holds the whole record, for names that are no identifiers.
const RECORD: &str = "record";

/// One field that an expression reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    /// Which, as far as the expression says it; `[0]` counts as "every item".
    pub path: FieldPath,
    /// Where each segment of `path` is written: for a name its own bytes or those of its `["…"]`.
    pub spans: Vec<Range<usize>>,
    /// Whether the path begins behind `record`.
    pub behind_record: bool,
}

/// The fields an expression reads, in its order; empty if it does not compile.
pub(crate) fn uses(expression: &str) -> Vec<Use> {
    let Some(variables) = variables(expression) else { return Vec::new() };
    let tokens = tokens(expression);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let after_dot_or_pipe = at > 0 && matches!(tokens[at - 1].kind, Kind::Punct('.' | '|'));
        let keyword_argument =
            matches!(kinds(&tokens, at + 1), (Some(Kind::Punct('=')), next) if next != Some(&Kind::Punct('=')));
        match &tokens[at].kind {
            // A name before `(` is a function.
            Kind::Name(name)
                if !after_dot_or_pipe
                    && !keyword_argument
                    && kinds(&tokens, at + 1).0 != Some(&Kind::Punct('('))
                    && variables.contains(name) =>
            {
                at = chain(&tokens, at, &mut found);
            }
            _ => at += 1,
        }
    }
    found
}

/// The variables of an expression that are neither local nor minijinja's own (`range`); `None` if it does not compile.
pub(crate) fn variables(expression: &str) -> Option<HashSet<String>> {
    let environment = minijinja::Environment::new();
    let mut variables = environment.compile_expression(expression).ok()?.undeclared_variables(false);
    variables.retain(|name| !environment.globals().any(|(global, _)| global == name));
    Some(variables)
}

/// Whether a name can stand in an expression without quotes.
pub(crate) fn is_identifier(name: &str) -> bool {
    const TAKEN: &[&str] = &[
        "and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None", "loop", "self",
        RECORD,
    ];
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !TAKEN.contains(&name)
        && !minijinja::Environment::new().globals().any(|(global, _)| global == name)
}

fn kinds(tokens: &[Token], at: usize) -> (Option<&Kind>, Option<&Kind>) {
    (tokens.get(at).map(|t| &t.kind), tokens.get(at + 1).map(|t| &t.kind))
}

/// Reads the chain that begins at a name; returns the index behind it.
fn chain(tokens: &[Token], start: usize, into: &mut Vec<Use>) -> usize {
    let mut segments = Vec::new();
    let mut spans = Vec::new();
    let mut behind_record = false;
    if let Kind::Name(name) = &tokens[start].kind {
        if name == RECORD {
            behind_record = true;
        } else {
            segments.push(Segment::Name(name.clone()));
            spans.push(tokens[start].span.clone());
        }
    }
    let mut at = start + 1;
    loop {
        let span_of = |from: usize, to: usize| tokens[from].span.start..tokens[to].span.end;
        match (kinds(tokens, at), tokens.get(at + 2).map(|t| &t.kind)) {
            ((Some(Kind::Punct('.')), Some(Kind::Name(name))), _) => {
                segments.push(Segment::Name(name.clone()));
                // With the dot: it goes when the name needs quotes.
                spans.push(span_of(at, at + 1));
                at += 2;
            }
            ((Some(Kind::Punct('[')), Some(Kind::Text(name))), Some(Kind::Punct(']'))) => {
                segments.push(Segment::Name(name.clone()));
                spans.push(span_of(at, at + 2));
                at += 3;
            }
            ((Some(Kind::Punct('[')), Some(Kind::Number)), Some(Kind::Punct(']'))) => {
                segments.push(Segment::Items);
                spans.push(span_of(at, at + 2));
                at += 3;
            }
            _ => break,
        }
    }
    if let Some(path) = FieldPath::from_segments(segments) {
        into.push(Use { path, spans, behind_record });
    }
    at
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Name(String),
    Text(String),
    Number,
    Punct(char),
}

#[derive(Debug)]
struct Token {
    kind: Kind,
    span: Range<usize>,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let run = |ok: fn(char) -> bool| rest.find(|c| !ok(c)).unwrap_or(rest.len());
        let (kind, length) = if c.is_whitespace() {
            (None, c.len_utf8())
        } else if c.is_ascii_digit() {
            (Some(Kind::Number), run(|c| c.is_ascii_alphanumeric() || c == '_'))
        } else if c.is_alphabetic() || c == '_' {
            let length = run(|c| c.is_alphanumeric() || c == '_');
            (Some(Kind::Name(rest[..length].to_owned())), length)
        } else if c == '"' || c == '\'' {
            let (value, length) = quoted(rest, c);
            (Some(Kind::Text(value)), length)
        } else {
            (Some(Kind::Punct(c)), c.len_utf8())
        };
        if let Some(kind) = kind {
            tokens.push(Token { kind, span: at..at + length });
        }
        at += length;
    }
    tokens
}

/// The value of a quoted text and its length with quotes.
fn quoted(rest: &str, quote: char) -> (String, usize) {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return (value, at + 1),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, c)) => value.push(c),
                None => {}
            },
            c => value.push(c),
        }
    }
    (value, rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(expression: &str) -> String {
        uses(expression).iter().map(|u| u.path.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_fields_count() {
        assert_eq!(read("address.street ~ \", \" ~ address.city"), "address.street address.city");
        assert_eq!(read("name|upper ~ 'name' ~ other.name"), "name other.name");
        assert_eq!(read("record[\"odd name\"].x if is_deleted else record.y"), "odd name.x is_deleted y");
        assert_eq!(read("lines[0].sku is defined and qty > 1.5"), "lines[].sku qty");
        assert_eq!(read("range(n)|join(d=sep)"), "n sep");
        assert_eq!(read("range ~ record.range"), "range");
        assert!(is_identifier("state") && !is_identifier("range") && !is_identifier("a b"));
        assert_eq!(read("not an expression ("), "");
    }
}
