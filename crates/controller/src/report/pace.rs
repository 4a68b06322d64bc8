//! Limits how often something is written about one policy.
//!
//! - Its status: one action changes the status about eight times, and each of these changes is
//!   written at once. A policy with dozens of flapping targets gets one write every ten seconds.
//! - Events about its targets: those of a fault of twenty targets are written at once. A policy
//!   with dozens of flapping targets gets one every ten seconds. Events about actions are not
//!   limited here, because the actions are.

use std::time::Duration;
use tokio::time::Instant;

/// The mean time between two writes in the long run, and the longest delay of a status.
const EVERY: Duration = Duration::from_secs(10);
/// The most writes of a status at once: the stages of one action, and one more.
const STATUSES_AT_ONCE: u32 = 9;
/// The most Events at once: three for each of twenty targets.
pub(super) const EVENTS_AT_ONCE: u32 = 60;

/// A policy's allowance of writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The most writes at once.
    at_once: u32,
    /// The saved allowance, as time: one write costs [`EVERY`].
    saved: Duration,
    counted: Instant,
}

impl Pace {
    /// The full allowance of status writes.
    pub(super) fn of_status(now: Instant) -> Self {
        Self::full(STATUSES_AT_ONCE, now)
    }

    /// The full allowance of Events about targets.
    pub(super) fn of_events(now: Instant) -> Self {
        Self::full(EVENTS_AT_ONCE, now)
    }

    fn full(at_once: u32, now: Instant) -> Self {
        Self { at_once, saved: EVERY * at_once, counted: now }
    }

    /// How long a write must wait, unless it is urgent. `None`: it need not wait.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.saved = (self.saved + now.saturating_duration_since(self.counted)).min(EVERY * self.at_once);
        self.counted = now;
        EVERY.checked_sub(self.saved).filter(|wait| !wait.is_zero())
    }

    /// Counts a write.
    pub(super) fn spend(&mut self) {
        self.saved = self.saved.saturating_sub(EVERY);
    }

    /// Whether the whole allowance is saved, as of the last [`Self::wait`].
    pub(super) fn is_full(&self) -> bool {
        self.saved == EVERY * self.at_once
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_one_action_are_written_at_once_and_a_flapping_policy_every_ten_seconds() {
        let start = Instant::now();
        let mut pace = Pace::of_status(start);
        // The status changes every second for ten minutes.
        let mut written = Vec::new();
        for second in 0..600 {
            if pace.wait(start + Duration::from_secs(second)).is_none() {
                pace.spend();
                written.push(second);
            }
        }
        assert_eq!(written[..9], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(written[10..].windows(2).all(|pair| pair[1] - pair[0] == 10), "{written:?}");
        assert_eq!(pace.wait(start + Duration::from_mins(10)), None);
    }

    #[test]
    fn a_write_waits_until_its_allowance_is_saved() {
        let start = Instant::now();
        let mut pace = Pace::of_status(start);
        (0..STATUSES_AT_ONCE).for_each(|_| pace.spend());
        assert_eq!(pace.wait(start), Some(EVERY));
        assert_eq!(pace.wait(start + Duration::from_secs(4)), Some(Duration::from_secs(6)));
        assert_eq!(pace.wait(start + EVERY), None);
    }
}
