//! Places in a mapping's file for diagnostics.

use std::ops::Range;

use crate::diag::Place;
use crate::spec::{At, MappingSpec};

/// The place of a node.
pub(super) fn of<T>(mapping: &MappingSpec, at: &At<T>) -> Place {
    let text = mapping.text.lines().nth(at.line.saturating_sub(1) as usize).unwrap_or_default();
    let column = at.column.max(1);
    let rest = text.chars().count().saturating_sub(column as usize - 1);
    let node = mapping.text.get(at.span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
    let width = node.trim_end().chars().count().clamp(1, rest.max(1));
    place(mapping, at.line, column, width, text)
}

/// The place of a part of a text node, given as bytes of its value. Falls back to the whole node where the file has
/// the value in another form (escapes, folded lines).
pub(super) fn within(mapping: &MappingSpec, at: &At<String>, part: Option<Range<usize>>) -> Place {
    precise(mapping, at, part).unwrap_or_else(|| of(mapping, at))
}

fn precise(mapping: &MappingSpec, at: &At<String>, part: Option<Range<usize>>) -> Option<Place> {
    let part = part?;
    let node = mapping.text.get(at.span.clone())?;
    let start = at.span.start + node.find(&at.value)? + part.start.min(at.value.len());
    let line_start = mapping.text.get(..start)?.rfind('\n').map_or(0, |n| n + 1);
    let line = u32::try_from(mapping.text[..start].matches('\n').count()).ok()? + 1;
    let column = u32::try_from(mapping.text[line_start..start].chars().count()).ok()? + 1;
    let text = mapping.text[line_start..].lines().next().unwrap_or_default();
    let width = at.value.get(part).map_or(1, |p| p.chars().count()).max(1);
    Some(place(mapping, line, column, width, text))
}

fn place(mapping: &MappingSpec, line: u32, column: u32, width: usize, text: &str) -> Place {
    Place {
        file: mapping.path.to_string(),
        line,
        column,
        width: u32::try_from(width).unwrap_or(1),
        text: text.to_owned(),
    }
}
