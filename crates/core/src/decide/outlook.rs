//! What is left to ask, what there is to count, and when to look next.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Counts, Inputs, Matching, Memory, Phase, Question, Refused, Sight};
use crate::ledger::State;
use crate::policy::Mode;
use crate::target::{Object, Uid};
use crate::time::{after, elapsed};

/// The shortest time between two looks: a deadline that has just passed must
/// not make the loop spin.
const SHORTEST_WAIT: SignedDuration = SignedDuration::from_millis(100);

/// What has to be known for a full decision.
pub(super) fn questions(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    matching: &Matching,
    unproven_targets: Vec<Object>,
) -> Vec<Question> {
    let unproven = sights.values().any(|sight| *sight == Sight::Unproven);
    let evidence = (unproven && inputs.observation.evidence.is_none()).then_some(Question::Evidence);
    let taken_over = inputs
        .memory
        .timers
        .iter()
        .filter(|(uid, timer)| timer.restored && matching.breached.contains_key(uid))
        .map(|(_, timer)| timer.since)
        .min();
    let history = taken_over.filter(|_| inputs.observation.history.is_none());
    let freshness = unproven_targets.into_iter().map(|target| Question::Freshness { target });
    evidence.into_iter().chain(history.map(|since| Question::History { since })).chain(freshness).collect()
}

/// How many targets are in which state.
pub(super) fn counts(inputs: Inputs<'_>, memory: &Memory) -> Counts {
    let in_phase = |phase| memory.timers.values().filter(|timer| timer.phase == phase).count();
    Counts {
        selected: inputs.targets.len(),
        pending: in_phase(Phase::Pending),
        firing: in_phase(Phase::Firing),
        verifying: inputs
            .ledger
            .of(&inputs.policy.key)
            .filter(|record| record.mode == Mode::Enforce)
            .filter(|record| matches!(record.state, State::Settling | State::Verifying))
            .count(),
        exhausted: memory.exhausted.len(),
    }
}

/// The names of the sick targets.
pub(super) fn names(inputs: Inputs<'_>, memory: &Memory) -> BTreeMap<Uid, String> {
    inputs
        .targets
        .iter()
        .map(|target| &target.object)
        .filter(|object| memory.timers.contains_key(&object.uid))
        .map(|object| (object.uid.clone(), object.name.clone()))
        .collect()
}

/// Time until the next look: the earliest of the next point of the interval's
/// grid, the end of a refusal and the end of a timer. More than zero, at most
/// the interval.
///
/// All policies of one interval share the grid, so that equal queries coincide.
///
/// What ends between the observation and `now` was missed by a hair: an observation a
/// few milliseconds short of `for` must not cost a whole interval. Only a new one can
/// tell, so it is made at once.
pub(super) fn next_check(inputs: Inputs<'_>, memory: &Memory, refusals: &[Refused]) -> SignedDuration {
    let now = inputs.now;
    let interval = inputs.policy.interval.max(SHORTEST_WAIT);
    let refused_until = refusals.iter().filter_map(|refused| refused.refusal.until);
    let clear_at = memory
        .timers
        .values()
        .filter_map(|timer| timer.clear)
        .chain(memory.verifications.values().filter_map(|verification| verification.clear))
        .map(|clear| after(clear.since, inputs.policy.clear_for));
    let verify_by =
        inputs.ledger.of(&inputs.policy.key).filter(|record| record.in_flight()).filter_map(|r| r.verify_by);
    refused_until
        .chain(clear_at)
        .chain(verify_by)
        .filter(|at| *at > inputs.observation.at)
        .map(|at| elapsed(now, at))
        .chain([to_next_grid_point(now, interval)])
        .min()
        .unwrap_or(interval)
        .clamp(SHORTEST_WAIT, interval)
}

fn to_next_grid_point(now: Timestamp, interval: SignedDuration) -> SignedDuration {
    let into = now.as_nanosecond().rem_euclid(interval.as_nanos().max(1));
    let nanos = interval.as_nanos().saturating_sub(into);
    SignedDuration::try_from_nanos_i128(nanos).unwrap_or(interval)
}
