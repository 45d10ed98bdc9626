//! What the benchmarks measure with.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The best of three runs: what disturbs a machine only makes a run longer.
#[allow(dead_code, reason = "not every benchmark has disks or threads in it")]
pub fn best(run: impl FnMut()) -> Duration {
    let began = Instant::now();
    least(run, || began.elapsed())
}

/// The same for what one thread does in memory, counted while it is on a processor: whoever else wants one does not count.
#[allow(dead_code, reason = "not every benchmark is of one thread")]
pub fn best_on_processor(run: impl FnMut()) -> Duration {
    least(run, || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
    })
}

fn least(mut run: impl FnMut(), clock: impl Fn() -> Duration) -> Duration {
    let time = |_| {
        let start = clock();
        run();
        clock() - start
    };
    (0..3).map(time).min().unwrap()
}
