//! Limits how often the status of one policy is written. One action changes the status about eight
//! times, and each of these changes is written at once. A policy with dozens of flapping targets
//! gets one write every ten seconds.

use std::time::{Duration, Instant};

/// The mean time between two writes in the long run, and the longest delay of a write.
const EVERY: Duration = Duration::from_secs(10);
/// The most writes at once: the stages of one action, and one more.
const AT_ONCE: u32 = 9;

/// A policy's allowance of writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The saved allowance, as time: one write costs [`EVERY`].
    saved: Duration,
    counted: Instant,
}

impl Pace {
    /// The full allowance.
    pub(super) fn new(now: Instant) -> Self {
        Self { saved: EVERY * AT_ONCE, counted: now }
    }

    /// How long a write must wait, unless it is urgent. `None`: it need not wait.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.saved = (self.saved + now.saturating_duration_since(self.counted)).min(EVERY * AT_ONCE);
        self.counted = now;
        EVERY.checked_sub(self.saved).filter(|wait| !wait.is_zero())
    }

    /// Counts a write.
    pub(super) fn spend(&mut self) {
        self.saved = self.saved.saturating_sub(EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_one_action_are_written_at_once_and_a_flapping_policy_every_ten_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
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
        let mut pace = Pace::new(start);
        (0..AT_ONCE).for_each(|_| pace.spend());
        assert_eq!(pace.wait(start), Some(EVERY));
        assert_eq!(pace.wait(start + Duration::from_secs(4)), Some(Duration::from_secs(6)));
        assert_eq!(pace.wait(start + EVERY), None);
    }
}
