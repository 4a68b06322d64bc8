//! How long a target has been breached or clear. Only the time between two known
//! observations counts. An outage of the source adds nothing to a breach.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Change, Inputs, Sight, TargetTransition};
use crate::ledger::{Lineage, Record, State};
use crate::policy::Policy;
use crate::target::{Target, Uid};
use crate::time::{Span, whole_seconds};

/// The state of a target that is pending or firing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timer {
    /// Whether the condition was breached for `for` in this episode.
    pub phase: BreachPhase,
    /// When the episode started, moved forward by gaps that do not count.
    pub since: Timestamp,
    /// The value when its phase started.
    pub value: f64,
    /// The uninterrupted breach. `None`: it is clear.
    pub breach: Option<Span>,
    /// The uninterrupted time in which it was clear. `None`: it is breached.
    pub clear: Option<Span>,
    /// Whether the newest evaluation had no usable answer.
    pub frozen: bool,
    /// Whether an earlier process recorded this timer. The time since its last evaluation
    /// counts only if the history proves it.
    pub restored: bool,
}

impl Timer {
    /// A timer that an earlier process recorded in the status.
    #[must_use]
    pub fn restored(phase: BreachPhase, since: Timestamp, value: f64) -> Self {
        Self { phase, since, value, breach: Some(Span::start(since)), clear: None, frozen: false, restored: true }
    }
}

/// The phase of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreachPhase {
    /// Breached, not yet for `for`.
    Pending,
    /// Breached for `for`.
    Firing,
}

/// The timers after this observation, and the changes. A target that is gone or has finished has
/// no timer.
pub(super) fn advance(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    lineage: &Lineage,
) -> (BTreeMap<Uid, Timer>, Vec<TargetTransition>) {
    let mut timers = BTreeMap::new();
    let mut transitions = Vec::new();
    for target in inputs.targets.iter().filter(|target| !target.has_finished()) {
        let uid = &target.object.uid;
        let earlier = inputs.memory.timers.get(uid);
        let sight = sights.get(uid).copied().unwrap_or(Sight::Unknown);
        let timer = match (earlier, sight) {
            (Some(timer), Sight::Breached(value)) if timer.restored => {
                Some(continue_restored(inputs, target, *timer, value))
            }
            _ => next_timer(earlier.copied(), sight, inputs.observation.at, inputs.policy),
        };
        transitions.extend(transition(inputs, target, timer.as_ref(), lineage));
        if let Some(timer) = timer {
            timers.insert(uid.clone(), timer);
        }
    }
    (timers, transitions)
}

/// The timer of an earlier process, for a target that is still breached. The time in between
/// counts only as far as the history proves it without a gap. Otherwise the timer starts
/// again. Without the history, the timer stays as it is.
fn continue_restored(inputs: Inputs<'_>, target: &Target, timer: Timer, value: f64) -> Timer {
    let at = inputs.observation.at;
    let Some(history) = &inputs.observation.history else { return timer };
    let start = super::matching::breached_since(inputs, target, history, timer.since);
    let restarted = breached(None, value, at, inputs.policy);
    let Some(start) = start else { return restarted };
    let span = Span { since: start, last: at };
    let phase = if span.held() >= inputs.policy.breach_for { BreachPhase::Firing } else { BreachPhase::Pending };
    Timer { phase, since: start, value: timer.value, breach: Some(span), ..restarted }
}

/// The timer of one target after the observation at `at`.
fn next_timer(timer: Option<Timer>, sight: Sight, at: Timestamp, policy: &Policy) -> Option<Timer> {
    match (timer, sight) {
        (timer, Sight::Breached(value)) => Some(breached(timer, value, at, policy)),
        (Some(timer), Sight::Clear) => cleared(timer, at, policy),
        // Without a usable observation, a target keeps its timer.
        (Some(timer), Sight::Unknown | Sight::NoData | Sight::Unproven | Sight::Young(_) | Sight::Namesake) => {
            // `Unproven` leads to a question and a new decision at the same time.
            let frozen = timer.frozen || sight != Sight::Unproven;
            Some(Timer { frozen, ..timer })
        }
        (Some(_), Sight::Quiet) | (None, _) => None,
    }
}

fn breached(timer: Option<Timer>, value: f64, at: Timestamp, policy: &Policy) -> Timer {
    let Some(timer) = timer else {
        let phase = if policy.breach_for.is_positive() { BreachPhase::Pending } else { BreachPhase::Firing };
        let breach = Some(Span::start(at));
        return Timer { phase, since: at, value, breach, clear: None, frozen: false, restored: false };
    };
    let span = timer.breach.map_or(Span::start(at), |span| span.seen(at, policy.longest_gap, timer.frozen));
    let fires = timer.phase == BreachPhase::Pending && span.held() >= policy.breach_for;
    Timer {
        phase: if fires { BreachPhase::Firing } else { timer.phase },
        // While pending, the episode is as old as the breach that counts.
        since: if timer.phase == BreachPhase::Pending { span.since } else { timer.since },
        value: if fires { value } else { timer.value },
        breach: Some(span),
        clear: None,
        frozen: false,
        restored: false,
    }
}

fn cleared(timer: Timer, at: Timestamp, policy: &Policy) -> Option<Timer> {
    if timer.phase == BreachPhase::Pending {
        return None;
    }
    let span = timer.clear.map_or(Span::start(at), |span| span.seen(at, policy.longest_gap, timer.frozen));
    (span.held() < policy.clear_for).then_some(Timer { breach: None, clear: Some(span), frozen: false, ..timer })
}

fn transition(
    inputs: Inputs<'_>,
    target: &Target,
    timer: Option<&Timer>,
    lineage: &Lineage,
) -> Option<TargetTransition> {
    let earlier = inputs.memory.timers.get(&target.object.uid);
    let reset = inputs.policy.limits.ladder_reset;
    let by_itself = earlier.is_some_and(|timer| {
        // A pending action, or an action of an earlier episode, did not end this one. A workload
        // may be healed by another policy's action on one of its pods.
        let on_its_pod = |record: &Record| record.subject.uid == target.object.uid;
        // Another policy may have started before this one saw the breach.
        let during = |record: &Record| {
            let since = whole_seconds(timer.since);
            let is_others = record.policy != inputs.policy.key;
            record.created >= since || is_others && record.finished.is_none_or(|at| at >= since)
        };
        let acted = |record: &Record| {
            record.state > State::Pending
                && record.spends()
                && during(record)
                && (on_its_pod(record) || record.counts_against(target, timer.since, reset, lineage))
        };
        timer.phase == BreachPhase::Firing && !inputs.ledger.records.iter().any(acted)
    });
    let change = match (earlier.map(|timer| timer.phase), timer.map(|timer| timer.phase)) {
        (None, Some(BreachPhase::Pending)) => Change::BecamePending,
        (None | Some(BreachPhase::Pending), Some(BreachPhase::Firing)) => Change::StartedFiring,
        (Some(phase), None) => Change::Recovered { was_firing: phase == BreachPhase::Firing, by_itself },
        _ => return None,
    };
    Some(TargetTransition { target: target.object.clone(), change, value: timer.map(|timer| timer.value) })
}
