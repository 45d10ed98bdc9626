//! A clock that a test sets ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aam::ports::Clock;
use chrono::{DateTime, TimeDelta, Utc};

/// The machine's clock, ahead by so many seconds.
#[derive(Clone, Default)]
pub struct Ahead(pub Arc<AtomicI64>);

impl Clock for Ahead {
    fn now(&self) -> DateTime<Utc> {
        let now = Utc::now() + TimeDelta::seconds(self.0.load(Ordering::SeqCst));
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap()
    }
}
