//! Edits of single entries of a spec: one key of a map gets another value, comes or goes. Nothing else changes.
//!
//! Every edit is tried in the plainest form first and read back: only a text that says exactly what it must is taken.

use std::ops::Range;

use serde_json::{Map, Value};
use serde_yaml::granit_parser::{Event, Parser, StructureStyle};

use super::yaml::{double, line_ending, read};
use crate::spec::lock;

/// The text with another value at a place in its maps, or without the entry; `None` if it cannot be written so that the file
/// says that and no more.
pub(crate) fn set(text: &str, at: &[&str], value: Option<&Value>) -> Option<String> {
    let mut expected = read(text).ok()?;
    if value_at(&expected, at) == value {
        return Some(text.to_owned());
    }
    put(&mut expected, at, value)?;
    let says = |edited: &String| read(edited).as_ref() == Ok(&expected);
    let places = places(text);
    let found = places.iter().find(|place| place.at == at);
    match (found, value) {
        (Some(place), None) => [without_lines(text, place), without_part(text, place)].into_iter().flatten().find(says),
        (None, None) => Some(text.to_owned()),
        (Some(place), Some(value)) => {
            let forms = || [written(value, false), written(value, true)].into_iter();
            let in_place = forms().filter_map(|new| Some(splice(text, place.value.clone()?, &new)));
            let lines = forms().filter_map(|new| {
                let lines = place.lines(text)?;
                let indent = " ".repeat(place.key.start - lines.start);
                let key = &text[place.key.clone()];
                Some(splice(text, lines, &format!("{indent}{key}: {new}{}", line_ending(text))))
            });
            in_place.chain(lines).find(says)
        }
        (None, Some(value)) => {
            let above = (0..at.len()).rev().find(|n| *n == 0 || places.iter().any(|place| place.at == at[..*n]))?;
            let inner = at[above + 1..]
                .iter()
                .rev()
                .fold(value.clone(), |value, key| Value::Object(Map::from_iter([((*key).to_owned(), value)])));
            let parent = places.iter().find(|place| place.at == at[..above]);
            let entries =
                [false, true].map(|quoted| format!("{}: {}", scalar(at[above], quoted), written(&inner, quoted)));
            entries.iter().flat_map(|entry| added(text, parent, &places, entry)).find(says)
        }
    }
}

/// The text with an entry of its outermost map as it stands in another text, comments included, or without it if that has none.
pub(crate) fn take_over(text: &str, key: &str, from: &str) -> Option<String> {
    let (mut expected, other) = (read(text).ok()?, read(from).ok()?);
    let value = other.get(key);
    if expected.get(key) == value {
        return Some(text.to_owned());
    }
    put(&mut expected, &[key], value)?;
    let says = |edited: &String| read(edited).as_ref() == Ok(&expected);
    let whole =
        |text: &str| places(text).into_iter().find(|place| place.at == [key]).and_then(|place| place.lines(text));
    let new = whole(from).map(|lines| from[lines].replace("\r\n", "\n").replace('\n', line_ending(text)));
    let taken = match (whole(text), new) {
        (Some(lines), Some(new)) => Some(splice(text, lines, &new)),
        (None, Some(new)) => Some(format!("{}{new}", ended(text))),
        _ => None,
    };
    taken.filter(says).or_else(|| set(text, &[key], value))
}

/// An entry of a map.
#[derive(Debug)]
struct Place {
    /// The keys that lead to it.
    at: Vec<String>,
    /// The bytes of its key.
    key: Range<usize>,
    /// The bytes of its value, where they are told: of scalars and of what stands in braces or brackets.
    value: Option<Range<usize>>,
    /// Whether its value is a map in braces.
    braces: bool,
}

impl Place {
    /// The lines of the entry, those of comments within it included; `None` if it shares its first line with what is before it.
    fn lines(&self, text: &str) -> Option<Range<usize>> {
        let start = text[..self.key.start].rfind('\n').map_or(0, |at| at + 1);
        let indent = self.key.start - start;
        if !text[start..self.key.start].chars().all(|c| c == ' ') {
            return None;
        }
        let (mut end, mut at) = (start, start);
        for (nth, line) in text[start..].split_inclusive('\n').enumerate() {
            let content = line.trim_start_matches(' ');
            let depth = line.len() - content.len();
            let empty = content.trim().is_empty() || content.starts_with('#');
            // a list may stand as deep as its key
            let goes_on = depth > indent || (depth == indent && content.starts_with("- "));
            if nth > 0 && !empty && !goes_on {
                break;
            }
            at += line.len();
            if nth == 0 || (!empty && goes_on) {
                end = at;
            }
        }
        Some(start..end)
    }
}

