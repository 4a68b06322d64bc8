//! How long an action waits until the workload has its Ready pods again.

use jiff::{SignedDuration, Timestamp};

use super::{ActionWorld, Facts};
use crate::time::{after, elapsed};

/// The deadline for the workload to have its Ready pods again.
pub(super) fn settle_by(facts: &Facts, world: &ActionWorld, now: Timestamp) -> Timestamp {
    let expected = after(now, facts.action.settle_within(world.ready_times, facts.ready_within));
    // A pod may have a longer grace period than a record holds.
    let ready_within = facts.action.ready_within(world.ready_times, facts.ready_within);
    world.terminating_until.map_or(expected, |until| expected.max(after(until, ready_within)))
}

/// Whether the workload should have its Ready pods by now. A rollout that makes progress is not
/// late, however many pods it still has to replace.
pub(super) fn is_late(facts: &Facts, world: &ActionWorld, now: Timestamp) -> bool {
    let ready_within = facts.action.ready_within(world.ready_times, facts.ready_within);
    let by_progress = world.rollout_progress.map(|progress| after(progress, ready_within));
    facts.settle_by.is_some_and(|settle_by| now >= settle_by.max(by_progress.unwrap_or(settle_by)))
}

/// Whether a pod takes long to end: it has a long grace period, or it hangs after that, for example
/// for a finalizer. Meanwhile the action takes no slot of its policy.
#[must_use]
pub fn ends_slowly(terminating_until: Timestamp, now: Timestamp) -> bool {
    const LONG: SignedDuration = SignedDuration::from_mins(1);
    elapsed(now, terminating_until) > LONG || elapsed(terminating_until, now) > LONG
}
