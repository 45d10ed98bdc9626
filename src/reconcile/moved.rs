//! Sources and destinations that a spec exchanged for others. An engine of its own cannot move a connection from one to the
//! other, and what others use must not be made into something else.

use std::collections::{BTreeMap, BTreeSet};

use super::ends::{ENDS, end_of};
use crate::model::ConnectionRef;
use crate::ports::{ConnectionRow, EngineId, ObjectKind};
use crate::spec::Connection;

/// Which of the engine's sources and destinations are used under which names.
#[derive(Debug, Default)]
pub(super) struct InUse {
    names: BTreeMap<(ObjectKind, EngineId), BTreeSet<ConnectionRef>>,
    ids: BTreeMap<(ObjectKind, ConnectionRef), BTreeSet<EngineId>>,
}

impl InUse {
    /// Of these connections, those left out of which the engine has nothing yet.
    pub(super) fn of<'a>(connections: impl Iterator<Item = (&'a ConnectionRow, &'a Connection)>) -> Self {
        let mut all = Self::default();
        for (row, connection) in connections {
            for kind in ENDS {
                let Some(id) = row.objects.get(&kind) else { continue };
                let name = &end_of(connection, kind).name;
                all.names.entry((kind, id.clone())).or_default().insert(name.clone());
                all.ids.entry((kind, name.clone())).or_default().insert(id.clone());
            }
        }
        all
    }

    /// Why the changed spec of a connection cannot be brought to the engine: it names another source or destination than
    /// the engine's connection has. One that only got another name goes on with all who use it.
    pub(super) fn moved(&self, connection: &Connection, row: &ConnectionRow) -> Option<String> {
        if row.applied_digest.as_ref().is_none_or(|applied| *applied == connection.digest) {
            return None;
        }
        ENDS.into_iter().find_map(|kind| {
            let (end, id) = (end_of(connection, kind), row.objects.get(&kind)?);
            let shared = self.names.get(&(kind, id.clone())).is_some_and(|names| names.len() > 1);
            let taken = self.ids.get(&(kind, end.name.clone())).is_some_and(|ids| ids.len() > 1);
            let declared = end.airbyte.id.is_some_and(|declared| declared.to_string() != id.0);
            (shared || taken || declared).then(|| {
                let word = kind.word();
                format!(
                    "its {word} is {} now, and the engine cannot move a connection to another {word}: put `{word}:` back, or \
                     declare the new pipeline in a file of its own and remove this one",
                    end.name
                )
            })
        })
    }
}
