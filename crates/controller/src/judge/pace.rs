//! How often the status of one policy is written. A heal changes it some eight times, and
//! whoever watches sees each of them; a policy whose targets flap by the dozen is told of
//! in one write every ten seconds.

use std::time::{Duration, Instant};

/// So often, in the long run, and so late at most.
const EVERY: Duration = Duration::from_secs(10);
/// So many may come at once: the stages of one heal, and one to spare.
const AT_ONCE: u32 = 9;

/// A policy's allowance of writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// What has been saved up, as time: one write takes [`EVERY`].
    saved: Duration,
    counted: Instant,
}

impl Pace {
    /// With all that can be saved up.
    pub(super) fn new(now: Instant) -> Self {
        Self { saved: EVERY * AT_ONCE, counted: now }
    }

    /// How long a write that can wait has to; `None`: not at all.
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
    fn the_stages_of_a_heal_are_told_at_once_and_a_flapping_policy_every_ten_seconds() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        // Something changes every second for ten minutes.
        let mut written = Vec::new();
        for second in 0..600 {
            if pace.wait(begun + Duration::from_secs(second)).is_none() {
                pace.spend();
                written.push(second);
            }
        }
        assert_eq!(written[..9], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(written[10..].windows(2).all(|pair| pair[1] - pair[0] == 10), "{written:?}");
        assert_eq!(pace.wait(begun + Duration::from_mins(10)), None);
    }

    #[test]
    fn what_waits_is_told_when() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        (0..AT_ONCE).for_each(|_| pace.spend());
        assert_eq!(pace.wait(begun), Some(EVERY));
        assert_eq!(pace.wait(begun + Duration::from_secs(4)), Some(Duration::from_secs(6)));
        assert_eq!(pace.wait(begun + EVERY), None);
    }
}
