//! What is remembered of the requests of an action: until when a refused one is not repeated, that
//! a change was accepted, and when its effect was last not in place. The action reconciler is woken
//! for many reasons, also by its own record of a refusal. None of them is a reason to retry sooner.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// When each action may be tried again, by its uid. This is not stored: after a restart of the
/// controller, each action is tried at once.
#[derive(Debug, Default)]
pub(crate) struct RetryDelays {
    until: Mutex<HashMap<String, Instant>>,
    /// When the API server accepted a change, by the uid of its action.
    accepted: Mutex<HashMap<String, Instant>>,
    /// When the effect of a started action was last not in place, by the uid of the action and the
    /// API server's clock.
    absent: Mutex<HashMap<String, Timestamp>>,
}

/// How long an accepted change is remembered: longer than an action tries to make it.
const ACCEPTED_FOR: Duration = Duration::from_mins(15);

impl RetryDelays {
    /// Delays an action by `time` from `now` on.
    pub(super) fn delay(&self, action: &str, now: Instant, time: Duration) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        // An action may have ended without another try: its entry is dropped here.
        until.retain(|_, until| *until > now);
        until.insert(action.to_owned(), now + time);
    }

    /// Remembers that the API server accepted the change of an action.
    pub(super) fn accept(&self, action: &str, now: Instant) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.retain(|_, at| now.duration_since(*at) < ACCEPTED_FOR);
        accepted.insert(action.to_owned(), now);
    }

    /// Whether the API server accepted the change of an action.
    pub(super) fn is_accepted(&self, action: &str) -> bool {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).contains_key(action)
    }

    /// Remembers that the effect of an action was not in place at `at`.
    pub(super) fn saw_absent(&self, action: &str, at: Timestamp) {
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = SignedDuration::try_from(ACCEPTED_FOR).unwrap_or(SignedDuration::MAX);
        absent.retain(|_, seen| at.duration_since(*seen) < kept);
        absent.insert(action.to_owned(), at);
    }

    /// When the effect of an action was last not in place. `None`: this process has not seen that.
    pub(super) fn absent_at(&self, action: &str) -> Option<Timestamp> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner).get(action).copied()
    }

    /// How long an action still has to wait.
    pub(super) fn left(&self, action: &str, now: Instant) -> Option<Duration> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner).get(action)?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    #[test]
    fn each_action_waits_for_its_own_delay() {
        let (delays, start) = (RetryDelays::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        delays.delay("a", start, PAUSE);
        delays.delay("b", at(2), PAUSE);
        assert_eq!(delays.left("a", at(2)), Some(Duration::from_secs(3)));
        assert_eq!(delays.left("c", at(2)), None);
        assert_eq!((delays.left("a", at(5)), delays.left("b", at(5))), (None, Some(Duration::from_secs(2))));
    }

    #[test]
    fn the_last_time_without_the_effect_is_kept_while_an_action_tries() {
        let (delays, start) = (RetryDelays::default(), Timestamp::UNIX_EPOCH);
        let at = |minutes| start + SignedDuration::from_mins(minutes);
        delays.saw_absent("a", at(0));
        delays.saw_absent("a", at(9));
        assert_eq!([delays.absent_at("a"), delays.absent_at("b")], [Some(at(9)), None]);
        delays.saw_absent("b", at(24));
        assert_eq!(delays.absent_at("a"), None);
    }

    #[test]
    fn a_delay_that_is_over_is_not_kept() {
        let (delays, start) = (RetryDelays::default(), Instant::now());
        delays.delay("a", start, PAUSE);
        delays.delay("b", start + PAUSE, PAUSE);
        assert_eq!(delays.until.lock().unwrap().len(), 1);
    }
}
