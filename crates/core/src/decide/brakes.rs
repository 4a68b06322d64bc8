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

use super::ladder::{self, Place, Try};
use super::matching::POD_LABEL;
use super::storm::{self, Gate};
use super::{Inputs, Matching, Memory, Phase, Question, Refused, Reservation, Sight, Skipped, Storm, Timer};
use crate::ledger::{Ledger, Record, State};
use crate::observation::{Freshness, Labels, Series};
use crate::policy::{Mode, Policy, SeriesMatch};
use crate::refusal::{Reason, Refusal};
use crate::target::{NotHealable, Target, Uid};
use crate::time::{after, elapsed, times};
use jiff::{SignedDuration, Timestamp};

/// How many targets' samples are asked about in one round: a policy whose every target
/// is sick must not flood the source. The others' turn comes when these are answered.
const ASKED_AT_ONCE: usize = 8;
/// How long a reservation has to be begun at least. Whether its news are fresh is asked
/// anew when it begins: this is for a slow API server, and intervals of a second.
const BEGUN_WITHIN: SignedDuration = SignedDuration::from_secs(10);

/// What came of the brakes.
pub(super) struct Released {
    /// What is to be done.
    pub(super) reservations: Vec<Reservation>,
    /// What is held back, and why.
    pub(super) refusals: Vec<Refused>,
    /// What would be done if its samples were known to be fresh.
    pub(super) unproven: Vec<Question>,
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

