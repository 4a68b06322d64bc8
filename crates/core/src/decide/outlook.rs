//! Open questions, counts, reports, and the time of the next evaluation.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    BreachPhase, Change, Counts, Inputs, Matching, Memory, Question, Reach, Reached, Refused, Sight, TargetTransition,
    verify,
};
use crate::ledger::{Record, State};
use crate::observation::{Answer, Operands};
use crate::refusal::{Reason, Refusal};
use crate::target::{Object, Target, Uid};
use crate::time::{after, elapsed};

/// The shortest time between two evaluations. A deadline that has just passed must not
/// start a busy loop.
const SHORTEST_WAIT: SignedDuration = SignedDuration::from_millis(100);

/// How often to check whether a query that returns no target can return one.
const REACH_CHECKED_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// How often to check while it cannot. A user who fixes a label wants to see the effect, and
/// pods that were created together with their policy are not scraped yet.
const REACH_RETRIED_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// How often to check while a metric has no series. It may count events that have not
/// happened yet, so this can last, and each check is two requests.
const OPERANDS_RETRIED_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// The questions to answer for a complete decision.
pub(super) fn questions(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    matching: &Matching,
    freshness: Vec<Question>,
) -> Vec<Question> {
    let unproven = sights.values().any(|sight| *sight == Sight::Unproven);
    let is_needed = unproven || reach_is_unknown(inputs, matching);
    let evidence = (is_needed && inputs.observation.evidence.is_none()).then_some(Question::Evidence);
    let restored = inputs
        .memory
        .timers
        .iter()
        .filter(|(uid, timer)| timer.restored && matching.breached.contains_key(uid))
        .map(|(_, timer)| timer.since)
        .min();
    let history = restored.filter(|_| inputs.observation.history.is_none());
    let asks_operands = inputs.policy.query.several_operands
        && inputs.observation.operands.is_none()
        && reach_is_unknown(inputs, matching);
    let operands = asks_operands.then_some(Question::Operands);
    evidence
        .into_iter()
        .chain(operands)
        .chain(history.map(|since| Question::History { since }))
        .chain(freshness)
        .collect()
}

/// Whether to check again what the query can return. If no series names a target, all
/// targets may be healthy, or a label may be misspelt. The same is true if the query returns
/// only series of deleted pods: a range includes them for minutes after each action.
fn reach_is_unknown(inputs: Inputs<'_>, matching: &Matching) -> bool {
    let no_target = matches!(inputs.observation.breach, Answer::Answered(_)) && matching.matched == 0;
    no_target
        && inputs.memory.reached.as_ref().is_none_or(|reached| {
            let every = match reached.reach {
                Reach::Targets => REACH_CHECKED_EVERY,
                Reach::NoOperand(_) => OPERANDS_RETRIED_EVERY,
                Reach::NoSeries | Reach::NoTarget(_) => REACH_RETRIED_EVERY,
            };
            elapsed(reached.at, inputs.observation.at) >= every
        })
}

/// What the query can return, by this observation or an earlier one.
pub(super) fn reached(inputs: Inputs<'_>, matching: &Matching) -> Option<Reached> {
    let at = inputs.observation.at;
    let known = &inputs.memory.reached;
    // Evidence alone does not show that the missing metric has series now.
    let is_open = matches!(inputs.observation.operands, None | Some(Operands::Unknown)) && matching.matched == 0;
    if is_open && known.as_ref().is_some_and(|reached| matches!(reached.reach, Reach::NoOperand(_))) {
        let asked = inputs.observation.operands.is_some();
        return known.clone().map(|reached| Reached { at: if asked { at } else { reached.at }, ..reached });
    }
    match (super::matching::reach(inputs, matching), &inputs.observation.evidence) {
        (Some(reach), _) => Some(Reached { at, reach }),
        // Queried without a usable answer. It must not be queried in every evaluation.
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
        pending: in_phase(BreachPhase::Pending),
        firing: in_phase(BreachPhase::Firing),
        verifying: inputs
            .ledger
            .of(&inputs.policy.key)
            // A dry run never has these states.
            .filter(|record| matches!(record.state, State::Settling | State::Verifying))
            .count(),
        exhausted: memory.exhausted.len(),
    }
}

/// The names of the targets that are pending or firing.
pub(super) fn names(inputs: Inputs<'_>, memory: &Memory) -> BTreeMap<Uid, String> {
    inputs
        .targets
        .iter()
        .map(|target| &target.object)
        .filter(|object| memory.timers.contains_key(&object.uid))
        .map(|object| (object.uid.clone(), object.name.clone()))
        .collect()
}

