//! `_airbyte_raw_id`: UUIDs of version 7 that grow strictly within a landing table, whatever the clock does.
//!
//! The last one is kept in the table's ledger row, in the transaction that wrote it, and the next is made above it. So
//! the order of raw ids is the order of delivery over all jobs, and "greater than the last one read" finds exactly the
//! rows that came since.

use chrono::Utc;
use uuid::Uuid;

/// The bits below the timestamp that we count in; the version and variant bits lie between them.
const LOW_BITS: u32 = 74;

/// Makes raw ids.
#[derive(Debug, Clone)]
pub struct RawIds {
    /// 48 bits of milliseconds, then [`LOW_BITS`].
    at: u128,
}

impl RawIds {
    /// Goes on after `last`, if there is one.
    pub fn after(last: Option<Uuid>) -> Self {
        let mut ids = Self { at: last.map_or(0, |id| pack(id.as_u128())) };
        ids.refresh();
        ids
    }

    /// Moves up to the present time, unless that would go backwards. Call it once for a batch.
    pub fn refresh(&mut self) {
        let now = u128::try_from(Utc::now().timestamp_millis()).unwrap_or(0) << LOW_BITS;
        if now > self.at {
            // half the room is left for counting
            let random = Uuid::now_v7().as_u128() & ((1 << 62) - 1);
            self.at = now | random << 11;
        }
    }

    /// Appends the next id's text.
    pub fn push_next(&mut self, out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.at += 1;
        let bytes = unpack(self.at).to_be_bytes();
        for (i, byte) in bytes.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                out.push(b'-');
            }
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }

    /// The id last made.
    pub fn last(&self) -> Uuid {
        Uuid::from_u128(unpack(self.at))
    }
}

fn unpack(at: u128) -> u128 {
    let (ms, rand_a, rand_b) = (at >> LOW_BITS, (at >> 62) & 0xfff, at & ((1 << 62) - 1));
    ms << 80 | 7 << 76 | rand_a << 64 | 2 << 62 | rand_b
}

fn pack(id: u128) -> u128 {
    (id >> 80) << LOW_BITS | ((id >> 64) & 0xfff) << 62 | (id & ((1 << 62) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_stood_ahead() {
        let ahead = "ffff0000-0000-7fff-bfff-ffffffffffff".parse::<Uuid>().unwrap();
        let mut ids = RawIds::after(Some(ahead));
        let mut last = ahead.to_string();
        for _ in 0..1000 {
            let mut text = Vec::new();
            ids.refresh();
            ids.push_next(&mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(text > last);
            assert_eq!(ids.last().to_string(), text);
            assert_eq!(ids.last().get_version_num(), 7);
            last = text;
        }
        assert_eq!(&last[..8], "ffff0000");
    }
}
