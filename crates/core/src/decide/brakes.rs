//! What is sick is acted on, or refused for exactly one reason: the first brake
//! in this order that holds. A refusal ends the matter for one target only; the
//! next one is looked at all the same.
//!
//! suspended → held → unknown → no data → not yet `for` → opted out → not healable →
//! busy → exhausted → cooldown → window → concurrency → freshness. A dry run spends
//! nothing and waits for nobody: of those that need a ledger only *already recorded*.

use std::collections::BTreeMap;

use super::ladder::{self, Place, Try};
use super::{Inputs, Matching, Memory, Phase, Refused, Reservation, Sight, Skipped, Timer};
use crate::ledger::{Ledger, Record, State};
use crate::observation::{Freshness, Series};
use crate::policy::Mode;
use crate::refusal::{Reason, Refusal};
use crate::target::{NotHealable, Object, Target, Uid};
use crate::time::{after, elapsed, times};

/// How many targets' samples are asked about in one round: a policy whose every target
/// is sick must not flood the source. The others' turn comes when these are answered.
const ASKED_AT_ONCE: usize = 8;

/// What came of the brakes.
pub(super) struct Released {
    /// What is to be done.
    pub(super) reservations: Vec<Reservation>,
    /// What is held back, and why.
    pub(super) refusals: Vec<Refused>,
    /// What would be done if its samples were known to be fresh.
    pub(super) unproven: Vec<Object>,
}

/// What is released, oldest sickness first, and what is held back and why.
pub(super) fn release(
    inputs: Inputs<'_>,
    matching: &Matching,
    sights: &BTreeMap<Uid, Sight>,
    memory: &Memory,
) -> Released {
    let mut sick: Vec<(&Target, &Timer)> = inputs
        .targets
        .iter()
        .filter_map(|target| memory.timers.get(&target.object.uid).map(|timer| (target, timer)))
        .collect();
    sick.sort_by(|(a, x), (b, y)| (x.since, &a.object.uid).cmp(&(y.since, &b.object.uid)));

    // What this very decision reserves counts like what is on record; what only lacks
    // the proof of freshness is decided again with it.
    let mut ledger = inputs.ledger.clone();
    let mut reservations = Vec::new();
    let mut refusals = Vec::new();
    let mut unproven = Vec::new();
    for (target, timer) in sick {
        let place = ladder::place(inputs.policy, &ledger, target, timer.since);
        let sight = sights.get(&target.object.uid).copied().unwrap_or(Sight::Unknown);
        let refusal = first_refusal(inputs, &ledger, target, timer, sight, &place).or_else(|| {
            match inputs.observation.freshness.get(&target.object.uid) {
                Some(Freshness::Fresh) => None,
                Some(Freshness::Stale) => Some(Refusal::open(Reason::Stale)),
                Some(Freshness::Unknown) => Some(Refusal::open(Reason::ObservationUnknown)),
                None => {
                    if unproven.len() < ASKED_AT_ONCE {
                        unproven.push(target.object.clone());
                    }
                    Some(Refusal::open(Reason::ObservationUnknown))
                }
            }
        });
        match (refusal, place.next) {
            (Some(refusal), _) => refusals.push(Refused { target: target.object.uid.clone(), refusal }),
            (None, Some(next)) if let Sight::Breached(value) = sight => {
                let labels = matching.breached.get(&target.object.uid).map(|worst| worst.labels.clone());
                let worst = Series { labels: labels.unwrap_or_default(), value };
                let reservation = reserve(inputs, &ledger, target, timer, worst, next, place.skipped);
                ledger.records.push(provisional(inputs, target, &reservation));
                reservations.push(reservation);
            }
            // `first_refusal` lets only a breach through, and only with a rung that is next.
            (None, _) => {}
        }
    }
    Released { reservations, refusals, unproven }
}

fn first_refusal(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    target: &Target,
    timer: &Timer,
    sight: Sight,
    place: &Place,
) -> Option<Refusal> {
    let Inputs { policy, now, .. } = inputs;
    let limits = &policy.limits;
    if policy.suspended {
        return Some(Refusal::open(Reason::Suspended));
    }
    if inputs.held {
        return Some(Refusal::open(Reason::Held));
    }
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
    if let Some(opt_out) = target.opted_out.filter(|opt_out| opt_out.holds(now)) {
        return Some(Refusal { reason: Reason::OptedOut, until: opt_out.until });
    }
    let whole = place.next.as_ref().is_some_and(|next| next.action.scope().is_workload());
    let others_touched = whole && target.workload.as_ref().is_some_and(|workload| !workload.all_selected);
    if let Some(why) = target.not_healable.or(others_touched.then_some(NotHealable::PodsNotSelected)) {
        return Some(Refusal::open(Reason::NotHealable(why)));
    }
    if policy.mode == Mode::DryRun {
        let recorded = ledger.dry_run_recorded(&policy.key, &target.object.uid, timer.since);
        let exhausted = place.next.is_none().then(|| Refusal::open(Reason::Exhausted));
        return if recorded { Some(Refusal::open(Reason::AlreadyRecorded)) } else { exhausted };
    }
    let busy = ledger.busy_with(target, timer.since, limits.ladder_reset).is_some();
    if busy || (whole && ledger.workload_busy(&target.subject.uid)) {
        return Some(Refusal::open(Reason::TargetBusy));
    }
    if place.next.is_none() {
        return Some(Refusal::open(Reason::Exhausted));
    }
    if let Some(last) = ledger.last_against(target, timer.since, limits.ladder_reset) {
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
    worst: Series,
    next: Try,
    skipped: Vec<Skipped>,
) -> Reservation {
    Reservation {
        target: target.object.clone(),
        subject: target.subject.clone(),
        rung: next.rung,
        attempt: next.attempt,
        action: next.action,
        skipped,
        sequence: ledger.next_sequence(&inputs.policy.key),
        since: timer.since,
        value: worst.value,
        labels: worst.labels,
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
        hash: inputs.policy.hash.clone(),
        mode: inputs.policy.mode,
        action: String::new(),
        scope: reservation.action.scope(),
        target: target.object.clone(),
        subject: target.subject.clone(),
        created: inputs.now,
        sick_since: reservation.since,
        verify_by: None,
        rung: reservation.rung,
        attempt: reservation.attempt,
        state: State::Pending,
        reason: None,
        finished: None,
    }
}
