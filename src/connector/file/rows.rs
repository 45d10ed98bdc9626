//! The rows of a file, one after another, whatever its format.

use std::borrow::Cow;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use calamine::{Data, Reader};
use serde_json::{Map, Value};

use super::decode::Utf8;
use super::infer::Kind;
use super::locate::{Format, Layout, Part};

/// A cell of a table.
#[derive(Debug, Clone)]
pub struct Cell<'a> {
    /// Its text; empty is null.
    pub text: Cow<'a, str>,
    /// What the file says that it is, as a workbook does: `007` may be text. Else it is what it looks like.
    pub stated: Option<Kind>,
}

impl Cell<'_> {
    /// What it looks like.
    pub fn kind(&self) -> Kind {
        self.stated.filter(|_| !self.text.is_empty()).unwrap_or_else(|| Kind::of(&self.text))
    }
}

/// A row.
pub enum Row<'a> {
    /// Of a table, in the order of its header; may be shorter or longer.
    Cells(&'a [Cell<'a>]),
    /// Of a JSON file.
    Object(&'a Map<String, Value>),
}

/// Takes the rows of a file.
pub trait Visitor {
    /// The names of a table's columns, before its first row.
    fn header(&mut self, names: &[String]) -> Result<(), String>;
    /// A row; `false` ends the visit.
    fn row(&mut self, row: &Row<'_>) -> Result<bool, String>;
}

/// The name of a column that has none, counted from 0.
pub fn nameless(place: usize) -> String {
    format!("column_{}", place + 1)
}

/// So much of a file is looked at to find its delimiter and its header.
const SAMPLE: usize = 64 << 10;

/// The sheets of a workbook.
pub fn sheets(path: &Path) -> Result<Vec<String>, String> {
    let book = calamine::open_workbook_auto(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(book.sheet_names())
}

/// Visits every row of a part.
pub fn visit(layout: &Layout, part: &Part, visitor: &mut dyn Visitor) -> Result<(), String> {
    let at = |e: String| format!("{}: {e}", part.shown);
    match part.format {
        Format::Csv => visit_csv(layout, part, visitor),
        Format::Excel => visit_sheet(layout, part, visitor),
        Format::Ndjson => visit_lines(layout, part, visitor),
        Format::Json => visit_json(layout, part, visitor),
    }
    .map_err(at)
}

fn open(layout: &Layout, part: &Part) -> Result<Utf8<fs::File>, String> {
    Ok(Utf8::new(fs::File::open(&part.path).map_err(|e| e.to_string())?, layout.encoding))
}

fn csv_reader<R: Read>(delimiter: u8, reader: R) -> csv::Reader<R> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(reader)
}

fn visit_csv(layout: &Layout, part: &Part, visitor: &mut dyn Visitor) -> Result<(), String> {
    let mut input = open(layout, part)?;
    let mut sample = Vec::new();
    input.by_ref().take(SAMPLE as u64).read_to_end(&mut sample).map_err(|e| e.to_string())?;
    let whole_lines = if sample.len() < SAMPLE {
        sample.len()
    } else {
        1 + sample.iter().rposition(|b| *b == b'\n').unwrap_or(SAMPLE - 1)
    };
    let first = &sample[..whole_lines];
    let is_tsv = part.path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv") || e.eq_ignore_ascii_case("tab"));
    let delimiter = layout.delimiter.or(is_tsv.then_some(b'\t')).unwrap_or_else(|| infer_delimiter(first));
    let head: Vec<csv::StringRecord> =
        csv_reader(delimiter, first).records().take(100).filter_map(Result::ok).collect();
    let rows: Vec<Vec<Cell<'_>>> = head.iter().map(cells).collect();
    let (names, has_header) = header(layout, &rows);
    visitor.header(&names)?;
    let mut reader = csv_reader(delimiter, sample.as_slice().chain(input));
    let mut record = csv::StringRecord::new();
    let mut skip = has_header;
    while reader.read_record(&mut record).map_err(|e| e.to_string())? {
        if std::mem::take(&mut skip) {
            continue;
        }
        if !visitor.row(&Row::Cells(&cells(&record)))? {
            break;
        }
    }
    Ok(())
}

fn cells(record: &csv::StringRecord) -> Vec<Cell<'_>> {
    record.iter().map(|text| Cell { text: Cow::Borrowed(text), stated: None }).collect()
}

/// The delimiter that cuts the first lines into the most alike rows; a comma if none cuts at all.
fn infer_delimiter(sample: &[u8]) -> u8 {
    let score = |delimiter: u8| {
        let widths: Vec<usize> =
            csv_reader(delimiter, sample).records().take(50).filter_map(Result::ok).map(|r| r.len()).collect();
        let first = widths.first().copied().unwrap_or(0);
        let alike = widths.iter().filter(|w| **w == first).count();
        if first < 2 { (0, 0) } else { (alike * 1000 / widths.len().max(1), first) }
    };
    let mut best = (b',', score(b','));
    for delimiter in *b";\t|" {
        let score = score(delimiter);
        if score > best.1 {
            best = (delimiter, score);
        }
    }
    best.0
}

