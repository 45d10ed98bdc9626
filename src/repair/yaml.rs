//! Edits of people's YAML: the bytes of single scalars are replaced, whole entries removed, and nothing else changes.
//!
//! Every edit comes with the place of its value in the document, so that the text after can be read and compared with
//! what it must say. An edit that does not hold is refused whole.

use std::ops::Range;

use serde_json::Value;

use crate::model::{FieldPath, StreamName};

/// A step into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a map.
    Key(String),
    /// Into a list.
    Item(usize),
}

/// One scalar that gets another text.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// The node's bytes, as the reader told them.
    pub span: Range<usize>,
    /// Its text now.
    pub old: String,
    /// Its new text.
    pub new: String,
    /// The node's bytes edited in place, where that is possible; tried before the scalar is written anew.
    pub in_place: Option<String>,
    /// Where it is in the document; several where an anchor is used again.
    pub at: Vec<Vec<Step>>,
    /// Whether it is the last step itself, a key of a map, and not what stands there.
    pub is_key: bool,
}

/// One map entry that goes.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where its key begins.
    pub start: usize,
    /// Where it is in the document.
    pub at: Vec<Step>,
}

/// The content as a value, or why it cannot be read. Only for comparing before with after: numbers lose their form.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
    serde_yaml::from_str_with_options(text, options).map_err(|e| e.to_string())
}

/// The line ending that all lines of a text have: `\r\n` if every line ends so, else `\n`.
pub(super) fn line_ending(text: &str) -> &'static str {
    let lines = text.matches('\n').count();
    if lines > 0 && text.matches("\r\n").count() == lines { "\r\n" } else { "\n" }
}

/// The text with all edits, or `None` if they cannot be made so that the file says exactly what it must.
pub(super) fn edit(text: &str, scalars: &[Scalar], entries: &[Entry]) -> Option<String> {
    let mut expected = read(text).ok()?;
    for scalar in scalars.iter().filter(|scalar| !scalar.is_key) {
        for at in &scalar.at {
            *seek(&mut expected, at)? = Value::String(scalar.new.clone());
        }
    }
    for entry in entries {
        let (last, parents) = entry.at.split_last()?;
        let (Value::Object(map), Step::Key(key)) = (seek(&mut expected, parents)?, last) else { return None };
        map.remove(key)?;
    }
    for scalar in scalars.iter().filter(|scalar| scalar.is_key) {
        for (last, parents) in scalar.at.iter().filter_map(|at| at.split_last()) {
            let (Value::Object(map), Step::Key(key)) = (seek(&mut expected, parents)?, last) else { return None };
            let value = map.remove(key)?;
            if map.insert(scalar.new.clone(), value).is_some() {
                return None;
            }
        }
    }
    // Plainest writing first; the next one only if the file would not say what it must.
    (0..3).find_map(|style| {
        let edited = splice(text, scalars, entries, style)?;
        (read(&edited).ok()? == expected && lines_hold(text, &edited, scalars, entries)).then_some(edited)
    })
}

fn seek<'v>(value: &'v mut Value, at: &[Step]) -> Option<&'v mut Value> {
    at.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key.as_str()),
        // A list of one may be written as the item alone.
        Step::Item(0) if value.is_string() => Some(value),
        Step::Item(item) => value.get_mut(item),
    })
}

fn splice(text: &str, scalars: &[Scalar], entries: &[Entry], style: usize) -> Option<String> {
    let mut pieces: Vec<(Range<usize>, String)> = Vec::new();
    for entry in entries {
        pieces.push((entry_lines(text, entry.start)?, String::new()));
    }
    for scalar in scalars {
        let span = exact(text, scalar)?;
        let raw = &text[span.clone()];
        let in_place = scalar.in_place.clone().filter(|_| style == 0);
        let written = || if is_block(text, span.start) { None } else { write(raw, &scalar.new, style) };
        pieces.push((span.clone(), in_place.or_else(written)?));
    }
    pieces.sort_by_key(|(range, _)| range.start);
    pieces.dedup();
    if pieces.windows(2).any(|pair| pair[0].0.end > pair[1].0.start) {
        return None;
    }
    let mut out = String::new();
    let mut from = 0;
    for (range, new) in pieces {
        out.push_str(&text[from..range.start]);
        out.push_str(&new);
        from = range.end;
    }
    out.push_str(&text[from..]);
    Some(out)
}

