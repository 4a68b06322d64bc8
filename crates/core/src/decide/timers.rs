//! How long a target has been sick, or clear. Time counts only between two
//! known observations: an outage of the source makes nobody sicker.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Change, Inputs, Sight, Transition};
use crate::policy::Policy;
use crate::target::{Target, Uid};
use crate::time::Span;

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
        let timer = step(earlier.copied(), sight, inputs.observation.at, inputs.policy);
        transitions.extend(transition(target, earlier, timer.as_ref()));
        if let Some(timer) = timer {
            timers.insert(uid.clone(), timer);
        }
    }
    (timers, transitions)
}

/// One target's timer after one sight at `at`.
fn step(timer: Option<Timer>, sight: Sight, at: Timestamp, policy: &Policy) -> Option<Timer> {
    match (timer, sight) {
        (timer, Sight::Breached(value)) => Some(breached(timer, value, at, policy)),
        (Some(timer), Sight::Clear) => cleared(timer, at, policy),
        (Some(timer), Sight::Unknown | Sight::NoData | Sight::Unproven) => {
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
        return Timer { phase, since: at, value, breach: Some(Span::start(at)), clear: None, frozen: false };
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
    }
}

fn cleared(timer: Timer, at: Timestamp, policy: &Policy) -> Option<Timer> {
    if timer.phase == Phase::Pending {
        return None;
    }
    let span = timer.clear.map_or(Span::start(at), |span| span.seen(at, policy.longest_gap, timer.frozen));
    (span.held() < policy.clear_for).then_some(Timer { breach: None, clear: Some(span), frozen: false, ..timer })
}

fn transition(target: &Target, earlier: Option<&Timer>, timer: Option<&Timer>) -> Option<Transition> {
    let change = match (earlier.map(|timer| timer.phase), timer.map(|timer| timer.phase)) {
        (None, Some(Phase::Pending)) => Change::BecamePending,
        (None | Some(Phase::Pending), Some(Phase::Firing)) => Change::StartedFiring,
        (Some(_), None) => Change::Recovered,
        _ => return None,
    };
    Some(Transition { target: target.object.clone(), change, value: timer.map(|timer| timer.value) })
}
