//! Reading a stream of files: what is new since the position, as COPY text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::locate::Layout;
use super::rows::{self, Cell, Row, Visitor, nameless};
use crate::connector::Position::After;
use crate::connector::copy_text::{NULL, is_json, push_escaped};
use crate::connector::{BATCH_BYTES, Batch, BatchSink, How, ReadOrder};
use crate::model::{FieldPath, FieldType};

/// How far each file is read. Files that went away stay listed: one that comes back unchanged is not new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    files: BTreeMap<String, Done>,
}

/// The rows of a file that are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    rows: u64,
    /// SHA-256 over them.
    hash: String,
}

/// Reads every part of the stream that has something new.
pub fn read(layout: &Layout, order: &ReadOrder, sink: &BatchSink) -> Result<(), String> {
    let parts = layout.streams()?.remove(&order.stream.name).ok_or("the source has no such file")?;
    let position = order.state.clone().map(serde_json::from_value).transpose();
    let position: Position =
        position.map_err(|e| format!("the stored position cannot be read: {e}"))?.unwrap_or_default();
    if !order.missing_as_null {
        check_fields(layout, order, &parts)?;
    }
    let mut reading =
        Reading { order, sink, position, batch: Batch::default(), file: OneFile::default(), stopped: false };
    for part in &parts {
        let shown = match &part.sheet {
            Some(sheet) => format!("{}#{sheet}", part.shown),
            None => part.shown.clone(),
        };
        let done = reading.position.files.get(&shown).cloned();
        reading.begin(shown.clone(), done);
        rows::visit(layout, part, &mut reading)?;
        if reading.file.is_rewritten() {
            if order.how == How::Full {
                return Err(format!("{shown} was rewritten while it was being read; the next sync reads it anew"));
            }
            tracing::info!(file = %shown, "{shown} was rewritten: all its rows are read anew");
            reading.begin(shown, None);
            rows::visit(layout, part, &mut reading)?;
        }
        if reading.stopped {
            return Ok(());
        }
        reading.note();
    }
    if reading.position != order.state.clone().and_then(|s| serde_json::from_value(s).ok()).unwrap_or_default() {
        reading.send();
    }
    Ok(())
}

/// Refuses a stream whose tables have lost a field that it carries. JSON states no fields: an absent one is null.
fn check_fields(layout: &Layout, order: &ReadOrder, parts: &[super::locate::Part]) -> Result<(), String> {
    struct Names(Vec<String>, bool);
    impl Visitor for Names {
        fn header(&mut self, names: &[String]) -> Result<(), String> {
            self.0.extend_from_slice(names);
            Ok(())
        }
        fn row(&mut self, row: &Row<'_>) -> Result<bool, String> {
            self.1 |= matches!(row, Row::Object(_));
            Ok(false)
        }
    }
    let mut names = Names(Vec::new(), false);
    for part in parts {
        rows::visit(layout, part, &mut names)?;
    }
    let is_nameless =
        |field: &str| field.strip_prefix("column_").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let lost = order.columns.iter().find(|(field, _)| !names.0.contains(field) && !is_nameless(field));
    match lost {
        Some((field, _)) if !names.1 => Err(format!("the source has no field {} any more", FieldPath::top(field))),
        _ => Ok(()),
    }
}

/// The file that is being read.
#[derive(Default)]
struct OneFile {
    shown: String,
    /// What was done before and is being compared; gone once it proved the same.
    known: Option<Done>,
    rewritten: bool,
    rows: u64,
    hasher: Sha256,
    /// Where the ordered columns are.
    places: Vec<Option<usize>>,
}

impl OneFile {
    /// Whether the rows done before are not there as they were.
    fn is_rewritten(&self) -> bool {
        self.rewritten || self.known.is_some()
    }
}

struct Reading<'a> {
    order: &'a ReadOrder,
    sink: &'a BatchSink,
    position: Position,
    batch: Batch,
    file: OneFile,
    stopped: bool,
}

impl Reading<'_> {
    fn begin(&mut self, shown: String, known: Option<Done>) {
        let known = known.filter(|d| d.rows > 0);
        self.file = OneFile { shown, known, ..OneFile::default() };
    }

    /// Notes how far the present file is.
    fn note(&mut self) {
        let hash = hex::encode(self.file.hasher.clone().finalize());
        self.position.files.insert(self.file.shown.clone(), Done { rows: self.file.rows, hash });
    }

    fn send(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.position = After(serde_json::to_value(&self.position).expect("a position is plain data"));
        self.stopped = self.sink.blocking_send(batch).is_err();
    }
}

impl Visitor for Reading<'_> {
    fn header(&mut self, names: &[String]) -> Result<(), String> {
        let place = |field: &String| {
            let beyond = || (names.len()..names.len() + 10_000).find(|i| nameless(*i) == *field);
            names.iter().position(|n| n == field).or_else(|| field.starts_with("column_").then(beyond).flatten())
        };
        self.file.places = self.order.columns.iter().map(|(field, _)| place(field)).collect();
        Ok(())
    }

    fn row(&mut self, row: &Row<'_>) -> Result<bool, String> {
        hash(&mut self.file.hasher, row);
        self.file.rows += 1;
        if let Some(known) = &self.file.known {
            if self.file.rows == known.rows {
                self.file.rewritten = hex::encode(self.file.hasher.clone().finalize()) != known.hash;
                self.file.known = None;
                return Ok(!self.file.rewritten);
            }
            return Ok(true);
        }
        write(&mut self.batch.rows, self.order, &self.file.places, row);
        self.batch.count += 1;
        if self.batch.rows.len() >= BATCH_BYTES {
            self.note();
            self.send();
        }
        Ok(!self.stopped)
    }
}

fn hash(hasher: &mut Sha256, row: &Row<'_>) {
    match row {
        Row::Cells(cells) => {
            for cell in *cells {
                hasher.update(cell.text.as_bytes());
                hasher.update([0x1f]);
            }
        }
        Row::Object(object) => hasher.update(serde_json::to_vec(object).unwrap_or_default()),
    }
    hasher.update([0x1e]);
}

fn write(out: &mut Vec<u8>, order: &ReadOrder, places: &[Option<usize>], row: &Row<'_>) {
    for (i, (field, ty)) in order.columns.iter().enumerate() {
        if i > 0 {
            out.push(b'\t');
        }
        match row {
            Row::Cells(cells) => {
                let cell = places.get(i).copied().flatten().and_then(|place| cells.get(place));
                write_cell(out, cell, ty);
            }
            Row::Object(object) => write_value(out, object.get(field).unwrap_or(&Value::Null), ty),
        }
    }
    out.push(b'\n');
}

fn write_cell(out: &mut Vec<u8>, cell: Option<&Cell<'_>>, ty: &FieldType) {
    match cell.map(|c| c.text.as_ref()).filter(|t| !t.is_empty()) {
        None => out.extend_from_slice(NULL),
        Some(text) if is_json(ty) => {
            let nested = matches!(ty, FieldType::Object | FieldType::Array | FieldType::Map);
            let is_json_text = nested && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            let json = if is_json_text { text.to_owned() } else { Value::String(text.to_owned()).to_string() };
            push_escaped(out, json.as_bytes());
        }
        Some(text) => push_escaped(out, text.as_bytes()),
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value, ty: &FieldType) {
    match value {
        Value::Null => out.extend_from_slice(NULL),
        Value::String(text) if !is_json(ty) => push_escaped(out, text.as_bytes()),
        other => push_escaped(out, other.to_string().as_bytes()),
    }
}
