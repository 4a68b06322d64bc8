//! How long pods may take to become Ready.
//!
//! Harmful case: a model server takes ten minutes to load. A healer that gives its replacement
//! five minutes calls the action a failure, removes the replacement, and never lets it start.

use jiff::{SignedDuration, Timestamp};

use crate::target::Target;
use crate::time::after;

/// The longest progress deadline of a workload that counts. `2147483647` seconds means none,
/// and an action must not last for 68 years. A policy may ask for more with
/// `steps[].verify.readyWithin`.
const LONGEST_DEADLINE: SignedDuration = SignedDuration::from_hours(1);
/// The progress deadline of a workload that has none. Kubernetes uses it for a Deployment.
const DEFAULT_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// How long the owner of a workload lets its pods take to become Ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadyTimes {
    /// How long the startup probes let a pod take to start. `None`: it has none.
    pub startup: Option<SignedDuration>,
    /// The time without progress after which the workload's own controller gives up. `None`: it
    /// never does.
    pub progress_deadline: Option<SignedDuration>,
}

impl ReadyTimes {
    /// How long pods may take to become Ready after they were created: the largest of what
    /// their owner allows, what the policy asks for (`asked`), and `at_least`. The startup
    /// probes run when the pod is scheduled and its images are pulled, which may take
    /// `at_least` by itself.
    #[must_use]
    pub fn ready_within(self, at_least: SignedDuration, asked: Option<SignedDuration>) -> SignedDuration {
        let startup = self.startup.map(|startup| startup.checked_add(at_least).unwrap_or(SignedDuration::MAX));
        let deadline = self.progress_deadline.map(|deadline| deadline.min(LONGEST_DEADLINE));
        [startup, deadline, asked].into_iter().flatten().fold(at_least, SignedDuration::max)
    }

    /// How long a rollout may make no progress before it counts as stuck.
    #[must_use]
    pub fn stuck_after(self, asked: Option<SignedDuration>) -> SignedDuration {
        let deadline = self.progress_deadline.map_or(DEFAULT_DEADLINE, |deadline| deadline.min(LONGEST_DEADLINE));
        [self.startup, asked].into_iter().flatten().fold(deadline, SignedDuration::max)
    }
}

/// Until when a pod may still be starting. `None`: it is not, or nobody says how long it may take:
/// neither its startup probes nor the policy (`asked`). A pod that became Ready in that time counts
/// as starting for `breach_for` more: until then, the breach that is seen may be older. A pod that is
/// certainly in a crash loop is not starting.
///
/// Harmful cases: a policy heals pods that are not Ready for five minutes, and a pod takes ten
/// minutes to load. It would be removed again and again, and never become Ready. Or it becomes
/// Ready at last, and is removed in that second, because its metric was not scraped again yet.
#[must_use]
pub fn starting_until(target: &Target, asked: Option<SignedDuration>, breach_for: SignedDuration) -> Option<Timestamp> {
    let budget = target.startup.into_iter().chain(asked).max()?;
    let started_by = after(target.created, budget);
    match target.ready_since {
        Some(since) => (since <= started_by).then(|| after(since, breach_for)),
        None if target.ready || target.crash_looping => None,
        None => Some(started_by),
    }
}