/// The columns' names, and whether the first row gave them. It does unless it looks like the rows below it: some of its
/// cells are typed like their columns, and none is text above a typed column.
fn header(layout: &Layout, rows: &[Vec<Cell<'_>>]) -> (Vec<String>, bool) {
    let Some((first, rest)) = rows.split_first() else { return (Vec::new(), false) };
    let (mut for_header, mut against) = (false, false);
    for (place, cell) in first.iter().enumerate() {
        let below = rest.iter().filter_map(|r| r.get(place)).fold(Kind::Empty, |k, c| k.join(c.kind()));
        let typed = !matches!(below, Kind::Empty | Kind::Text);
        for_header |= typed && cell.kind() == Kind::Text;
        against |= typed && !matches!(cell.kind(), Kind::Empty | Kind::Text) && below.join(cell.kind()) != Kind::Text;
    }
    let has_header = layout.header.unwrap_or(for_header || !against);
    let mut names: Vec<String> = Vec::new();
    for (place, cell) in first.iter().enumerate() {
        let given = if has_header { cell.text.trim() } else { "" };
        let base = if given.is_empty() { nameless(place) } else { given.to_owned() };
        let mut name = base.clone();
        for n in 2.. {
            if !names.contains(&name) {
                break;
            }
            name = format!("{base}_{n}");
        }
        names.push(name);
    }
    (names, has_header)
}

fn visit_sheet(layout: &Layout, part: &Part, visitor: &mut dyn Visitor) -> Result<(), String> {
    let mut book = calamine::open_workbook_auto(&part.path).map_err(|e| e.to_string())?;
    let range = book.worksheet_range(part.sheet.as_deref().unwrap_or_default()).map_err(|e| e.to_string())?;
    let rows = range.rows().map(|row| row.iter().map(sheet_cell).collect::<Vec<_>>());
    let rows: Vec<_> = rows.filter(|row| row.iter().any(|cell| !cell.text.is_empty())).collect();
    let (names, has_header) = header(layout, &rows[..rows.len().min(100)]);
    visitor.header(&names)?;
    for row in rows.iter().skip(usize::from(has_header)) {
        if !visitor.row(&Row::Cells(row))? {
            break;
        }
    }
    Ok(())
}

/// What Excel shows where a formula failed; LibreOffice writes these words into a text.
const ERRORS: &[&str] = &["#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"];

/// A workbook says what its cells are. A failed formula says nothing about its column: it is no text among numbers.
fn sheet_cell(data: &Data) -> Cell<'_> {
    let typed = |text: String| Cell { text: Cow::Owned(text), stated: None };
    match data {
        Data::Empty => Cell { text: Cow::Borrowed(""), stated: None },
        Data::String(text) if ERRORS.contains(&text.as_str()) => {
            Cell { text: Cow::Borrowed(text), stated: Some(Kind::Empty) }
        }
        Data::String(text) => Cell { text: Cow::Borrowed(text), stated: Some(Kind::Text) },
        Data::DateTimeIso(text) => Cell { text: Cow::Borrowed(text), stated: None },
        Data::DurationIso(text) => typed(clock(text).unwrap_or_else(|| text.clone())),
        Data::Int(n) => typed(n.to_string()),
        Data::Float(n) => typed(n.to_string()),
        Data::Bool(flag) => typed(flag.to_string()),
        Data::Error(error) => Cell { text: Cow::Owned(error.to_string()), stated: Some(Kind::Empty) },
        Data::DateTime(at) => typed(moment(at)),
    }
}

/// A day, a moment, or a time of day or length of time as `09:05:00`, which a workbook keeps as days, too.
fn moment(at: &calamine::ExcelDateTime) -> String {
    match (at.as_datetime(), at.as_duration()) {
        (Some(time), _) if at.is_datetime() && at.as_f64() >= 1.0 => {
            let is_day = time.time() == chrono::NaiveTime::MIN;
            time.format(if is_day { "%Y-%m-%d" } else { "%Y-%m-%dT%H:%M:%S%.f" }).to_string()
        }
        (_, Some(length)) if length >= chrono::TimeDelta::zero() => {
            let (seconds, ms) = (length.num_seconds(), length.subsec_millis());
            let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
            format!("{:02}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
        _ => at.as_f64().to_string(),
    }
}

/// `PT9H5M0S` → `09:05:00`
fn clock(iso: &str) -> Option<String> {
    let (hours, rest) = iso.strip_prefix("PT")?.split_once('H')?;
    let (minutes, rest) = rest.split_once('M')?;
    let seconds = rest.strip_suffix('S')?;
    let seconds = seconds.split_once('.').map_or(seconds.to_owned(), |(whole, fraction)| {
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    });
    Some(format!("{hours:0>2}:{minutes:0>2}:{seconds:0>2}"))
}

fn visit_lines(layout: &Layout, part: &Part, visitor: &mut dyn Visitor) -> Result<(), String> {
    let mut input = BufReader::with_capacity(64 << 10, open(layout, part)?);
    let (mut line, mut number) = (String::new(), 0);
    while input.read_line(&mut line).map_err(|e| e.to_string())? > 0 {
        number += 1;
        if !line.trim().is_empty() {
            let object: Map<String, Value> =
                serde_json::from_str(&line).map_err(|e| format!("line {number} is no JSON object: {e}"))?;
            if !visitor.row(&Row::Object(&object))? {
                break;
            }
        }
        line.clear();
    }
    Ok(())
}

fn visit_json(layout: &Layout, part: &Part, visitor: &mut dyn Visitor) -> Result<(), String> {
    let input = BufReader::with_capacity(64 << 10, open(layout, part)?);
    let rows = match serde_json::from_reader(input).map_err(|e| e.to_string())? {
        Value::Array(rows) => rows,
        one => vec![one],
    };
    for (place, row) in rows.iter().enumerate() {
        let object = row.as_object().ok_or_else(|| format!("item {} is no JSON object", place + 1))?;
        if !visitor.row(&Row::Object(object))? {
            break;
        }
    }
    Ok(())
}
