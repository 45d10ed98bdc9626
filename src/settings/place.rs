//! Keys of a TOML text with their places.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diag::Place;

/// A value that a file sets.
pub(super) struct Entry {
    /// `section.key`.
    pub(super) key: String,
    /// The value's own text, as TOML.
    pub(super) value: Range<usize>,
    /// Where the key is.
    pub(super) at: Range<usize>,
    /// Whether it is a section.
    pub(super) is_table: bool,
}

/// Every key of the text, or the place and words of the first mistake in its form.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, (Range<usize>, String)> {
    let table = DeTable::parse(text).map_err(|e| (e.span().unwrap_or(0..0), e.message().to_owned()))?;
    let mut entries = Vec::new();
    collect("", table.get_ref(), &mut entries);
    entries.sort_by_key(|entry| entry.at.start);
    Ok(entries)
}

fn collect(prefix: &str, table: &DeTable<'_>, into: &mut Vec<Entry>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        into.push(Entry { key: key.clone(), value: span_of(value), at: name.span(), is_table });
        if let DeValue::Table(inner) = value.get_ref() {
            collect(&key, inner, into);
        }
    }
}

fn span_of(value: &Spanned<DeValue<'_>>) -> Range<usize> {
    value.span()
}

/// Line and column of a byte range. The line is shown without the value where that may hold a secret.
pub(super) fn place(file: &str, text: &str, at: &Range<usize>) -> Place {
    let start = at.start.min(text.len());
    let before = text.get(..start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let inside = text.get(start..at.end.min(line_start + line.len())).unwrap_or_default();
    Place {
        file: file.to_owned(),
        line: count(before.matches('\n').count() + 1),
        column: count(before[line_start..].chars().count() + 1),
        width: count(inside.chars().count().max(1)),
        text: match line.split_once('=') {
            Some((key, value))
                if ["url", "secret", "password"].iter().any(|word| key.contains(word)) || value.contains("://") =>
            {
                format!("{key}= ***")
            }
            _ => line.to_owned(),
        },
    }
}