/// The node's bytes with its quotes and without what follows it; `None` if they do not say the old text.
fn exact(text: &str, scalar: &Scalar) -> Option<Range<usize>> {
    let says = |range: &Range<usize>| {
        let raw = text.get(range.clone())?;
        let value: String =
            serde_yaml::from_str(&format!("- {raw}\n")).ok().and_then(|v: Vec<String>| v.into_iter().next())?;
        let same_path = || value.parse::<FieldPath>().ok().is_some_and(|path| scalar.old.parse() == Ok(path));
        let same_stream = || value.parse::<StreamName>().ok().is_some_and(|name| scalar.old.parse() == Ok(name));
        (value == scalar.old || same_path() || same_stream()).then_some(())
    };
    let Range { start, end } = scalar.span;
    let raw = text.get(start..end)?;
    if is_block(text, start) {
        return Some(start..end);
    }
    let trimmed = start..start + raw.trim_end().len();
    let quoted = start.checked_sub(1).map(|start| start..end + 1).filter(|_| !raw.starts_with(['"', '\'']));
    let quoted = quoted.filter(|range| text.get(range.clone()).is_some_and(|raw| raw.starts_with(['"', '\''])));
    quoted.into_iter().chain([trimmed]).find(|range| says(range).is_some())
}

/// Whether the node is the content of a block scalar, whose header (`|`, `>-`) ends the line before it.
fn is_block(text: &str, start: usize) -> bool {
    let before = text[..start].trim_end_matches([' ', '\n', '\r']);
    let header = before.rsplit('\n').next().unwrap_or(before);
    let header = header.split(" #").next().unwrap_or(header).trim_end();
    text[before.len()..start].contains('\n')
        && header.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+')).ends_with(['|', '>'])
}

/// Writes a scalar in the manner of the old one, in ever safer styles; `None` where that style cannot hold it.
fn write(old: &str, new: &str, style: usize) -> Option<String> {
    let single = || (!new.chars().any(char::is_control)).then(|| format!("'{}'", new.replace('\'', "''")));
    match (style, old.chars().next()) {
        (0, Some('\'')) => single(),
        (0, Some('"')) => Some(double(new)),
        (0, _) if is_plain(new) => Some(new.to_owned()),
        (0 | 1, _) => single().or_else(|| Some(double(new))),
        _ => Some(double(new)),
    }
}

pub(super) fn double(text: &str) -> String {
    // A JSON string is a YAML double-quoted scalar, but for characters that YAML must have escaped.
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether every YAML reader takes the text for exactly itself, also within `{}` and `[]`.
fn is_plain(text: &str) -> bool {
    const TAKEN: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' '))
        && !text.ends_with(' ')
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str())
}

/// The lines of a block entry whose key begins at `start`: its own and the deeper ones below it. `None` if the entry
/// shares its line with something before it, as within `{…}`.
fn entry_lines(text: &str, start: usize) -> Option<Range<usize>> {
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let indent = start - line_start;
    if !text[line_start..start].chars().all(|c| c == ' ') {
        return None;
    }
    let mut end = line_start;
    for (nth, line) in text[line_start..].split_inclusive('\n').enumerate() {
        let deep = line.len() - line.trim_start_matches(' ').len() > indent;
        if nth > 0 && (!deep || line.trim().is_empty() || line.trim_start().starts_with('#')) {
            break;
        }
        end += line.len();
    }
    Some(line_start..end)
}

/// Whether no more lines changed than planned: lines that no edit touches are there as they were, in order.
fn lines_hold(before: &str, after: &str, scalars: &[Scalar], entries: &[Entry]) -> bool {
    let mut touched: Vec<Range<usize>> = scalars.iter().map(|scalar| scalar.span.clone()).collect();
    touched.extend(entries.iter().filter_map(|entry| entry_lines(before, entry.start)));
    let mut kept = Vec::new();
    let mut at = 0;
    for line in before.split_inclusive('\n') {
        let range = at..at + line.len();
        at = range.end;
        if !touched.iter().any(|t| t.start < range.end && range.start < t.end.max(t.start + 1)) {
            kept.push(line);
        }
    }
    let mut lines = after.split_inclusive('\n');
    let in_order = kept.iter().all(|kept| lines.any(|line| line == *kept));
    in_order && after.split_inclusive('\n').count() <= before.split_inclusive('\n').count()
}
