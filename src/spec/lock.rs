//! Lock files: the approved schema of a connection, generated and committed, one line per field.

use std::collections::BTreeSet;
use std::str::FromStr;

use uuid::Uuid;

use crate::diag::{Diagnostic, is_hostile, quoted};
use crate::model::{Catalog, ConnectionId, ConnectionRef, Field, FieldPath, Fingerprint, Stream, StreamName};

use super::Lock;
use super::check::parse as parse_text;
use super::raw::{RawLock, RawLockStream};
use super::read::{FromNode, Text};
use super::source::{Problems, Source};

/// Words that YAML 1.1 or 1.2 readers take for something other than text.
const RESERVED: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// Writes a lock file. The same lock gives the same bytes; [`Lock::fingerprint`] is written as it stands.
pub fn render(lock: &Lock, connection: &str) -> String {
    let mut out = format!(
        "# Written by aam. The approved schema of connection {connection}; a change is approved by merging it.\n\
         id: {}\nversion: {}\nfingerprint: {}\n",
        lock.id, lock.version, lock.fingerprint
    );
    if lock.catalog.streams.is_empty() {
        out.push_str("streams: {}\n");
        return out;
    }
    out.push_str("streams:\n");
    for (name, stream) in &lock.catalog.streams {
        out.push_str(&format!("  {}:\n", scalar(&name.to_string(), false)));
        let list = |items: Vec<String>| items.iter().map(|i| scalar(i, true)).collect::<Vec<_>>().join(", ");
        if !stream.key.is_empty() {
            out.push_str(&format!("    key: [{}]\n", list(stream.key.iter().map(ToString::to_string).collect())));
        }
        if stream.cursor != crate::model::Cursor::None {
            out.push_str(&format!("    cursor: {}\n", scalar(&stream.cursor.to_string(), false)));
        }
        out.push_str(&format!("    modes: [{}]\n", list(stream.modes.iter().map(|m| m.as_str().to_owned()).collect())));
        if stream.fields.is_empty() {
            out.push_str("    fields: {}\n");
            continue;
        }
        out.push_str("    fields:\n");
        for (path, field) in &stream.fields {
            out.push_str(&format!("      {}: {}\n", scalar(&path.to_string(), false), scalar(&field.shape(), false)));
        }
    }
    out
}

