//! What of a table was given already: by the transactions that wrote its rows.
//!
//! No column of Airbyte's tables is a safe high-water mark. The source's clock sets `_airbyte_extracted_at` long before the
//! commit, an upsert may move it backwards, and raw ids are given when a record is parsed. So a row counts as given if the
//! transaction that wrote it (its `xmin`) was seen: it lies below every transaction that was running then, or it is one of
//! those above of which the table had rows. A transaction shows all of its rows or none, so each row version is given
//! once: neither a late commit nor an update in place is missed, and one that hangs elsewhere brings nothing twice.
//!
//! One difference remains, in rows older than 2³² transactions: their `xmin` shows the lower half only and may look new.
//! They are then read again.

use serde::{Deserialize, Serialize};

/// What is inside a [`crate::ports::LandingCursor`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The table that was read.
    pub table: Identity,
    /// What passes gave that came to their end; `None`: no pass did.
    pub given: Option<Seen>,
    /// Rows of jobs up to this one were given out of the table that was here before. Of them only the newest of each
    /// record is given again.
    pub again: Option<i64>,
    /// The pass that is under way.
    pub pass: Option<Pass>,
}

/// Which table, in which server. Anything else in its place is read from the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The server's identifier and timeline, and the database: a restored one counts transactions anew.
    pub server: String,
    /// Another after a swap.
    pub oid: i64,
    /// Another after a rewrite.
    pub file: i64,
}

/// The transactions whose rows a snapshot showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// All below this one.
    pub below: i64,
    /// And these.
    pub also: Vec<i64>,
    /// The newest job among their rows.
    pub job: i64,
}

/// A pass: it gives what its first snapshot showed and no pass before had given, page by page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// What its first snapshot showed.
    pub seen: Seen,
    /// The last row given; absent before the first page.
    pub after: Option<Position>,
}

/// A row's place in the order of reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// `_airbyte_extracted_at` as text.
    pub at: String,
    /// `ctid` as text: within one batch the order of records.
    pub ctid: String,
}

/// Beyond this distance `xmin` cannot be compared safely.
const FARTHEST: i64 = 1 << 31;

impl Mark {
    /// A table of which nothing was given yet.
    pub fn new(table: Identity, again: Option<i64>) -> Self {
        Self { table, given: None, again, pass: None }
    }

    /// This mark if it is of the table that is there now, else one for reading it again; `oldest` is the oldest
    /// transaction that runs.
    pub fn for_table(self, table: Identity, oldest: i64) -> Self {
        let seen = self.given.as_ref().or(self.pass.as_ref().map(|pass| &pass.seen));
        let is_far = seen.is_some_and(|seen| !(0..FARTHEST).contains(&(oldest - seen.below)));
        if self.table == table && !is_far {
            return self;
        }
        // what a pass that was cut off gave is not counted: it may have missed as much
        Self::new(table, self.given.map(|given| given.job).max(self.again))
    }

    /// Whether what was given is so long ago that it is better noted anew.
    pub fn is_aging(&self, oldest: i64) -> bool {
        self.given.as_ref().is_none_or(|given| oldest - given.below > FARTHEST / 2)
    }
}

impl Seen {
    /// The condition that the transaction `xid` (an expression) is among them.
    pub fn holds(&self, xid: &str) -> String {
        let also: Vec<String> = self.also.iter().map(i64::to_string).collect();
        format!("({xid} < {} OR {xid} = ANY ('{{{}}}'::bigint[]))", self.below, also.join(","))
    }
}