/// The owners of the targets that must not be acted on: they say why.
pub(super) fn owners(inputs: Inputs<'_>, refusals: &[Refused]) -> BTreeMap<Uid, Object> {
    let not_healable = |refused: &&Refused| matches!(refused.refusal.reason, Reason::NotHealable(_));
    let refused: BTreeSet<&Uid> = refusals.iter().filter(not_healable).map(|refused| &refused.target).collect();
    inputs
        .targets
        .iter()
        .filter(|target| refused.contains(&target.object.uid) && target.subject.uid != target.object.uid)
        .map(|target| (target.object.uid.clone(), target.subject.clone()))
        .collect()
}

/// Whether the target shows the result of an action that has started, or will show it.
fn is_of_action(inputs: Inputs<'_>, target: &Target) -> bool {
    let has_started = |record: &&Record| matches!(record.state, State::Running | State::Settling | State::Verifying);
    let mut started = inputs.ledger.of(&inputs.policy.key).filter(has_started);
    started.any(|record| verify::in_scope(inputs, record, target))
}

/// The targets that are in the answer, but are not judged yet because their samples may be of
/// an earlier object of the same name. Without this, they would look healthy.
pub(super) fn too_young(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    matching: &Matching,
) -> BTreeMap<Uid, Timestamp> {
    let in_answer = inputs.targets.iter().filter(|target| matching.breached.contains_key(&target.object.uid));
    in_answer
        .filter(|target| sights.get(&target.object.uid) == Some(&Sight::Namesake))
        .filter(|target| !is_of_action(inputs, target))
        .map(|target| (target.object.uid.clone(), after(target.created, inputs.policy.signal_window)))
        .collect()
}

/// The targets that are in the answer, but are not judged yet because they are younger than
/// `minAge`. Without this, they would look healthy. A target that shows the result of an action is
/// judged, or will be when its workload is whole.
pub(super) fn below_min_age(inputs: Inputs<'_>, sights: &BTreeMap<Uid, Sight>) -> BTreeMap<Uid, Timestamp> {
    let young = |target: &&Target| matches!(sights.get(&target.object.uid), Some(Sight::Young(_)));
    let young = inputs.targets.iter().filter(young).filter(|target| !is_of_action(inputs, target));
    young.map(|target| (target.object.uid.clone(), after(target.created, inputs.policy.min_age))).collect()
}

/// The time until the next evaluation: the earliest of the next point of the interval's
/// grid, the end of a refusal and the end of a timer. More than zero, at most the
/// interval.
///
/// A deadline between the observation and `now` leads to an evaluation at once. Otherwise an
/// observation a few milliseconds before the end of `for` would cost a whole interval.
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

/// The refusals of each unhealthy target that were reported in this episode, with a
/// transition for each new one. Each reason is reported once in an episode, or a source with
/// outages would report the same reasons again and again. `Exhausted` has its own transition.
pub(super) fn held_back(
    inputs: Inputs<'_>,
    memory: &Memory,
    refusals: &[Refused],
    mut transitions: Vec<TargetTransition>,
) -> (BTreeMap<Uid, BTreeSet<Reason>>, Vec<TargetTransition>) {
    let mut reported = inputs.memory.held_back.clone();
    reported.retain(|uid, _| memory.timers.contains_key(uid));
    for Refused { target, refusal, due } in refusals {
        if !due {
            continue;
        }
        let reasons = reported.entry(target.clone()).or_default();
        let is_new = reasons.iter().all(|reported| reported.as_str() != refusal.reason.as_str());
        if is_new {
            reasons.insert(refusal.reason);
        }
        let object = inputs.targets.iter().map(|one| &one.object).find(|object| object.uid == *target);
        // `AlreadyRecorded` is no news: the record was reported. It is kept for the next process,
        // whose timers may start later.
        let is_news = is_new && !matches!(refusal.reason, Reason::Exhausted | Reason::AlreadyRecorded);
        if let Some(object) = object.filter(|_| is_news) {
            let change = Change::HeldBack(*refusal);
            let value = memory.timers.get(target).map(|timer| timer.value);
            transitions.push(TargetTransition { target: object.clone(), change, value });
        }
    }
    (reported, transitions)
}

/// Whether an action is due and the refusal prevents it: the target is firing, is breached
/// now, and has no action in flight. A hold is reported as soon as the target is pending: who is
/// called then must see it at once.
pub(super) fn is_held_back(inputs: Inputs<'_>, memory: &Memory, target: &Uid, refusal: Refusal) -> bool {
    let may_be_due = |phase| phase == BreachPhase::Firing || refusal.reason == Reason::Held;
    let firing = memory.timers.get(target).is_some_and(|timer| may_be_due(timer.phase));
    let acted_on = || inputs.ledger.of(&inputs.policy.key).any(|one| one.in_flight() && one.target.uid == *target);
    firing && refusal.reason != Reason::NotYetFor && !acted_on()
}
