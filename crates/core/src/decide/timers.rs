//! How long a target has been sick, or clear. Time counts only between two
//! known observations: an outage of the source makes nobody sicker.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Change, Inputs, Sight, Transition};
use crate::ledger::{Record, State};
use crate::policy::Policy;
use crate::target::{Target, Uid};
use crate::time::{Span, whole_seconds};

/// What is remembered of a target that is not healthy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timer {
    /// Whether the breach has held for `for` in this sickness.
    pub phase: Phase,
    /// When the sickness began; moved forward by gaps that do not count.
    pub since: Timestamp,
    /// The value when it entered its phase.
    pub value: f64,
    /// The unbroken breach; `None` while it is clear.
    pub breach: Option<Span>,
    /// The unbroken clearness; `None` while it is breached.
    pub clear: Option<Span>,
    /// Whether the newest look gave no usable answer.
    pub frozen: bool,
    /// Whether this was taken over from a process that is gone: nobody knows what was
    /// between its last look and now, until the history proves it.
    pub restored: bool,
}

impl Timer {
    /// What another process wrote down of a sickness.
    #[must_use]
    pub fn restored(phase: Phase, since: Timestamp, value: f64) -> Self {
        Self { phase, since, value, breach: Some(Span::start(since)), clear: None, frozen: false, restored: true }
    }
}

/// How far a sickness has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Breached, not yet for `for`.
    Pending,
    /// Breached for `for`.
    Firing,
}

/// Every timer after this observation, and what changed by it. A target that is
/// gone takes its timer along.
pub(super) fn advance(inputs: Inputs<'_>, sights: &BTreeMap<Uid, Sight>) -> (BTreeMap<Uid, Timer>, Vec<Transition>) {
    let mut timers = BTreeMap::new();
    let mut transitions = Vec::new();
    for target in inputs.targets {
        let uid = &target.object.uid;
        let earlier = inputs.memory.timers.get(uid);
        let sight = sights.get(uid).copied().unwrap_or(Sight::Unknown);
        let timer = match (earlier, sight) {
            (Some(timer), Sight::Breached(value)) if timer.restored => Some(take_over(inputs, target, *timer, value)),
            _ => step(earlier.copied(), sight, inputs.observation.at, inputs.policy),
        };
        transitions.extend(transition(inputs, target, timer.as_ref()));
        if let Some(timer) = timer {
            timers.insert(uid.clone(), timer);
        }
    }
    (timers, transitions)
}

/// A sickness that another process wrote down, once the target is seen breached
/// again. Time between is breach time only as far as the history proves it without a
/// gap; else it begins anew. While the history is asked for, it is left as it is.
fn take_over(inputs: Inputs<'_>, target: &Target, timer: Timer, value: f64) -> Timer {
    let at = inputs.observation.at;
    let Some(history) = &inputs.observation.history else { return timer };
    let begun = super::matching::breached_since(inputs, target, history, timer.since);
    let anew = breached(None, value, at, inputs.policy);
    let Some(begun) = begun else { return anew };
    let span = Span { since: begun, last: at };
    let phase = if span.held() >= inputs.policy.breach_for { Phase::Firing } else { Phase::Pending };
    Timer { phase, since: begun, value: timer.value, breach: Some(span), ..anew }
}

/// One target's timer after one sight at `at`.
fn step(timer: Option<Timer>, sight: Sight, at: Timestamp, policy: &Policy) -> Option<Timer> {
    match (timer, sight) {
        (timer, Sight::Breached(value)) => Some(breached(timer, value, at, policy)),
        (Some(timer), Sight::Clear) => cleared(timer, at, policy),
        // What is too young to be judged keeps what it was judged to be before.
        (Some(timer), Sight::Unknown | Sight::NoData | Sight::Unproven | Sight::Young(_) | Sight::Namesake) => {
            // An unproven sight is asked for and decided anew at the same instant.
            let frozen = timer.frozen || sight != Sight::Unproven;
            Some(Timer { frozen, ..timer })
        }
        (Some(_), Sight::Quiet) | (None, _) => None,
    }
}

fn breached(timer: Option<Timer>, value: f64, at: Timestamp, policy: &Policy) -> Timer {
    let Some(timer) = timer else {
        let phase = if policy.breach_for.is_positive() { Phase::Pending } else { Phase::Firing };
        let breach = Some(Span::start(at));
        return Timer { phase, since: at, value, breach, clear: None, frozen: false, restored: false };
    };
    let span = timer.breach.map_or(Span::start(at), |span| span.seen(at, policy.longest_gap, timer.frozen));
    let fires = timer.phase == Phase::Pending && span.held() >= policy.breach_for;
    Timer {
        phase: if fires { Phase::Firing } else { timer.phase },
        // While pending the sickness is as old as the breach that counts.
        since: if timer.phase == Phase::Pending { span.since } else { timer.since },
        value: if fires { value } else { timer.value },
        breach: Some(span),
        clear: None,
        frozen: false,
        restored: false,
    }
}

fn cleared(timer: Timer, at: Timestamp, policy: &Policy) -> Option<Timer> {
    if timer.phase == Phase::Pending {
        return None;
    }
    let span = timer.clear.map_or(Span::start(at), |span| span.seen(at, policy.longest_gap, timer.frozen));
    (span.held() < policy.clear_for).then_some(Timer { breach: None, clear: Some(span), frozen: false, ..timer })
}

fn transition(inputs: Inputs<'_>, target: &Target, timer: Option<&Timer>) -> Option<Transition> {
    let earlier = inputs.memory.timers.get(&target.object.uid);
    let reset = inputs.policy.limits.ladder_reset;
    let by_itself = earlier.is_some_and(|timer| {
        // What was only reserved, or done about an earlier sickness, is no cure of this one.
        let acted = |record: &Record| {
            record.state > State::Pending
                && record.created >= whole_seconds(timer.since)
                && record.counts_against(target, timer.since, reset)
        };
        timer.phase == Phase::Firing && !inputs.ledger.records.iter().any(acted)
    });
    let change = match (earlier.map(|timer| timer.phase), timer.map(|timer| timer.phase)) {
        (None, Some(Phase::Pending)) => Change::BecamePending,
        (None | Some(Phase::Pending), Some(Phase::Firing)) => Change::StartedFiring,
        (Some(_), None) => Change::Recovered { by_itself },
        _ => return None,
    };
    Some(Transition { target: target.object.clone(), change, value: timer.map(|timer| timer.value) })
}