/// Every entry of every map that is reached through maps alone.
fn places(text: &str) -> Vec<Place> {
    let base = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut parser = Parser::new_from_str(&text[base..]);
    let mut found: Vec<Place> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    while let Some(Ok((event, span))) = parser.next_event() {
        let span = span.byte_range().map(|range| range.start + base..range.end + base).unwrap_or_default();
        match event {
            Event::Scalar(value, ..) => {
                if let Some(Open::Map { waiting: waiting @ None, at, .. }) = open.last_mut() {
                    let at: Vec<String> = at.iter().cloned().chain([value.into_owned()]).collect();
                    found.push(Place { at, key: quotes(text, span), value: None, braces: false });
                    *waiting = Some(found.len() - 1);
                } else {
                    close(&mut open, &mut found, Some(quotes(text, span)), false);
                }
            }
            Event::Alias(..) => close(&mut open, &mut found, Some(span), false),
            Event::MappingStart(style, ..) => {
                let at = match open.last() {
                    None => Vec::new(),
                    Some(Open::Map { waiting: Some(entry), .. }) => found[*entry].at.clone(),
                    // behind a list no place is told
                    _ => vec![String::new()],
                };
                open.push(Open::Map { at, waiting: None, flow: (style == StructureStyle::Flow).then_some(span.start) });
            }
            Event::SequenceStart(style, ..) => {
                open.push(Open::List { flow: (style == StructureStyle::Flow).then_some(span.start) });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let (start, braces) = match open.pop() {
                    Some(Open::Map { flow, .. }) => (flow, true),
                    Some(Open::List { flow }) => (flow, false),
                    None => (None, false),
                };
                close(&mut open, &mut found, start.map(|start| start..span.end), braces);
            }
            Event::StreamEnd => break,
            _ => {}
        }
    }
    found
}

enum Open {
    Map { at: Vec<String>, waiting: Option<usize>, flow: Option<usize> },
    List { flow: Option<usize> },
}

/// A value ended.
fn close(open: &mut [Open], found: &mut [Place], value: Option<Range<usize>>, braces: bool) {
    if let Some(Open::Map { waiting, .. }) = open.last_mut()
        && let Some(entry) = waiting.take()
    {
        found[entry].braces = braces && value.is_some();
        found[entry].value = value;
    }
}

/// A scalar's bytes with its quotes.
fn quotes(text: &str, span: Range<usize>) -> Range<usize> {
    let quote = |at: usize| text.as_bytes().get(at).filter(|b| matches!(b, b'"' | b'\''));
    let trimmed = span.start..span.start + text.get(span.clone()).unwrap_or_default().trim_end().len();
    match span.start.checked_sub(1).and_then(quote) {
        Some(open) if quote(span.end) == Some(open) && quote(span.start) != Some(open) => span.start - 1..span.end + 1,
        _ => trimmed,
    }
}

fn value_at<'v>(value: &'v Value, at: &[&str]) -> Option<&'v Value> {
    at.iter().try_fold(value, |value, key| value.get(*key))
}

/// Makes the same edit of the value; `None` where something else than a map is in the way.
fn put(value: &mut Value, at: &[&str], new: Option<&Value>) -> Option<()> {
    let (last, parents) = at.split_last()?;
    let mut here = value;
    for key in parents {
        if here.is_null() {
            *here = Value::Object(Map::new());
        }
        here = here.as_object_mut()?.entry(*key).or_insert(Value::Null);
    }
    if here.is_null() {
        *here = Value::Object(Map::new());
    }
    let map = here.as_object_mut()?;
    match new {
        Some(new) => drop(map.insert((*last).to_owned(), new.clone())),
        None => drop(map.remove(*last)),
    }
    Some(())
}

fn splice(text: &str, range: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..range.start], &text[range.end..])
}

fn ended(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { line_ending(text) };
    format!("{text}{end}")
}

fn without_lines(text: &str, place: &Place) -> Option<String> {
    Some(splice(text, place.lines(text)?, ""))
}

/// Without an entry within braces, and the comma that parts it from its neighbour.
fn without_part(text: &str, place: &Place) -> Option<String> {
    let range = place.key.start..place.value.clone()?.end;
    let after = &text[range.end..];
    if let Some(rest) = after.trim_start().strip_prefix(',') {
        let end = text.len() - rest.trim_start_matches(' ').len();
        return Some(splice(text, range.start..end, ""));
    }
    let before = text[..range.start].trim_end();
    let start = before.strip_suffix(',').unwrap_or(before).len();
    Some(splice(text, start..range.end, ""))
}

/// The text with one entry more below `parent`, or at its end; several forms.
fn added(text: &str, parent: Option<&Place>, places: &[Place], entry: &str) -> Vec<String> {
    let ending = line_ending(text);
    let Some(parent) = parent else { return vec![format!("{}{entry}{ending}", ended(text))] };
    if let Some(braces) = parent.value.clone().filter(|_| parent.braces) {
        let inner = &text[braces.start + 1..braces.end.saturating_sub(1)];
        let kept = inner.trim_end().trim_end_matches(',');
        let comma = if kept.trim().is_empty() { "" } else { ", " };
        return vec![splice(text, braces, &format!("{{{kept}{comma}{entry}}}"))];
    }
    let children =
        places.iter().filter(|place| place.at.len() == parent.at.len() + 1 && place.at.starts_with(&parent.at));
    let lines = children.filter_map(|child| Some((child.key.start - child.lines(text)?.start, child.lines(text)?.end)));
    let last = lines.max_by_key(|(_, end)| *end);
    let below = last.map(|(indent, end)| {
        let before = ended(&text[..end]);
        format!("{before}{}{entry}{ending}{}", " ".repeat(indent), &text[end..])
    });
    // a key without a value
    let empty = parent.value.clone().map(|value| {
        let colon = text[parent.key.end..].find(':').map_or(parent.key.end, |at| parent.key.end + at + 1);
        splice(text, colon..value.end.max(colon), &format!(" {{{entry}}}"))
    });
    below.into_iter().chain(empty).collect()
}

