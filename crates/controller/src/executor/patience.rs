//! How long an effect that was refused is not tried again. Many things wake the
//! executor, its own note of the refusal among them: none of them is a reason to try
//! sooner.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Until when each action waits, by its uid. Gone with the process: a successor tries
/// once at once.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    until: Mutex<HashMap<String, Instant>>,
}

impl Patience {
    /// Has an action wait, from now on.
    pub(super) fn wait(&self, action: &str, now: Instant, time: Duration) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        // What is over by now may have been finished without another try.
        until.retain(|_, until| *until > now);
        until.insert(action.to_owned(), now + time);
    }

    /// How long an action still waits.
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
    fn each_action_waits_for_its_own_time() {
        let (patience, begun) = (Patience::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        patience.wait("a", begun, PAUSE);
        patience.wait("b", at(2), PAUSE);
        assert_eq!(patience.left("a", at(2)), Some(Duration::from_secs(3)));
        assert_eq!(patience.left("c", at(2)), None);
        assert_eq!((patience.left("a", at(5)), patience.left("b", at(5))), (None, Some(Duration::from_secs(2))));
    }

    #[test]
    fn what_is_over_is_not_kept() {
        let (patience, begun) = (Patience::default(), Instant::now());
        patience.wait("a", begun, PAUSE);
        patience.wait("b", begun + PAUSE, PAUSE);
        assert_eq!(patience.until.lock().unwrap().len(), 1);
    }
}
