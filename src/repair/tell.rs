//! Tells what a repair is about: works out what each part reaches and adds the drift file to its commit.
//!
//! Apart from drafting, because what is told depends on the drift that was found: since when it is known decides of which days
//! events are counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::draft::{Part, Repair, branch};
use super::file::{self, Story};
use crate::drift::radius::{Surroundings, Tables, Usage, radius};
use crate::model::{Catalog, FileEdit, RepoPath};
use crate::spec::{Connection, Desired};

/// What is told besides the repair itself.
pub struct Telling<'a> {
    /// The committed state.
    pub desired: &'a Desired,
    /// The connection, with its lock.
    pub connection: &'a Connection,
    /// All committed files, for drift files that are there already.
    pub files: &'a BTreeMap<RepoPath, Arc<[u8]>>,
    /// Where a catalog lands.
    pub tables: &'a dyn Fn(&Catalog) -> Tables,
    /// What was counted of what [`crate::drift::radius::asked`] names.
    pub usage: Option<&'a Usage>,
}

impl Repair {
    /// Completes every part. Pure: the same input gives the same bytes.
    pub fn tell(&mut self, telling: &Telling<'_>) {
        let approved = telling.connection.lock.as_ref().map(|lock| (telling.tables)(&lock.catalog)).unwrap_or_default();
        for part in [&mut self.automatic, &mut self.proposed, &mut self.rejected].into_iter().flatten() {
            part.tell(telling, &approved);
        }
    }
}

impl Part {
    fn tell(&mut self, telling: &Telling<'_>, tables: &Tables) {
        let connection = telling.connection;
        self.radius = radius(
            &self.assessment,
            &Surroundings {
                connection,
                desired: telling.desired,
                tables,
                tables_after: &(telling.tables)(&self.lock.catalog),
                usage: telling.usage,
            },
        );
        let text = file::write(&Story {
            connection: &connection.name,
            base: &self.base,
            target: &self.lock.fingerprint,
            version: self.lock.version,
            lock: &connection.lock_path,
            assessment: &self.assessment,
            radius: &self.radius,
            trials: self.trials.as_deref(),
            taken_in: self.taken_in,
            edits: &self.commit.edits,
            notes: &self.notes,
            branch: &branch(&connection.name),
        });
        // The same drift may have been met before, and undone since.
        let before = telling.files.get(&self.drift_path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        if before.as_ref() != Some(&text) {
            self.commit.edits.push(FileEdit { path: self.drift_path.clone(), before, after: Some(text) });
        }
    }
}
