//! A stream on both sides, and each level of it as rename detection wants it.

use super::compare::cursor_field;
use super::grade::permits;
use super::rename::{Kept, Level, Member, Role, Sampled};
use super::tree::{Node, below};
use crate::model::{FieldPath, FieldType, Segment, Stream, StreamName};

/// A place in a tree: its path (none for the record itself) and its node.
pub(super) type Spot<'n, 'a> = (Option<&'n FieldPath>, &'n Node<'a>);

/// A stream before and after, with what was sampled of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides<'s> {
    pub name: &'s StreamName,
    pub before: &'s Stream,
    pub after: &'s Stream,
    pub sampled: Option<&'s Sampled>,
}

impl<'s> Sides<'s> {
    /// The fields directly inside two fields that correspond to each other. Named ones only: items and values have no name to
    /// change.
    pub fn level<'n>(&self, before: Spot<'n, 'n>, after: Spot<'n, 'n>) -> Level<'n>
    where
        's: 'n,
    {
        let (was, is) = (before.1.field.map(|f| &f.ty), after.1.field.map(|f| &f.ty));
        let mut level = Level { table: &self.name.name, ..Level::default() };
        for (segment, node) in before.1.children.iter().filter(|(segment, _)| matches!(segment, Segment::Name(_))) {
            let (Some(path), Some(field)) = (below(before.0, segment), node.field) else { continue };
            match after.1.children.get(segment) {
                Some(other) => {
                    let place = other.field.and_then(|field| field.place);
                    level.kept.push(Kept { path, before: field.place, after: place });
                }
                None if goes_with_retype(was, is, segment) => {}
                None => level.gone.push(Member { role: role(self.before, &path), path, field }),
            }
        }
        for (segment, node) in after.1.children.iter().filter(|(segment, _)| matches!(segment, Segment::Name(_))) {
            let (Some(path), Some(field)) = (below(after.0, segment), node.field) else { continue };
            if !before.1.children.contains_key(segment) && !goes_with_retype(is, was, segment) {
                level.new.push(Member { role: role(self.after, &path), path, field });
            }
        }
        level
    }
}

/// What a field, or something in it, is in its stream. A suggested cursor is none: a source suggests by habit.
fn role(stream: &Stream, path: &FieldPath) -> Role {
    if stream.key.iter().any(|key| key.is_within(path)) {
        return Role::Key;
    }
    let is_cursor = matches!(stream.cursor, crate::model::Cursor::SourceDefined(_))
        && cursor_field(&stream.cursor).is_some_and(|cursor| cursor.is_within(path));
    if is_cursor { Role::Cursor } else { Role::Plain }
}

/// Whether what lies inside a field in this way is possible with the one type only: it comes and goes with the type.
pub(super) fn goes_with_retype(with: Option<&FieldType>, without: Option<&FieldType>, segment: &Segment) -> bool {
    matches!((with, without), (Some(with), Some(without)) if permits(with, segment) && !permits(without, segment))
}
