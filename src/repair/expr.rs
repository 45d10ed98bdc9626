//! Renames fields inside a mapping expression, token by token.

use crate::drift::{Use, is_identifier, uses, variables};
use crate::model::{FieldPath, Segment};

/// The expression after all renames (sorted outermost first), or `None` if it cannot be written or checked. An
/// expression that uses none of them comes back as it was.
pub(super) fn rename(expression: &str, renames: &[(FieldPath, FieldPath)]) -> Option<String> {
    let mut text = expression.to_owned();
    for (from, to) in renames {
        text = one(&text, from, to)?;
    }
    Some(text)
}

fn one(text: &str, from: &FieldPath, to: &FieldPath) -> Option<String> {
    let depth = from.segments().len() - 1;
    let Some(Segment::Name(new)) = to.segments().last() else { return None };
    let before = uses(text);
    let mut out = text.to_owned();
    for used in before.iter().rev().filter(|used| used.path.is_within(from)) {
        let span = used.spans.get(depth)?.clone();
        let piece = written(new, &text[span.clone()], used, depth);
        out.replace_range(span, &piece);
    }
    let expected: Vec<FieldPath> =
        before.iter().map(|used| used.path.rebased(from, to).unwrap_or_else(|| used.path.clone())).collect();
    let after: Vec<FieldPath> = uses(&out).into_iter().map(|used| used.path).collect();
    (after == expected && (text.is_empty() || variables(&out).is_some() || out == text)).then_some(out)
}

/// A name in the place of another one, in the same form where it can be.
fn written(new: &str, old: &str, used: &Use, depth: usize) -> String {
    let bracket = |quote: char| {
        let mut out = String::from("[");
        out.push(quote);
        for c in new.chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\\' => out.push_str("\\\\"),
                c if c == quote => out.extend(['\\', c]),
                c => out.push(c),
            }
        }
        out.push(quote);
        out.push(']');
        out
    };
    let quote = if old.contains('\'') { '\'' } else { '"' };
    match old.chars().next() {
        Some('[') => bracket(quote),
        Some('.') if is_identifier(new) => format!(".{new}"),
        Some('.') => bracket(quote),
        _ if is_identifier(new) => new.to_owned(),
        _ if depth == 0 && !used.behind_record => format!("record{}", bracket(quote)),
        _ => bracket(quote),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(expression: &str, from: &str, to: &str) -> String {
        rename(expression, &[(from.parse().unwrap(), to.parse().unwrap())]).unwrap_or_else(|| "refused".to_owned())
    }

    #[test]
    fn whole_tokens_change_and_nothing_else() {
        let lines = [
            renamed("name ~ surname ~ 'name' ~ other.name", "name", "full_name"),
            renamed("address.street  ~  address . city", "address.city", "address.town"),
            renamed("address.street", "address", "addr"),
            renamed("record[\"state\"] == 'x' and record.state", "state", "billing_state"),
            renamed("state|upper", "state", "odd name"),
            renamed("a.state", "a.state", "a.\"it's \\\"odd\\\"\""),
            renamed("lines[0].sku", "lines[].sku", "lines[].article"),
            renamed("other", "state", "x"),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
full_name ~ surname ~ 'name' ~ other.name
address.street  ~  address .town
addr.street
record["billing_state"] == 'x' and record.billing_state
record["odd name"]|upper
a["it's \"odd\""]
lines[0].article
other
"#);
    }
}