/// Writes one YAML scalar that every reader takes for exactly this text. What a terminal or a reviewer must not get raw
/// (control, bidi, zero-width characters) is written as an escape.
pub fn scalar(text: &str, in_flow: bool) -> String {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-./ ()<>|!".contains(c) || (!in_flow && "[]{},".contains(c));
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(inner)
        && !text.ends_with(' ')
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        text.to_owned()
    } else if text.contains(is_hostile) {
        let escaped = text.chars().map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            '\n' => "\\n".to_owned(),
            c if is_hostile(c) => format!("\\U{:08x}", u32::from(c)),
            c => c.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// A lock with the fingerprint of its own body.
pub fn sealed(mut lock: Lock) -> Lock {
    lock.fingerprint = lock.catalog.fingerprint();
    lock
}

/// Whether the stored fingerprint is that of the body.
pub fn is_sealed(lock: &Lock) -> bool {
    lock.fingerprint.is_of(&lock.catalog)
}

/// Reads a lock file that must be whole: the inverse of [`render`]. All problems at once otherwise.
pub fn read(file: &str, text: &str) -> Result<Lock, Vec<Diagnostic>> {
    let (lock, raw, source) = read_body(file, text)?;
    let mut problems = Problems::of(&source);
    check_seal(&lock, &raw, None, &mut problems);
    if problems.is_usable() { Ok(lock) } else { Err(problems.into_list()) }
}

/// The text of a lock with the fingerprint of its own body: for `aam lock --seal`, after a merge by hand. Every other byte
/// stays.
pub fn seal(file: &str, text: &str) -> Result<String, Vec<Diagnostic>> {
    let (lock, raw, _) = read_body(file, text)?;
    let mut out = text.to_owned();
    out.replace_range(raw.fingerprint.span, lock.catalog.fingerprint().as_str());
    Ok(out)
}

/// Everything but the seal.
fn read_body(file: &str, text: &str) -> Result<(Lock, RawLock, Source), Vec<Diagnostic>> {
    let source = Source { file: file.into(), text: text.into() };
    let mut problems = Problems::of(&source);
    let raw = super::yaml::parse(&source, &mut problems).and_then(|node| RawLock::read(&node, &mut problems));
    let lock = raw.as_ref().and_then(|raw| check_body(raw, &mut problems));
    match (lock, raw) {
        (Some(lock), Some(raw)) if problems.is_usable() => Ok((lock, raw, source)),
        _ => Err(problems.into_list()),
    }
}

/// Checks a lock as part of a repository.
pub(super) fn check(raw: &RawLock, name: &ConnectionRef, to: &mut Problems<'_>) -> Option<Lock> {
    let lock = check_body(raw, to)?;
    if to.is_usable() {
        check_seal(&lock, raw, Some(name), to);
    }
    to.is_usable().then_some(lock)
}

fn check_seal(lock: &Lock, raw: &RawLock, name: Option<&ConnectionRef>, to: &mut Problems<'_>) {
    if is_sealed(lock) {
        return;
    }
    let computed = lock.catalog.fingerprint();
    let name = name.map_or("CONNECTION".to_owned(), ToString::to_string);
    let d = Diagnostic::error("AAM-L001", "the lock's body and its fingerprint differ")
        .label(format!("the body below has {}…", &computed.as_str()[..11]))
        .note("somebody edited or merged this file by hand; what the source is compared with is not what was approved")
        .help(format!("look at `git log -p` of this file, then `aam lock --seal {name}` if the body is right"));
    to.add(&raw.fingerprint.place(), d);
}

fn check_body(raw: &RawLock, to: &mut Problems<'_>) -> Option<Lock> {
    let id = Uuid::parse_str(&raw.id.value).map_err(|e| wrong(&raw.id, &format!("no UUID: {e}"), to)).ok();
    let version = raw.version.value.parse::<u32>().ok().filter(|v| *v > 0);
    if version.is_none() {
        wrong(&raw.version, "no version: a whole number from 1", to);
    }
    let fingerprint = lock_text::<Fingerprint>(&raw.fingerprint, to);
    let mut catalog = Catalog::default();
    for (name, raw) in &raw.streams.0 {
        let (Some(parsed), stream) = (lock_text::<StreamName>(name, to), check_stream(raw, to)) else { continue };
        if catalog.streams.insert(parsed, stream).is_some() {
            wrong(name, "a stream that is given twice", to);
        }
    }
    Some(Lock { id: ConnectionId(id?), version: version?, fingerprint: fingerprint?, catalog })
}

fn check_stream(raw: &RawLockStream, to: &mut Problems<'_>) -> Stream {
    let mut stream = Stream {
        key: raw.key.iter().flatten().filter_map(|k| lock_text(k, to)).collect(),
        cursor: raw.cursor.as_ref().and_then(|c| lock_text(c, to)).unwrap_or_default(),
        modes: raw.modes.iter().filter_map(|m| lock_text(m, to)).collect::<BTreeSet<_>>(),
        ..Stream::default()
    };
    for (path, shape) in &raw.fields.0 {
        let field = Field::from_shape(&shape.value).map_err(|e| wrong(shape, &e.to_string(), to)).ok();
        let (Some(parsed), Some(field)) = (parse_text::<FieldPath>(path, to), field) else { continue };
        if stream.fields.insert(parsed, field).is_some() {
            wrong(path, "a field that is given twice", to);
        }
    }
    stream
}

fn lock_text<T: FromStr<Err: std::fmt::Display>>(text: &Text, to: &mut Problems<'_>) -> Option<T> {
    text.value.parse().map_err(|e: T::Err| wrong(text, &e.to_string(), to)).ok()
}

fn wrong(text: &Text, why: &str, to: &mut Problems<'_>) {
    let d = Diagnostic::error("AAM-L002", format!("the lock holds {}: {why}", quoted(&text.value)));
    to.add(&text.place(), d.help("take the file from an earlier commit: `git log -p` shows who changed it"));
}
