//! What is left to ask, what there is to count, and when to look next.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Change, Counts, Inputs, Matching, Memory, Phase, Question, Reach, Reached, Refused, Sight, Transition};
use crate::ledger::State;
use crate::observation::Answer;
use crate::refusal::{Reason, Refusal};
use crate::target::Uid;
use crate::time::{after, elapsed};

/// The shortest time between two looks: a deadline that has just passed must
/// not make the loop spin.
const SHORTEST_WAIT: SignedDuration = SignedDuration::from_millis(100);

/// How often it is asked whether a query that returns nobody could return somebody.
const REACH_CHECKED_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// The same while it could not: whoever mends a label wants to see it, and pods that were
/// made together with their policy are not scraped yet.
const REACH_MISSED_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// What has to be known for a full decision.
pub(super) fn questions(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    matching: &Matching,
    freshness: Vec<Question>,
) -> Vec<Question> {
    let unproven = sights.values().any(|sight| *sight == Sight::Unproven);
    let wanted = unproven || reach_is_unknown(inputs, matching);
    let evidence = (wanted && inputs.observation.evidence.is_none()).then_some(Question::Evidence);
    let taken_over = inputs
        .memory
        .timers
        .iter()
        .filter(|(uid, timer)| timer.restored && matching.breached.contains_key(uid))
        .map(|(_, timer)| timer.since)
        .min();
    let history = taken_over.filter(|_| inputs.observation.history.is_none());
    evidence.into_iter().chain(history.map(|since| Question::History { since })).chain(freshness).collect()
}

/// Whether nobody has asked lately if the query reaches anybody at all: an empty answer
/// looks the same when all is well and when a label is misspelt, and so does one of those
/// alone who are gone, which a range remembers for minutes after each heal.
fn reach_is_unknown(inputs: Inputs<'_>, matching: &Matching) -> bool {
    let nobody = matches!(inputs.observation.breach, Answer::Answered(_)) && matching.matched == 0;
    nobody
        && inputs.memory.reached.as_ref().is_none_or(|reached| {
            let patience = if reached.reach == Reach::Targets { REACH_CHECKED_EVERY } else { REACH_MISSED_EVERY };
            elapsed(reached.at, inputs.observation.at) >= patience
        })
}

/// What the query reaches, as far as this look tells.
pub(super) fn reached(inputs: Inputs<'_>, matching: &Matching) -> Option<Reached> {
    let at = inputs.observation.at;
    match (super::matching::reach(inputs, matching), &inputs.observation.evidence) {
        (Some(reach), _) => Some(Reached { at, reach }),
        // Asked without an answer: not at every look again.
        (None, Some(_)) => {
            let reach = inputs.memory.reached.as_ref().map_or(Reach::Targets, |reached| reached.reach.clone());
            Some(Reached { at, reach })
        }
        (None, None) => inputs.memory.reached.clone(),
    }
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
            // A dry run never comes so far.
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
        .chain([to_next_grid_point(now, interval, inputs.phase)])
        .min()
        .unwrap_or(interval)
        .clamp(SHORTEST_WAIT, interval)
}

fn to_next_grid_point(now: Timestamp, interval: SignedDuration, phase: SignedDuration) -> SignedDuration {
    let into = now.as_nanosecond().saturating_sub(phase.as_nanos()).rem_euclid(interval.as_nanos().max(1));
    let nanos = interval.as_nanos().saturating_sub(into);
    SignedDuration::try_from_nanos_i128(nanos).unwrap_or(interval)
}

/// Why each sick target was held back so far, and the news: each reason once in a
/// sickness, or a source that comes and goes would tell all of them at every look. Who is
/// in the hands of an action is not held back, and that every rung was tried is news of
/// its own.
pub(super) fn held_back(
    inputs: Inputs<'_>,
    memory: &Memory,
    refusals: &[Refused],
    mut transitions: Vec<Transition>,
) -> (BTreeMap<Uid, BTreeSet<Reason>>, Vec<Transition>) {
    let mut told = inputs.memory.held_back.clone();
    told.retain(|uid, _| memory.timers.contains_key(uid));
    for Refused { target, refusal, due } in refusals {
        if !due || refusal.reason == Reason::AlreadyRecorded {
            continue;
        }
        let reasons = told.entry(target.clone()).or_default();
        let news = reasons.iter().all(|told| told.as_str() != refusal.reason.as_str());
        reasons.insert(refusal.reason);
        let object = inputs.targets.iter().map(|one| &one.object).find(|object| object.uid == *target);
        if let Some(object) = object.filter(|_| news && refusal.reason != Reason::Exhausted) {
            let change = Change::HeldBack(*refusal);
            let value = memory.timers.get(target).map(|timer| timer.value);
            transitions.push(Transition { target: object.clone(), change, value });
        }
    }
    (told, transitions)
}

/// Whether a refusal keeps something from being done that is due: the target is firing,
/// is breached at this moment, and is in no action's hands.
pub(super) fn is_held_back(inputs: Inputs<'_>, memory: &Memory, target: &Uid, refusal: Refusal) -> bool {
    let firing = memory.timers.get(target).is_some_and(|timer| timer.phase == Phase::Firing);
    let acted_on = || inputs.ledger.of(&inputs.policy.key).any(|one| one.in_flight() && one.target.uid == *target);
    firing && refusal.reason != Reason::NotYetFor && !acted_on()
}
