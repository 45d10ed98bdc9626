//! What a drift reaches in the world. Asked once, when the drift is worked out, and always of the days before it was first
//! seen: while a stream is held, the rate of the last days would soon say that nothing is lost.

use super::drifted::Drifted;
use super::{Gathered, Reconciler, TurnError};
use crate::drift::radius::{Counted, asked};
use crate::ports::ConnectionRow;
use crate::repair::Telling;
use crate::spec::Connection;

impl Reconciler {
    /// Completes a repair with what it reaches and the files that tell it.
    pub(super) async fn tell(
        &self,
        gathered: &Gathered,
        connection: &Connection,
        row: &ConnectionRow,
        drifted: &mut Drifted,
    ) -> Result<(), TurnError> {
        // A drift that was noted keeps its time, and with it the bytes of its file.
        let open = gathered.drifts.iter().filter(|drift| drift.connection == row.id);
        let since = drifted.decided().map_or(drifted.seen_at, |(target, _)| drifted.known_since(target, open));
        let counted = Counted::before(since, row.created_at);
        let asked = asked(&drifted.repair.assessment);
        let usage = match asked.is_empty() {
            true => None,
            false => Some(self.doors.registry.usage(row.id, counted, &asked).await?),
        };
        drifted.repair.tell(&Telling {
            desired: gathered.desired(),
            connection,
            files: &gathered.resolved.files,
            tables: &|catalog| self.doors.engine.tables(connection, catalog),
            usage: usage.as_ref(),
        });
        Ok(())
    }
}
