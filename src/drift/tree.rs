//! The fields of a stream as a tree, so that what lies inside a field can go with it.

use std::collections::BTreeMap;

use crate::model::{Field, FieldPath, Segment};

/// A field and what lies inside it.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    /// Its shape; absent for the record itself, and where a catalog lists `a.b` but no `a`.
    pub field: Option<&'a Field>,
    /// What lies directly inside, by segment.
    pub children: BTreeMap<Segment, Node<'a>>,
}

impl<'a> Node<'a> {
    /// The whole tree of a stream's fields.
    pub fn of(fields: &'a BTreeMap<FieldPath, Field>) -> Self {
        let mut root = Self::default();
        for (path, field) in fields {
            let mut node = &mut root;
            for segment in path.segments() {
                node = node.children.entry(segment.clone()).or_default();
            }
            node.field = Some(field);
        }
        root
    }
}

impl<'a> Node<'a> {
    /// The node below this one at a path; the node itself for none.
    pub fn at(&self, path: Option<&FieldPath>) -> Option<&Node<'a>> {
        path.map_or(Some(self), |path| path.segments().iter().try_fold(self, |node, step| node.children.get(step)))
    }
}

/// `parent` with one more segment; at the top of a record the segment must be a name.
pub(super) fn below(parent: Option<&FieldPath>, segment: &Segment) -> Option<FieldPath> {
    match parent {
        Some(parent) => Some(parent.child(segment.clone())),
        None => FieldPath::from_segments(vec![segment.clone()]),
    }
}
