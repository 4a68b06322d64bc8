//! A thread that uses a share of one core.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

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
        while began.elapsed() < busy {
            spin_loop();
        }
        if stop.within(period.saturating_sub(busy)) {
            return;
        }
    }
}
