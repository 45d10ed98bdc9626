//! The edit of a connection's spec: renamed streams, and keys, cursors and field lists that name a renamed field.

use std::ops::Range;

use serde_yaml::granit_parser::{Event, Parser};

use super::mapping::StreamEdits;
use super::streams::NewName;
use super::yaml::{self, Scalar, Step};
use crate::drift::{is_stream, renamed};
use crate::model::{FieldPath, FileEdit, StreamName};
use crate::spec::{Connection, Selection};

/// Adds the edit of the spec, if one is needed, and notes for what a person must do.
pub(super) fn edit(
    connection: &Connection,
    text: &str,
    by_stream: &[(StreamName, StreamEdits)],
    edits: &mut Vec<FileEdit>,
    notes: &mut Vec<String>,
) {
    let mut scalars = stream_names(connection, text, by_stream, notes);
    for (at, span, value) in scalars_of(text) {
        let [Step::Key(top), Step::Key(stream), rest @ ..] = at.as_slice() else { continue };
        let Some(change) = named(stream, by_stream).filter(|_| top == "streams") else { continue };
        let Some((path, what)) = chosen(rest, &value) else { continue };
        if change.removed.contains(&path) {
            notes.push(format!(
                "{what} of stream {stream} in {} names {path}, which is gone: choose another",
                connection.path
            ));
        }
        let new = renamed(&path, &change.renames);
        if new != path {
            // Field lists hold bare names; keys and cursors hold paths.
            let new = if what == "fields" { new.root().to_owned() } else { new.to_string() };
            scalars.push(Scalar { span, old: value, new, in_place: None, at: vec![at.clone()], is_key: false });
        }
    }
    if scalars.is_empty() {
        return;
    }
    match yaml::edit(text, &scalars, &[]) {
        Some(after) => {
            let (path, before) = (connection.path.clone(), Some(text.to_owned()));
            edits.push(FileEdit { path, before, after: Some(after) });
        }
        None => notes.push(format!("{} names what was renamed: change it by hand", connection.path)),
    }
}

/// The renamed streams that the spec lists, as keys with choices or as items.
fn stream_names(
    connection: &Connection,
    text: &str,
    by_stream: &[(StreamName, StreamEdits)],
    notes: &mut Vec<String>,
) -> Vec<Scalar> {
    let listed = |new: &NewName| match &connection.streams {
        Selection::Listed(listed) => listed.keys().any(|name| new.is(name)),
        Selection::All => false,
    };
    let keys = keys_of(text).into_iter().map(|found| (found, true));
    let items = scalars_of(text).into_iter().map(|found| (found, false));
    let mut scalars = Vec::new();
    for ((at, span, old), is_key) in keys.chain(items) {
        let is_name = match at.as_slice() {
            [Step::Key(top), Step::Key(_)] => is_key && top == "streams",
            [Step::Key(top), Step::Item(_)] => !is_key && top == "streams",
            _ => false,
        };
        let Some(new) = named(&old, by_stream).and_then(|change| change.to.as_ref()).filter(|_| is_name) else {
            continue;
        };
        let written = old.parse().map_or_else(|_| old.clone(), |name| new.written(&name).to_string());
        if written == old {
            // A bare name that means the new one already.
        } else if listed(new) {
            notes.push(format!("take stream {old} out of {}, which lists {written} already", connection.path));
        } else {
            scalars.push(Scalar { span, old, new: written, in_place: None, at: vec![at], is_key });
        }
    }
    scalars
}

/// What changed in the stream that a person wrote.
fn named<'e>(written: &str, by_stream: &'e [(StreamName, StreamEdits)]) -> Option<&'e StreamEdits> {
    let written = written.parse::<StreamName>().ok()?;
    by_stream.iter().find(|(name, _)| is_stream(&written, name)).map(|(_, change)| change)
}

/// The field that a scalar below `streams: <name>:` names, and under which key.
fn chosen(rest: &[Step], value: &str) -> Option<(FieldPath, &'static str)> {
    let Step::Key(key) = rest.first()? else { return None };
    match (key.as_str(), rest.len()) {
        ("cursor", 1) => Some((value.parse().ok()?, "cursor")),
        ("key", 1 | 2) => Some((value.parse().ok()?, "key")),
        ("fields", 3) => Some((FieldPath::top(value), "fields")),
        _ => None,
    }
}

/// A scalar: its place in the document, its bytes in the text, its text.
pub(super) type Found = (Vec<Step>, Range<usize>, String);

/// All scalar values of a document; empty if it cannot be read. Aliases are none: what they stand for is found once.
pub(super) fn scalars_of(text: &str) -> Vec<Found> {
    nodes_of(text).into_iter().filter(|(_, is_key)| !is_key).map(|(found, _)| found).collect()
}

/// All keys of its maps, as the last step of their places.
fn keys_of(text: &str) -> Vec<Found> {
    nodes_of(text).into_iter().filter(|(_, is_key)| *is_key).map(|(found, _)| found).collect()
}

/// All scalars, and whether each is a key.
fn nodes_of(text: &str) -> Vec<(Found, bool)> {
    let base = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut parser = Parser::new_from_str(&text[base..]);
    let mut found = Vec::new();
    // One frame for each open list or map: the next item's number, or the key that waits for its value.
    let mut open: Vec<Frame> = Vec::new();
    while let Some(Ok((event, span))) = parser.next_event() {
        match event {
            Event::Scalar(value, ..) => {
                let is_key = matches!(open.last(), Some(Frame::Map(None)));
                let value = value.into_owned();
                if let (true, Some(frame)) = (is_key, open.last_mut()) {
                    *frame = Frame::Map(Some(value.clone()));
                }
                let at: Vec<Step> = open.iter().filter_map(Frame::step).collect();
                let span = span.byte_range().unwrap_or(0..0);
                found.push(((at, span.start + base..span.end + base, value), is_key));
                if !is_key {
                    advance(&mut open);
                }
            }
            Event::Alias(..) => advance(&mut open),
            Event::SequenceStart(..) => open.push(Frame::List(0)),
            Event::MappingStart(..) => open.push(Frame::Map(None)),
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
                advance(&mut open);
            }
            Event::StreamEnd => break,
            _ => {}
        }
    }
    found
}

enum Frame {
    List(usize),
    Map(Option<String>),
}

impl Frame {
    fn step(&self) -> Option<Step> {
        match self {
            Self::List(item) => Some(Step::Item(*item)),
            Self::Map(key) => key.clone().map(Step::Key),
        }
    }
}

/// A value ended: the next item, or the next key.
fn advance(open: &mut [Frame]) {
    match open.last_mut() {
        Some(Frame::List(item)) => *item += 1,
        Some(Frame::Map(key)) => *key = None,
        None => {}
    }
}
