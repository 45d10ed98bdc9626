//! A spec file's text, places in it, and the problems found in it.

use std::sync::Arc;

use crate::diag::{Diagnostic, Place, Severity};

use super::mask;

/// Problems of one file that are kept; more than these tell nobody anything new.
const MAX_PROBLEMS: usize = 100;

/// Characters of a line that a place keeps: a line of 1 MiB is not shown a hundred times.
const MAX_SHOWN: usize = 2000;

/// A range of a file's text, in bytes, with the place of its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
    /// Line of the first byte, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

/// A file as it was read: its path from the configuration root, and its whole text.
#[derive(Debug, Clone)]
pub struct Source {
    /// For messages.
    pub file: Arc<str>,
    /// Everything in it, a byte order mark included.
    pub text: Arc<str>,
}

impl Source {
    /// Where a span lies, with its line, secrets masked.
    pub fn place(&self, span: &Span) -> Place {
        let (start, end) = line_around(&self.text, span.start as usize);
        let line = &self.text[start..end];
        let from = (span.start as usize).clamp(start, end);
        let to = (span.end as usize).clamp(from, end);
        let width = self.text.get(from..to).map_or(1, |t| t.chars().count()).max(1);
        let masked = mask::line(&self.text, start, end);
        // The width of a hidden value is that of `***`: its length is nobody's business either.
        let width = if masked.is_some() { width.min(3) } else { width };
        let text = masked.as_deref().unwrap_or(line).trim_start_matches('\u{feff}').chars().take(MAX_SHOWN).collect();
        Place { file: self.file.to_string(), line: span.line, column: span.column, width: width_in(width), text }
    }

    /// The file as a whole.
    pub fn whole(&self) -> Place {
        Place { file: self.file.to_string(), line: 0, column: 0, width: 1, text: String::new() }
    }

    /// The span of one byte offset, found by counting: for errors only.
    pub fn span_at(&self, offset: usize) -> Span {
        let offset = (0..=offset.min(self.text.len())).rev().find(|o| self.text.is_char_boundary(*o)).unwrap_or(0);
        let (start, _) = line_around(&self.text, offset);
        let before = self.text[..start].replace("\r\n", "\n");
        let line = 1 + before.matches(['\n', '\r']).count();
        let column = 1 + self.text[start..offset].trim_start_matches('\u{feff}').chars().count();
        let end = offset + self.text[offset..].chars().next().map_or(0, char::len_utf8);
        Span { start: width_in(offset), end: width_in(end), line: width_in(line), column: width_in(column) }
    }
}

/// Sizes in a file of at most 1 MiB fit.
fn width_in(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The bytes of the line that holds an offset, without its line break (LF, CR LF, or CR alone).
pub(super) fn line_around(text: &str, offset: usize) -> (usize, usize) {
    let bytes = text.as_bytes();
    let offset = offset.min(bytes.len());
    let start = bytes[..offset].iter().rposition(|b| matches!(b, b'\n' | b'\r')).map_or(0, |i| i + 1);
    let end = bytes[offset..].iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(bytes.len(), |i| offset + i);
    (start, end.max(start))
}

/// Gathers the problems of one file; none hides behind the first.
#[derive(Debug)]
pub struct Problems<'a> {
    /// The file.
    pub source: &'a Source,
    list: Vec<Diagnostic>,
    errors: usize,
    dropped: usize,
}

impl<'a> Problems<'a> {
    /// No problem yet.
    pub fn of(source: &'a Source) -> Self {
        Self { source, list: Vec::new(), errors: 0, dropped: 0 }
    }

    /// Adds a problem at a place. A value that a message repeats may have swallowed a secret behind a quote that was not
    /// closed in time, so messages are masked like lines.
    pub fn add(&mut self, span: &Span, mut diagnostic: Diagnostic) {
        if let Some(masked) = mask::text(&diagnostic.message) {
            diagnostic.message = masked;
        }
        if self.list.len() < MAX_PROBLEMS {
            let place = self.source.place(span);
            self.add_placed(diagnostic.at(place));
        } else {
            self.add_placed(diagnostic);
        }
    }

    /// Adds a problem of the file as a whole.
    pub fn add_whole(&mut self, diagnostic: Diagnostic) {
        let place = self.source.whole();
        self.add_placed(diagnostic.at(place));
    }

    fn add_placed(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Whether nothing stops the file from being used.
    pub fn is_usable(&self) -> bool {
        self.errors == 0
    }

    /// The problems, in the order they were found.
    pub fn into_list(mut self) -> Vec<Diagnostic> {
        if let (Some(last), more @ 1..) = (self.list.last_mut(), self.dropped) {
            last.notes.push(format!("and {more} more problems in this file"));
        }
        self.list
    }
}
