//! What is sick is acted on, or refused for exactly one reason: the first brake
//! in this order that holds. A refusal ends the matter for one target only; the
//! next one is looked at all the same.
//!
//! unknown → no data → not yet `for` → not healable → busy → already recorded →
//! cooldown → window → concurrency

use std::collections::BTreeMap;

use super::{Inputs, Matching, Memory, Phase, Refused, Reservation, Sight, Timer};
use crate::ledger::{Ledger, Record, State};
use crate::observation::Labels;
use crate::policy::{LADDER_RESET, Mode};
use crate::refusal::{Reason, Refusal};
use crate::target::{Target, Uid};
use crate::time::{after, elapsed, times};

/// What is released, oldest sickness first, and what is held back and why.
pub(super) fn release(
    inputs: Inputs<'_>,
    matching: &Matching,
    sights: &BTreeMap<Uid, Sight>,
    memory: &Memory,
) -> (Vec<Reservation>, Vec<Refused>) {
    let mut sick: Vec<(&Target, &Timer)> = inputs
        .targets
        .iter()
        .filter_map(|target| memory.timers.get(&target.object.uid).map(|timer| (target, timer)))
        .collect();
    sick.sort_by(|(a, x), (b, y)| (x.since, &a.object.uid).cmp(&(y.since, &b.object.uid)));

    // What this very decision reserves counts like what is on record.
    let mut ledger = inputs.ledger.clone();
    let mut reservations = Vec::new();
    let mut refusals = Vec::new();
    for (target, timer) in sick {
        let sight = sights.get(&target.object.uid).copied().unwrap_or(Sight::Unknown);
        match first_refusal(inputs, &ledger, target, timer, sight) {
            Some(refusal) => refusals.push(Refused { target: target.object.uid.clone(), refusal }),
            None if let Sight::Breached(value) = sight => {
                let labels = matching.breached.get(&target.object.uid).map(|worst| worst.labels.clone());
                let reservation = reserve(inputs, &ledger, target, timer, value, labels.unwrap_or_default());
                ledger.records.push(provisional(inputs, target, &reservation));
                reservations.push(reservation);
            }
            // `first_refusal` lets only a breach through.
            None => {}
        }
    }
    (reservations, refusals)
}

fn first_refusal(inputs: Inputs<'_>, ledger: &Ledger, target: &Target, timer: &Timer, sight: Sight) -> Option<Refusal> {
    let Inputs { policy, now, .. } = inputs;
    let limits = &policy.limits;
    let breach_held = match sight {
        Sight::Unknown | Sight::Unproven => return Some(Refusal::open(Reason::ObservationUnknown)),
        Sight::NoData => return Some(Refusal::open(Reason::NoData)),
        Sight::Quiet | Sight::Clear => return Some(Refusal::open(Reason::NotYetFor)),
        Sight::Breached(_) => timer.breach?,
    };
    // Old news must not be acted on: the next look is due or the clock has jumped.
    let age = elapsed(inputs.observation.at, now);
    if age > times(policy.interval, 2) || age.is_negative() {
        return Some(Refusal::open(Reason::ObservationUnknown));
    }
    if timer.phase != Phase::Firing || breach_held.held() < policy.breach_for {
        return Some(Refusal::until(Reason::NotYetFor, after(breach_held.since, policy.breach_for)));
    }
    if let Some(why) = target.not_healable {
        return Some(Refusal::open(Reason::NotHealable(why)));
    }
    if policy.mode == Mode::DryRun {
        let recorded = ledger.dry_run_recorded(&policy.key, &target.object.uid, timer.since);
        return recorded.then(|| Refusal::open(Reason::AlreadyRecorded));
    }
    if ledger.busy_with(target).is_some() {
        return Some(Refusal::open(Reason::TargetBusy));
    }
    if let Some(last) = ledger.last_against(target, timer.since, LADDER_RESET) {
        let until = after(last, limits.cooldown);
        if now < until {
            return Some(Refusal::until(Reason::Cooldown, until));
        }
    }
    if let Some(until) = ledger.window_full_until(&policy.key, limits.max_actions, limits.window, now) {
        return Some(Refusal::until(Reason::MaxActions, until));
    }
    let allowed = usize::try_from(limits.max_concurrent).unwrap_or(usize::MAX);
    if ledger.in_flight(&policy.key) >= allowed {
        return Some(Refusal::open(Reason::MaxConcurrent));
    }
    None
}

fn reserve(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    target: &Target,
    timer: &Timer,
    value: f64,
    labels: Labels,
) -> Reservation {
    Reservation {
        target: target.object.clone(),
        subject: target.subject.clone(),
        rung: 1,
        attempt: 1,
        sequence: ledger.next_sequence(&inputs.policy.key),
        since: timer.since,
        value,
        labels,
        observed_at: inputs.observation.at,
        start_by: after(inputs.now, times(inputs.policy.interval, 2)),
    }
}

/// The record the reservation will become, for the rest of this decision.
fn provisional(inputs: Inputs<'_>, target: &Target, reservation: &Reservation) -> Record {
    Record {
        name: String::new(),
        sequence: reservation.sequence,
        policy: inputs.policy.key.clone(),
        mode: inputs.policy.mode,
        target: target.object.clone(),
        subject: target.subject.clone(),
        created: inputs.now,
        sick_since: reservation.since,
        verify_by: None,
        rung: reservation.rung,
        attempt: reservation.attempt,
        state: State::Pending,
    }
}
