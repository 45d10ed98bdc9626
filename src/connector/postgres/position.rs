//! Where a read of a table stands, so that it can be taken up after any batch without losing or doubling a row.
//!
//! - A full read goes along the key; its position is the last key.
//! - An incremental read goes along the cursor and begins again *at* the last value, because rows may have appeared
//!   there since. Rows already sent are told apart by their hashes. A row whose cursor is `infinity` or `NaN` never
//!   moves the position (nothing could come after it); such rows are known by their hashes for good.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::connector::copy_text::unescape;

/// At most so many rows that share the last cursor value are remembered. Beyond that they are all sent again next time:
/// dedup removes them; an append doubles them, which is better than losing one.
const MAX_SEEN: usize = 200_000;

/// The state of a stream, opaque to everyone else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// After this key.
    Key(Vec<String>),
    /// At this cursor value; `None` is null, the lowest.
    Cursor {
        /// The cursor's column: another one makes this position void.
        field: String,
        /// The last value, as text.
        at: Option<String>,
        /// Hashes of the rows at this value that are sent.
        #[serde(default)]
        seen: Vec<String>,
        /// Hashes of the rows at infinity or NaN that are sent.
        #[serde(default)]
        beyond: Vec<String>,
    },
}

/// Follows the cursor through a read.
#[derive(Debug, Default)]
pub struct Along {
    at: Option<Vec<u8>>,
    started: bool,
    seen: Vec<String>,
    beyond: Vec<String>,
    known: HashMap<String, u32>,
    known_beyond: HashMap<String, u32>,
    known_at: Option<Vec<u8>>,
    tie_from: usize,
}

fn hash(line: &[u8]) -> String {
    hex::encode(&Sha256::digest(line)[..12])
}

fn is_beyond(cursor: &[u8]) -> bool {
    matches!(cursor, b"infinity" | b"Infinity" | b"NaN")
}

/// Equal rows count one by one: a table without a key may hold the same row twice.
fn counted(hashes: &[String]) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for hash in hashes {
        *counts.entry(hash.clone()).or_default() += 1;
    }
    counts
}

fn was_there(known: &mut HashMap<String, u32>, hash: &str) -> bool {
    match known.get_mut(hash).filter(|left| **left > 0) {
        Some(left) => {
            *left -= 1;
            true
        }
        None => false,
    }
}

impl Along {
    /// Begins at a position; `escaped` is its cursor value as it looks in COPY text.
    pub fn from(seen: Vec<String>, beyond: Vec<String>, escaped: Vec<u8>) -> Self {
        Self {
            at: Some(escaped.clone()),
            started: true,
            known: counted(&seen),
            known_beyond: counted(&beyond),
            seen,
            beyond,
            known_at: Some(escaped),
            tie_from: 0,
        }
    }

    /// Takes note of a row before it is appended at `offset` of the batch; `false` if it was sent before.
    pub fn wants(&mut self, cursor: &[u8], line: &[u8], offset: usize) -> bool {
        if is_beyond(cursor) {
            let hash = hash(line);
            let new = !was_there(&mut self.known_beyond, &hash);
            if new {
                self.beyond.push(hash);
            }
            return new;
        }
        if self.known_at.as_deref() == Some(cursor) && was_there(&mut self.known, &hash(line)) {
            return false;
        }
        if !self.started || self.at.as_deref() != Some(cursor) {
            self.started = true;
            self.at = Some(cursor.to_vec());
            self.seen.clear();
            self.tie_from = offset;
        }
        true
    }

    /// The position after the batch; hashes the rows of the last value, which lie at its end.
    pub fn position(&mut self, field: &str, rows: &[u8]) -> Option<Position> {
        let ties = rows.get(self.tie_from..).unwrap_or_default().split_inclusive(|b| *b == b'\n');
        if self.seen.len() <= MAX_SEEN {
            self.seen.extend(ties.take(MAX_SEEN + 1).map(|line| hash(line.strip_suffix(b"\n").unwrap_or(line))));
        }
        self.tie_from = 0;
        if self.at.is_none() && self.beyond.is_empty() {
            return None;
        }
        let at = self.at.as_deref().and_then(unescape);
        let seen = if self.seen.len() > MAX_SEEN { Vec::new() } else { self.seen.clone() };
        Some(Position::Cursor { field: field.to_owned(), at, seen, beyond: self.beyond.clone() })
    }
}
