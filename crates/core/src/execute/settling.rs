//! How long an action waits until the workload has its Ready pods again.

use jiff::{SignedDuration, Timestamp};

use super::{ActionWorld, Facts};
use crate::time::{after, elapsed, times};

/// The deadline for the workload to have its Ready pods again.
pub(super) fn settle_by(facts: &Facts, world: &ActionWorld, now: Timestamp) -> Timestamp {
    let expected = after(now, facts.action.settle_within(world.ready_times, facts.ready_within));
    // A pod may have a longer grace period than a record holds.
    let ready_within = facts.action.ready_within(world.ready_times, facts.ready_within);
    world.terminating_until.map_or(expected, |until| expected.max(after(until, ready_within)))
}

/// How much longer than its deadline a rollout that makes progress may take. No window, cooldown or
/// ladder of any policy is longer.
const LONGEST_ROLLOUT: SignedDuration = SignedDuration::from_hours(24);

/// Whether the workload should have its Ready pods by now. A rollout that makes progress is not
/// late, as long as it may be replacing one pod after the other.
///
/// Harmful case: somebody edits the workload again and again. Each edit begins a rollout that makes
/// progress, and the action would never end.
pub(super) fn is_late(facts: &Facts, world: &ActionWorld, now: Timestamp) -> bool {
    let Some(settle_by) = facts.settle_by else { return false };
    let ready_within = facts.action.ready_within(world.ready_times, facts.ready_within);
    let one_by_one = times(ready_within, i32::try_from(world.replicas).unwrap_or(i32::MAX)).min(LONGEST_ROLLOUT);
    let by_progress = progresses_until(facts, world).map_or(settle_by, |until| until.min(after(settle_by, one_by_one)));
    now >= settle_by.max(by_progress)
}

/// Until when a rollout of the workload counts as making progress. `None`: no rollout.
#[must_use]
pub fn progresses_until(facts: &Facts, world: &ActionWorld) -> Option<Timestamp> {
    let ready_within = facts.action.ready_within(world.ready_times, facts.ready_within);
    world.rollout_progress.map(|progress| after(progress, ready_within))
}

/// Whether a pod takes long to end: it has a long grace period, or it hangs after that, for example
/// for a finalizer. Meanwhile the action takes no slot of its policy.
#[must_use]
pub fn ends_slowly(terminating_until: Timestamp, now: Timestamp) -> bool {
    const LONG: SignedDuration = SignedDuration::from_mins(1);
    elapsed(now, terminating_until) > LONG || elapsed(terminating_until, now) > LONG
}
