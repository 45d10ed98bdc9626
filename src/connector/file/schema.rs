//! The catalog of a file source: names and types found by reading.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::infer::Kind;
use super::locate::{Layout, Part};
use super::rows::{self, Row, Visitor, nameless};
use crate::model::{Catalog, Cursor, Field, FieldPath, FieldType, Segment, Stream, StreamName, SyncMode};

/// Types are found from at most so many rows of a stream; a value beyond them that does not fit is nulled and noted in
/// its row's meta.
const MAX_ROWS: u64 = 2_000_000;

/// JSON nested deeper than this is taken as it is.
const MAX_DEPTH: usize = 20;

/// Reads the catalog. Files keep their own position (how many rows are done) and have no key.
pub fn discover(layout: &Layout) -> Result<Catalog, String> {
    let mut catalog = Catalog::default();
    for (name, parts) in layout.streams()? {
        let fields = fields(layout, &parts)?;
        if fields.is_empty() {
            continue;
        }
        let modes = [SyncMode::FullRefresh, SyncMode::Incremental].into();
        let stream = Stream { key: Vec::new(), cursor: Cursor::SourceDefined(None), modes, fields };
        catalog.streams.insert(StreamName::bare(name), stream);
    }
    Ok(catalog)
}

fn fields(layout: &Layout, parts: &[Part]) -> Result<BTreeMap<FieldPath, Field>, String> {
    let mut seen = Seen::default();
    for part in parts {
        rows::visit(layout, part, &mut seen)?;
    }
    let mut fields = BTreeMap::new();
    for (place, (name, kind)) in (0..).zip(seen.columns) {
        let mut field = Field::new(kind.field_type(), true);
        field.place = Some(place);
        fields.insert(FieldPath::top(name), field);
    }
    for (name, shape) in &seen.objects {
        shape.fields(&FieldPath::top(name), &mut fields);
    }
    Ok(fields)
}

#[derive(Default)]
struct Seen {
    /// Of the present file: where its columns are in `columns`.
    places: Vec<usize>,
    columns: Vec<(String, Kind)>,
    objects: BTreeMap<String, Shape>,
    rows: u64,
}

impl Seen {
    fn place(&mut self, name: &str) -> usize {
        let found = self.columns.iter().position(|(n, _)| n == name);
        found.unwrap_or_else(|| {
            self.columns.push((name.to_owned(), Kind::Empty));
            self.columns.len() - 1
        })
    }
}

impl Visitor for Seen {
    fn header(&mut self, names: &[String]) -> Result<(), String> {
        self.places = names.iter().map(|n| self.place(n)).collect();
        Ok(())
    }

    fn row(&mut self, row: &Row<'_>) -> Result<bool, String> {
        match row {
            Row::Cells(cells) => {
                for (i, cell) in cells.iter().enumerate() {
                    if i == self.places.len() {
                        let place = self.place(&nameless(i));
                        self.places.push(place);
                    }
                    let kind = &mut self.columns[self.places[i]].1;
                    if *kind != Kind::Text {
                        *kind = kind.join(cell.kind());
                    }
                }
            }
            Row::Object(object) => add(&mut self.objects, object, 0),
        }
        self.rows += 1;
        Ok(self.rows < MAX_ROWS)
    }
}

fn add(into: &mut BTreeMap<String, Shape>, object: &Map<String, Value>, depth: usize) {
    for (name, value) in object {
        match into.get_mut(name) {
            Some(shape) => shape.add(value, depth),
            None => into.entry(name.clone()).or_default().add(value, depth),
        }
    }
}

/// What the values at one place of JSON records have in common.
#[derive(Debug, Default)]
struct Shape {
    boolean: bool,
    integer: bool,
    number: bool,
    text: bool,
    object: Option<BTreeMap<String, Shape>>,
    array: bool,
    items: Option<Box<Shape>>,
}

impl Shape {
    fn add(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null => {}
            Value::Bool(_) => self.boolean = true,
            Value::Number(n) if n.is_i64() => self.integer = true,
            Value::Number(_) => self.number = true,
            Value::String(_) => self.text = true,
            Value::Array(items) => {
                self.array = true;
                if depth < MAX_DEPTH {
                    for item in items {
                        self.items.get_or_insert_default().add(item, depth + 1);
                    }
                }
            }
            Value::Object(object) => {
                let into = self.object.get_or_insert_default();
                if depth < MAX_DEPTH {
                    add(into, object, depth + 1);
                }
            }
        }
    }

    fn fields(&self, path: &FieldPath, into: &mut BTreeMap<FieldPath, Field>) {
        let types = [
            (self.boolean, FieldType::Boolean),
            (self.integer && !self.number, FieldType::Integer),
            (self.number, FieldType::Number),
            (self.text, FieldType::String(None)),
            (self.object.is_some(), FieldType::Object),
            (self.array, FieldType::Array),
        ];
        let ty = FieldType::union(types.into_iter().filter(|(seen, _)| *seen).map(|(_, ty)| ty));
        into.insert(path.clone(), Field::new(ty, true));
        for (name, shape) in self.object.iter().flatten() {
            shape.fields(&path.child(Segment::Name(name.clone())), into);
        }
        if let Some(items) = &self.items {
            items.fields(&path.child(Segment::Items), into);
        }
    }
}
