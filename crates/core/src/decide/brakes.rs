//! What is sick is acted on, or refused for exactly one reason: the first brake
//! in this order that holds. A refusal ends the matter for one target only; the
//! next one is looked at all the same.
//!
//! suspended → held → unknown → no data → too young → not yet `for` → opted out → not
//! healable → (dry run: already recorded) → busy → exhausted → cooldown → subject cap →
//! window → concurrency → storm → freshness. A dry run spends nothing and blocks nobody,
//! but what holds an action back holds it back as well: up to its first action it decides
//! as if it acted.

use std::collections::{BTreeMap, BTreeSet};

use super::ladder::{self, Place};
use super::storm::{self, Gate};
use super::{Inputs, Matching, Memory, Phase, Refused, Reservation, Sight, Storm, Timer};
use crate::ledger::{Ledger, Record, State};
use crate::observation::{Freshness, Labels};
use crate::policy::Mode;
use crate::refusal::{Reason, Refusal};
use crate::target::{NotHealable, Object, Target, Uid};
use crate::time::{after, elapsed, times};
use jiff::Timestamp;

/// How many targets' samples are asked about in one round: a policy whose every target
/// is sick must not flood the source. The others' turn comes when these are answered.
const ASKED_AT_ONCE: usize = 8;

/// The bottom of every ladder: rung and attempt.
const FIRST: (u32, u32) = (1, 1);

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
        let sight = sights.get(&target.object.uid).copied().unwrap_or(Sight::Unknown);
        let passed = first_refusal(inputs, &ledger, target, timer, sight)
            .map_or_else(|| in_storm(inputs, &ledger, memory, target, timer), Err);
        let refusal = passed.err().or_else(|| match inputs.observation.freshness.get(&target.object.uid) {
            Some(Freshness::Fresh) => None,
            Some(Freshness::Stale) => Some(Refusal::open(Reason::Stale)),
            Some(Freshness::Unknown) => Some(Refusal::open(Reason::ObservationUnknown)),
            None => {
                if unproven.len() < ASKED_AT_ONCE {
                    unproven.push(target.object.clone());
                }
                Some(Refusal::open(Reason::ObservationUnknown))
            }
        });
        match refusal {
            Some(refusal) => refusals.push(Refused { target: target.object.uid.clone(), refusal }),
            None if let Sight::Breached(value) = sight => {
                let labels = matching.breached.get(&target.object.uid).map(|worst| worst.labels.clone());
                let place = passed.unwrap_or(FIRST);
                let reservation = reserve(inputs, &ledger, target, timer, place, value, labels.unwrap_or_default());
                ledger.records.push(provisional(inputs, target, &reservation));
                reservations.push(reservation);
            }
            // `first_refusal` lets only a breach through.
            None => {}
        }
    }
    Released { reservations, refusals, unproven }
}

