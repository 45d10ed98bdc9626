//! What the benchmarks measure with.

use std::time::{Duration, Instant};

/// The best of three runs: what disturbs a machine only makes a run longer.
pub fn best(mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..3).map(time).min().unwrap()
}
