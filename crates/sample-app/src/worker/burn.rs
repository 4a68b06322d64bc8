//! A thread that uses a share of one core.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::Stop;
use crate::quantity::Percentage;

/// Busy for a share of this, idle for the rest. Short against the 100 ms in
/// which the kernel accounts a container's quota, so that a share below the
/// quota is not throttled.
const PERIOD_MICROSECONDS: u32 = 20_000;

pub(super) fn run(percentage: Percentage, ends: Option<Instant>, stop: &Stop) {
    let period = Duration::from_micros(PERIOD_MICROSECONDS.into());
    let busy = Duration::from_micros(percentage.of(PERIOD_MICROSECONDS).into());
    loop {
        let began = Instant::now();
        if ends.is_some_and(|ends| began >= ends) {
            return;
        }
        let before = used();
        while used().saturating_sub(before) < busy {
            spin_loop();
        }
        if stop.within(period.saturating_sub(began.elapsed())) {
            return;
        }
    }
}

/// The processor time of this thread. The wall clock would count what others had of the
/// core meanwhile: on a busy machine the share would be smaller than asked for.
fn used() -> Duration {
    // Linux has this clock for every thread.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}
