//! YAML text → a small tree with places. The only function through which specs and locks are read.
//!
//! It reads the event stream of serde-saphyr's parser, for three reasons: a tree of serde would stop at the first
//! problem, would lose whether a scalar was quoted, and would read a value as what it looks like. Here nothing is guessed:
//! scalars stay as written and whoever reads them says what they mean.
//!
//! Documented meaning: anchors and aliases work within the node budget; `!!str` marks text; one document; keys are scalars and
//! differ. Refused with a place: merge keys, other tags, several documents, depth over 64, over 100,000 nodes.

use std::collections::{HashMap, HashSet};

use serde_yaml::granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, StrInput, Tag};

use crate::diag::{Diagnostic, quoted};

use super::source::{Problems, Source, Span};

/// Largest file that is read, in bytes. A lock of 20,000 fields fits.
pub const MAX_BYTES: usize = 1 << 20;

/// Most nodes of a file, aliases expanded: keeps the dearest file below 50 ms and 64 MiB.
const MAX_NODES: usize = 100_000;

/// Deepest nesting; specs need six.
const MAX_DEPTH: usize = 64;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is written (an alias: where it is used).
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Value {
    /// A scalar as written; `plain` if it was neither quoted nor a block.
    Scalar {
        /// Its text.
        text: String,
        /// Whether it was written without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order of the file; no key twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a map with its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// As written, quotes taken away.
    pub text: String,
    /// Where.
    pub span: Span,
}

impl Node {
    /// Whether it is nothing, `~` or `null`, unquoted.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// In words, for `expected …, found …`.
    pub fn describe(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// The text of a file, or the one problem that keeps it from being text.
pub fn decode<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Diagnostic> {
    let whole = |d: Diagnostic| {
        d.at(crate::diag::Place { file: file.into(), line: 0, column: 0, width: 1, text: String::new() })
    };
    if bytes.len() > MAX_BYTES {
        let why = format!("the file has {} bytes; at most {MAX_BYTES} are read", bytes.len());
        return Err(whole(
            Diagnostic::error("AAM-S003", why).help("split it: one connection, mapping or entity per file"),
        ));
    }
    if bytes.starts_with(&[0xff, 0xfe])
        || bytes.starts_with(&[0xfe, 0xff])
        || matches!(bytes, [0, b, ..] | [b, 0, ..] if *b != 0)
    {
        return Err(whole(Diagnostic::error("AAM-S002", "the file is UTF-16, not UTF-8").help("save it as UTF-8")));
    }
    let at = |offset: usize, d: Diagnostic| {
        let valid = String::from_utf8_lossy(bytes.get(..offset).unwrap_or_default());
        let source = Source { file: file.into(), text: valid.into() };
        let span = source.span_at(offset);
        d.at(source.place(&span))
    };
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let byte = bytes[e.valid_up_to()];
        let what = format!("the byte 0x{byte:02x} is no UTF-8");
        at(e.valid_up_to(), Diagnostic::error("AAM-S002", what).help("save the file as UTF-8"))
    })?;
    let forbidden = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    if let Some(offset) = text.find(forbidden) {
        let c = text[offset..].chars().next().unwrap_or_default();
        let what = format!("the file holds the control character U+{:04X}, which YAML does not allow", u32::from(c));
        return Err(at(offset, Diagnostic::error("AAM-S002", what).help("remove it")));
    }
    Ok(text)
}

/// Reads the one document of a file. `None` if there is nothing to go on with; the problems say why.
pub fn parse(source: &Source, problems: &mut Problems<'_>) -> Option<Node> {
    let base = if source.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let parser = Parser::new_from_str_with_options(&source.text[base..], options);
    let mut reader = Reader { parser, base, anchors: HashMap::new(), nodes: 0, problems };
    match reader.document() {
        Ok(node) => node,
        Err(Stop::Scan(error)) => {
            let span = source.span_at(base + error.marker().byte_offset().unwrap_or(0));
            problems.add(&span, scan_problem(source, &span, &error));
            None
        }
        Err(Stop::Refused(span, diagnostic)) => {
            problems.add(&span, *diagnostic);
            None
        }
    }
}

/// The parser's error as a diagnostic. Where the line holds a secret, the parser's words might repeat it.
fn scan_problem(source: &Source, span: &Span, error: &ScanError) -> Diagnostic {
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return Diagnostic::error("AAM-S005", format!("nested deeper than {MAX_DEPTH} levels"));
    }
    let (from, to) = super::source::line_around(&source.text, span.start as usize);
    let masked = super::mask::line(&source.text, from, to).is_some();
    let why = if masked { "this line cannot be read".to_owned() } else { error.kind().to_string() };
    Diagnostic::error("AAM-S001", format!("the file is no YAML: {why}"))
}

