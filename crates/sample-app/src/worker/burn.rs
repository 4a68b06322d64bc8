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

/// What others have kept it from using is made up for, but no more than this.
const LONGEST_DEBT: Duration = Duration::from_secs(1);

pub(super) fn run(percentage: Percentage, ends: Option<Instant>, stop: &Stop) {
    let period = Duration::from_micros(PERIOD_MICROSECONDS.into());
    let share = |of: Duration| {
        let microseconds = u32::try_from(of.as_micros()).unwrap_or(u32::MAX);
        Duration::from_micros(percentage.of(microseconds).into())
    };
    let (mut last, mut debt) = (Instant::now(), Duration::ZERO);
    loop {
        let now = Instant::now();
        if ends.is_some_and(|ends| now >= ends) {
            return;
        }
        debt = LONGEST_DEBT.min(debt.saturating_add(share(now - last)));
        last = now;
        let (before, busy) = (used(), debt.min(period));
        while used().saturating_sub(before) < busy {
            spin_loop();
        }
        debt = debt.saturating_sub(used().saturating_sub(before));
        if stop.within(period.saturating_sub(now.elapsed())) {
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