/// A value on one line.
fn written(value: &Value, quoted: bool) -> String {
    match value {
        Value::String(text) => scalar(text, quoted),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| written(item, quoted)).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{}: {}", scalar(key, quoted), written(value, quoted)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A text as people write it, where that is clear.
fn scalar(text: &str, quoted: bool) -> String {
    let clear = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-./_".contains(c))
        && text.parse::<f64>().is_err();
    match quoted {
        true => double(text),
        false if clear => text.to_owned(),
        false => lock::scalar(text, true),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SPEC: &str = "\
# who: sales
kind: connection
schedule: {every: 6h}   # nightly
streams:
  # the big one
  accounts: {mode: incremental_append, cursor: updated_at}
  contacts:

  orders:
    key: [id]   # ours
    mode: full_refresh_append

airbyte: {status: active, prefix: 'x_'}
";

    fn diff(at: &[&str], value: &Value) -> String {
        let Some(after) = set(SPEC, at, Some(value).filter(|value| !value.is_null())) else {
            return "cannot be said".into();
        };
        let diff = similar::TextDiff::from_lines(SPEC, &after).unified_diff().context_radius(0).to_string();
        diff.lines().filter(|line| !line.starts_with("@@")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn one_entry_changes_and_no_other_byte() {
        let all = [
            diff(&["schedule"], &json!({"every": "1h"})),
            diff(&["schedule"], &json!("manual")),
            diff(&["schedule"], &Value::Null),
            diff(&["airbyte", "prefix"], &json!("y: #")),
            diff(&["airbyte", "status"], &Value::Null),
            diff(&["airbyte", "prefix"], &Value::Null),
            diff(&["airbyte", "passthrough", "size"], &json!(5)),
            diff(&["pin"], &json!({"until": "2026-12-31", "version": 3, "by": "Pat <pat@example.org>"})),
            diff(&["streams", "accounts", "cursor"], &json!("changed_at")),
            diff(&["streams", "contacts", "key"], &json!(["id", "no"])),
            diff(&["streams", "orders", "key"], &json!(["no"])),
            diff(&["streams", "orders", "cursor"], &json!("at")),
            diff(&["streams", "orders"], &Value::Null),
            diff(&["streams", "people"], &json!({"mode": "full_refresh_append"})),
            diff(&["kind", "inside"], &json!(1)),
            diff(&["nothing"], &Value::Null),
        ];
        insta::assert_snapshot!(all.join("\n=\n"), @r"
        -schedule: {every: 6h}   # nightly
        +schedule: {every: 1h}   # nightly
        =
        -schedule: {every: 6h}   # nightly
        +schedule: manual   # nightly
        =
        -schedule: {every: 6h}   # nightly
        =
        -airbyte: {status: active, prefix: 'x_'}
        +airbyte: {status: active, prefix: 'y: #'}
        =
        -airbyte: {status: active, prefix: 'x_'}
        +airbyte: {prefix: 'x_'}
        =
        -airbyte: {status: active, prefix: 'x_'}
        +airbyte: {status: active}
        =
        -airbyte: {status: active, prefix: 'x_'}
        +airbyte: {status: active, prefix: 'x_', passthrough: {size: 5}}
        =
        +pin: {by: 'Pat <pat@example.org>', until: 2026-12-31, version: 3}
        =
        -  accounts: {mode: incremental_append, cursor: updated_at}
        +  accounts: {mode: incremental_append, cursor: changed_at}
        =
        -  contacts:
        +  contacts: {key: [id, 'no']}
        =
        -    key: [id]   # ours
        +    key: ['no']   # ours
        =
        +    cursor: at
        =
        -  orders:
        -    key: [id]   # ours
        -    mode: full_refresh_append
        =
        +  people: {mode: full_refresh_append}
        =
        cannot be said
        =
        ");
    }

    #[test]
    fn an_entry_of_another_text_comes_with_its_comments() {
        let old = "kind: connection\nstreams:\n  # only these\n  - accounts\n\n  # and\n  - orders # yes\ndrift: {}\n";
        insta::assert_snapshot!(take_over(SPEC, "streams", old).unwrap(), @r"
        # who: sales
        kind: connection
        schedule: {every: 6h}   # nightly
        streams:
          # only these
          - accounts

          # and
          - orders # yes

        airbyte: {status: active, prefix: 'x_'}
        ");
        assert_eq!(take_over(old, "streams", SPEC).unwrap().matches("# ours").count(), 1);
        assert_eq!(take_over(old, "streams", "kind: connection\n").unwrap(), "kind: connection\ndrift: {}\n");
        assert_eq!(take_over("kind: connection", "streams", old).unwrap().lines().count(), 7);
    }
}