/// Why reading ended early.
enum Stop {
    /// The parser's error.
    Scan(ScanError),
    /// YAML, but more of it than a spec may hold.
    Refused(Span, Box<Diagnostic>),
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

struct Reader<'a, 'p, 's> {
    parser: Parser<'a, StrInput<'a>>,
    base: usize,
    /// Finished anchored nodes with their size.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    problems: &'p mut Problems<'s>,
}

impl<'a> Reader<'a, '_, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        let (event, span) = self.parser.next_event().unwrap_or_else(|| Ok((Event::StreamEnd, Default::default())))?;
        let bytes = span.byte_range().unwrap_or(0..0);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let span = Span {
            start: number(self.base + bytes.start),
            end: number(self.base + bytes.end),
            line: number(span.start.line().max(1)),
            column: number(span.start.col() + 1),
        };
        Ok((event, span))
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(..) if root.is_some() => {
                    let d = Diagnostic::error("AAM-S005", "the file holds a second document").label("begins here");
                    return refuse(span, d.help("put each spec in its own file"));
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let d = Diagnostic::error("AAM-S005", format!("the file has more than {MAX_NODES} values, aliases expanded"));
        refuse(span, d.label("one too many"))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        if depth > MAX_DEPTH {
            return refuse(span, Diagnostic::error("AAM-S005", format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let before = self.nodes;
        self.count(1, span)?;
        let (anchor, value, span) = match event {
            Event::Alias(id) => return self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = self.check_tag(tag.as_deref(), &span);
                let plain = style == ScalarStyle::Plain && !text_tag;
                (anchor, Value::Scalar { text: text.into_owned(), plain }, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &span);
                let (items, end) = self.list(depth)?;
                (anchor, Value::List(items), Span { end: end.max(span.end), ..span })
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &span);
                let (entries, end) = self.map(depth)?;
                (anchor, Value::Map(entries), Span { end: end.max(span.end), ..span })
            }
            _ => return refuse(span, Diagnostic::error("AAM-S001", "the file is no YAML: a value is missing")),
        };
        let node = Node { span, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<(Vec<Node>, u32), Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, span) => return Ok((items, span.end)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<(Vec<(Key, Node)>, u32), Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok((entries, span.end));
            }
            let key = self.key(event, span, depth)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let known = if entries.len() < 16 {
                entries.iter().any(|(k, _)| k.text == key.text)
            } else {
                seen.contains(&key.text)
            };
            if known {
                self.duplicate(&key, &entries);
                continue;
            }
            if entries.len() == 15 {
                seen.extend(entries.iter().map(|(k, _)| k.text.clone()));
            }
            if entries.len() >= 15 {
                seen.insert(key.text.clone());
            }
            entries.push((key, value));
        }
    }

    fn duplicate(&mut self, key: &Key, entries: &[(Key, Node)]) {
        let first = entries.iter().find(|(k, _)| k.text == key.text).map_or(0, |(k, _)| k.span.line);
        let d = Diagnostic::error("AAM-S006", format!("the key {} is given twice", quoted(&key.text)));
        self.problems.add(&key.span, d.label(format!("first given on line {first}")).help("keep one of the two"));
    }

    fn key(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Key, Stop> {
        let node = self.node(event, span, depth + 1)?;
        match node.value {
            Value::Scalar { text, plain: true } if text == "<<" => {
                let d = Diagnostic::error("AAM-S005", "merge keys (`<<`) are not read").label("a merge key");
                refuse(span, d.help("write the keys out; a repair could not tell which file line it must edit"))
            }
            Value::Scalar { text, .. } => Ok(Key { text, span }),
            _ => refuse(
                span,
                Diagnostic::error("AAM-S005", "a list or a map is used as a key").label("must be one word"),
            ),
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<Node, Stop> {
        let Some(size) = self.anchors.get(&id).map(|(_, size)| *size) else {
            let d = Diagnostic::error("AAM-S005", "an alias stands inside the value that it names");
            return refuse(span, d);
        };
        self.count(size, span)?;
        Ok(Node { span, value: self.anchors[&id].0.value.clone() })
    }

    /// Whether the tag says text; any other tag is a problem.
    fn check_tag(&mut self, tag: Option<&Tag>, span: &Span) -> bool {
        let Some(tag) = tag else { return false };
        match tag.core_suffix() {
            Some("str") => true,
            Some("map" | "seq") => false,
            _ => {
                let shown = quoted(&tag.original());
                let d = Diagnostic::error("AAM-S005", format!("the tag {shown} is not read"))
                    .help("remove it; quote a value that must stay text");
                self.problems.add(span, d);
                false
            }
        }
    }
}

fn refuse<T>(span: Span, diagnostic: Diagnostic) -> Result<T, Stop> {
    Err(Stop::Refused(span, Box::new(diagnostic)))
}
