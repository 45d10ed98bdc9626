//! The closed list of changes, each with before and after.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{FieldPath, FieldType, StreamName, SyncMode};

/// One difference between two catalogs. A field that is renamed and retyped carries both in one [`Change::FieldRenamed`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// A stream appeared.
    StreamAdded {
        /// Which.
        stream: StreamName,
        /// How many fields it has.
        fields: usize,
    },
    /// A stream is gone.
    StreamRemoved {
        /// Which.
        stream: StreamName,
    },
    /// A stream goes by another name now. What changed inside it is told apart, under the new name.
    StreamRenamed {
        /// The old name.
        stream: StreamName,
        /// The new name.
        to: StreamName,
    },
    /// A field appeared.
    FieldAdded {
        /// Where.
        stream: StreamName,
        /// Which.
        field: FieldPath,
        /// Its type and nullability.
        after: Shape,
    },
    /// A field is gone.
    FieldRemoved {
        /// Where.
        stream: StreamName,
        /// Which.
        field: FieldPath,
        /// What it was.
        before: Shape,
    },
    /// A field goes by another name now; fields inside it go with it.
    FieldRenamed {
        /// Where.
        stream: StreamName,
        /// The old name.
        from: FieldPath,
        /// The new name.
        to: FieldPath,
        /// What it was.
        before: Shape,
        /// What it is.
        after: Shape,
    },
    /// A field has another type.
    FieldRetyped {
        /// Where.
        stream: StreamName,
        /// Which.
        field: FieldPath,
        /// What it was.
        before: FieldType,
        /// What it is.
        after: FieldType,
        /// Whether old values fit the new type and the other way round.
        grade: Grade,
    },
    /// A field may be null now, or may not any more.
    NullabilityChanged {
        /// Where.
        stream: StreamName,
        /// Which.
        field: FieldPath,
        /// Whether it may be null now.
        nullable: bool,
    },
    /// The source defines another key.
    KeyChanged {
        /// Where.
        stream: StreamName,
        /// What it was.
        before: Vec<FieldPath>,
        /// What it is.
        after: Vec<FieldPath>,
    },
    /// The source says something else about cursors; `lost` if nothing can be a cursor any more, or the one in use is gone.
    CursorChanged {
        /// Where.
        stream: StreamName,
        /// What it was, in the lock's form.
        before: String,
        /// What it is.
        after: String,
        /// Whether incremental reading stops working.
        lost: bool,
    },
    /// The source supports other sync modes.
    SyncModesChanged {
        /// Where.
        stream: StreamName,
        /// What they were.
        before: BTreeSet<SyncMode>,
        /// What they are.
        after: BTreeSet<SyncMode>,
    },
}

/// Type and nullability of a field, in the lock's form (`integer!`).
pub type Shape = String;

/// What a change of type means for values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Every old value is a value of the new type, unchanged (`integer → number`).
    Widened,
    /// Only some old values are (`number → integer`, `string → string<uuid>`).
    Narrowed,
    /// Values must be read in another way (`integer → string`).
    Reinterpreted,
}

impl Change {
    /// The stream it happens in, as the observed catalog names it; of what is about a stream that went, the old name.
    pub fn stream(&self) -> &StreamName {
        match self {
            Self::StreamAdded { stream, .. }
            | Self::StreamRemoved { stream }
            | Self::StreamRenamed { stream, .. }
            | Self::FieldAdded { stream, .. }
            | Self::FieldRemoved { stream, .. }
            | Self::FieldRenamed { stream, .. }
            | Self::FieldRetyped { stream, .. }
            | Self::NullabilityChanged { stream, .. }
            | Self::KeyChanged { stream, .. }
            | Self::CursorChanged { stream, .. }
            | Self::SyncModesChanged { stream, .. } => stream,
        }
    }

    /// Whether the source no longer has what it had, so that it cannot be read as before: what only says something else of
    /// what is still there does not.
    pub fn takes_away(&self) -> bool {
        match self {
            Self::StreamRemoved { .. }
            | Self::StreamRenamed { .. }
            | Self::FieldRemoved { .. }
            | Self::FieldRenamed { .. } => true,
            Self::CursorChanged { lost, .. } => *lost,
            Self::SyncModesChanged { before, after, .. } => !before.is_subset(after),
            Self::StreamAdded { .. }
            | Self::FieldAdded { .. }
            | Self::FieldRetyped { .. }
            | Self::NullabilityChanged { .. }
            | Self::KeyChanged { .. } => false,
        }
    }

    /// The field it is about, a renamed one by its old name; `None` for what concerns the stream as a whole.
    pub fn field(&self) -> Option<&FieldPath> {
        match self {
            Self::FieldAdded { field, .. }
            | Self::FieldRemoved { field, .. }
            | Self::FieldRetyped { field, .. }
            | Self::NullabilityChanged { field, .. } => Some(field),
            Self::FieldRenamed { from, .. } => Some(from),
            _ => None,
        }
    }
}