    // A quiet policy does not pay for a copy of the ledger.
    if sick.is_empty() {
        return Released { reservations: Vec::new(), refusals: Vec::new(), unproven: Vec::new() };
    }
    // What this very decision reserves counts like what is on record; what only lacks
    // the proof of freshness is decided again with it.
    let mut ledger = inputs.ledger.clone();
    let mut reservations = Vec::new();
    let mut refusals = Vec::new();
    let mut unproven = Vec::new();
    for (target, timer) in sick {
        let place = ladder::place(inputs.policy, &ledger, target, timer.since);
        let sight = sights.get(&target.object.uid).copied().unwrap_or(Sight::Unknown);
        let gate = storm::gate(inputs, &ledger, memory.storm);
        let (place, closed) = in_storm(inputs, &ledger, gate, target, timer, place);
        let refusal = first_refusal(inputs, &ledger, target, timer, sight, &place);
        let refusal = refusal.or_else(|| closed.then(|| Refusal::open(Reason::Storm)));
        let refusal = refusal.or_else(|| match inputs.observation.freshness.get(&target.object.uid) {
            Some(Freshness::Fresh) => None,
            Some(Freshness::Stale) => Some(Refusal::open(Reason::Stale)),
            Some(Freshness::Unknown) => Some(Refusal::open(Reason::ObservationUnknown)),
            None => {
                if unproven.len() < ASKED_AT_ONCE {
                    let pins = pins(inputs.policy, matching, target);
                    unproven.push(Question::Freshness { target: target.object.clone(), pins });
                }
                Some(Refusal::open(Reason::ObservationUnknown))
            }
        });
        match (refusal, place.next) {
            (Some(refusal), _) => refusals.push(Refused { target: target.object.uid.clone(), refusal, due: false }),
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
        Sight::Young(_) => return Some(Refusal::until(Reason::TooYoung, after(target.created, policy.min_age))),
        Sight::Namesake => return Some(Refusal::until(Reason::TooYoung, after(target.created, policy.signal_window))),
        Sight::Quiet | Sight::Clear => return Some(Refusal::open(Reason::NotYetFor)),
        Sight::Breached(_) => timer.breach,
    };
    let Some(breach_held) = breach_held else { return Some(Refusal::open(Reason::NotYetFor)) };
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
    if let Some(until) = mid_rollout(inputs, target).filter(|until| now < *until) {
        return Some(Refusal::until(Reason::NotHealable(NotHealable::MidRollout), until));
    }
    if policy.mode == Mode::DryRun && ledger.dry_run_recorded(&policy.key, &target.object.uid, timer.since) {
        return Some(Refusal::open(Reason::AlreadyRecorded));
    }
    let whole = whole || target.object.uid == target.subject.uid;
    if ledger.busy_with(target, timer.since, limits.ladder_reset) || whole && ledger.workload_busy(&target.subject.uid)
    {
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
    if let Some(until) = ledger.subject_full_until(&target.subject.uid, limits.subject_cap, now) {
        return Some(Refusal::until(Reason::SubjectCap, until));
    }
    if let Some(until) = ledger.window_full_until(&policy.key, limits.max_actions, limits.window, now) {
        return Some(Refusal::until(Reason::MaxActions, until));
    }
    let allowed = usize::try_from(limits.max_concurrent).unwrap_or(usize::MAX);
    if ledger.in_flight(&policy.key, policy.mode) >= allowed {
        return Some(Refusal::open(Reason::MaxConcurrent));
    }
    None
}

/// The labels by which the breached series of a target names it and its namespace: its
/// own, or for a workload the pod's, and none where a series speaks of all.
fn pins(policy: &Policy, matching: &Matching, target: &Target) -> Labels {
    let Some(series) = matching.breached.get(&target.object.uid) else { return Labels::new() };
    let own = match &policy.series {
        SeriesMatch::Label(label) if series.labels.contains_key(label) => Some(label.as_str()),
        SeriesMatch::Label(_) => Some(POD_LABEL),
        SeriesMatch::Global => None,
    };
    let names = own.into_iter().chain([policy.namespace_label.as_str()]);
    names.filter_map(|name| series.labels.get_key_value(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Until when a rollout that makes progress is let alone: one that has made none for as
/// long as an action is watched is stuck, and a crash loop is no progress at all.
fn mid_rollout(inputs: Inputs<'_>, target: &Target) -> Option<Timestamp> {
    let patience = inputs.policy.steps.first()?.verify_within;
    target.workload.as_ref()?.rollout_progress.map(|progress| after(progress, patience))
}

/// The place on the ladder as far as a storm allows it, and whether it allows none. What
/// has just failed as a probe is not tried again while everything is in doubt: those to
/// whom it is laid go on above it.
fn in_storm(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    gate: Gate<'_>,
    target: &Target,
    timer: &Timer,
    place: Place,
) -> (Place, bool) {
    let probe = match gate {
        Gate::Open => return (place, false),
        Gate::Closed => return (place, true),
        Gate::Climb(probe) => probe,
    };
    let laid_to = probe.counts_against(target, timer.since, inputs.policy.limits.ladder_reset);
    let repeats = place.next.as_ref().is_some_and(|next| next.rung <= probe.rung);
    if !laid_to || !repeats {
        return (place, !laid_to);
    }
    let above = ladder::place_above(inputs.policy, ledger, target, timer.since, probe.rung);
    if above.next.is_some() { (above, false) } else { (place, true) }
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
        start_by: after(inputs.now, times(inputs.policy.interval, 2).max(BEGUN_WITHIN)),
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
    let taken = inputs.ledger.in_flight(key, Mode::Enforce).saturating_add(reservations.len());
    let free = allowed.saturating_sub(taken);
    let held = |(place, record): &(usize, &Record)| {
        let target = inputs.targets.iter().find(|target| target.object.uid == record.target.uid);
        let rolls_out = target.and_then(|target| mid_rollout(inputs, target)).is_some_and(|until| inputs.now < until);
        // What another rule wanted is not begun for the sake of this one.
        let another_rule = record.hash != inputs.policy.hash;
        *place >= free || another_rule || rolls_out || storm::forbids(inputs, storm, record)
    };
    waiting.into_iter().enumerate().filter(held).map(|(_, record)| record.target.uid.clone()).collect()
}