fn first_refusal(inputs: Inputs<'_>, ledger: &Ledger, target: &Target, timer: &Timer, sight: Sight) -> Option<Refusal> {
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
        Sight::Young(_) => return Some(Refusal::until(Reason::TooYoung, after(target.created, policy.min_age))),
        Sight::Namesake => return Some(Refusal::until(Reason::TooYoung, after(target.created, policy.signal_window))),
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
    if let Some(why) = target.not_healable {
        return Some(Refusal::open(Reason::NotHealable(why)));
    }
    if let Some(until) = mid_rollout(inputs, target).filter(|until| now < *until) {
        return Some(Refusal::until(Reason::NotHealable(NotHealable::MidRollout), until));
    }
    if policy.mode == Mode::DryRun && ledger.dry_run_recorded(&policy.key, &target.object.uid, timer.since) {
        return Some(Refusal::open(Reason::AlreadyRecorded));
    }
    if ledger.busy_with(target, timer.since, limits.ladder_reset).is_some() {
        return Some(Refusal::open(Reason::TargetBusy));
    }
    if ladder::place(policy, ledger, target, timer.since) == Place::Exhausted {
        return Some(Refusal::open(Reason::Exhausted));
    }
    if let Some(last) = ledger.last_against(target, timer.since, limits.ladder_reset) {
        let until = after(last, limits.cooldown);
        if now < until {
            return Some(Refusal::until(Reason::Cooldown, until));
        }
    }
    if let Some(until) = ledger.subject_full_until(&target.subject.uid, limits.subject_cap, now) {
        return Some(Refusal::until(Reason::SubjectCap, until));
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

/// Until when a rollout that makes progress is let alone: one that has made none for as
/// long as an action is watched is stuck, and a crash loop is no progress at all.
fn mid_rollout(inputs: Inputs<'_>, target: &Target) -> Option<Timestamp> {
    let patience = inputs.policy.steps.first()?.verify_within;
    target.rollout_progress.map(|progress| after(progress, patience))
}

/// The place on the ladder, if a storm allows it.
fn in_storm(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    memory: &Memory,
    target: &Target,
    timer: &Timer,
) -> Result<(u32, u32), Refusal> {
    // A dry run cannot know whether a rung would have helped: it tells of the first.
    let (rung, attempt) = match ladder::place(inputs.policy, ledger, target, timer.since) {
        Place::Next { rung, attempt } if inputs.policy.mode == Mode::Enforce => (rung, attempt),
        Place::Next { .. } | Place::Exhausted => FIRST,
    };
    let closed = Err(Refusal::open(Reason::Storm));
    match storm::gate(inputs, ledger, memory.storm) {
        Gate::Open => Ok((rung, attempt)),
        Gate::Climb(probe) if probe.counts_against(target, timer.since, inputs.policy.limits.ladder_reset) => {
            let rungs = u32::try_from(inputs.policy.steps.len()).unwrap_or(u32::MAX);
            match probe.rung.saturating_add(1) {
                _ if rung > probe.rung => Ok((rung, attempt)),
                // What has just failed is not tried again while everything is in doubt.
                next if next <= rungs => Ok((next, 1)),
                _ => closed,
            }
        }
        Gate::Climb(_) | Gate::Closed => closed,
    }
}

fn reserve(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    target: &Target,
    timer: &Timer,
    (rung, attempt): (u32, u32),
    value: f64,
    labels: Labels,
) -> Reservation {
    Reservation {
        target: target.object.clone(),
        subject: target.subject.clone(),
        rung,
        attempt,
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
        hash: inputs.policy.hash.clone(),
        mode: inputs.policy.mode,
        action: String::new(),
        target: target.object.clone(),
        subject: target.subject.clone(),
        created: inputs.now,
        sick_since: reservation.since,
        verify_by: None,
        rung: reservation.rung,
        attempt: reservation.attempt,
        state: State::Pending,
        waiting: false,
        reason: None,
        finished: None,
    }
}

/// The targets whose actions have begun, wait for a disruption budget, and must not be
/// carried out now: what waits yields its slot, and limits are asked again when it goes on.
pub(super) fn waiting(inputs: Inputs<'_>, storm: Option<Storm>, reservations: &[Reservation]) -> BTreeSet<Uid> {
    let key = &inputs.policy.key;
    let mut waiting: Vec<&Record> =
        inputs.ledger.of(key).filter(|record| record.waiting && record.state == State::Running).collect();
    waiting.sort_by_key(|record| (record.created, record.sequence));
    let allowed = usize::try_from(inputs.policy.limits.max_concurrent).unwrap_or(usize::MAX);
    let taken = inputs.ledger.in_flight(key).saturating_add(reservations.len());
    let free = allowed.saturating_sub(taken);
    let held = |(place, record): &(usize, &Record)| *place >= free || storm::forbids(inputs, storm, record);
    waiting.into_iter().enumerate().filter(held).map(|(_, record)| record.target.uid.clone()).collect()
}
