//! For each unhealthy target: an action, or exactly one reason not to act. The reason is the
//! first guardrail in this order that refuses:
//!
//! suspended → held → unknown → no data → too young → not yet `for` → opted out → not
//! healable → busy → exhausted → (dry run: already recorded) → cooldown → back-off →
//! subject cap → window → records per minute → concurrency → availability → storm → freshness
//!
//! A refusal concerns one target. The other targets are still decided.
//!
//! A dry run blocks no action and spends a budget of its own, and the same guardrails hold it
//! back. Up to its first action it decides as if it acted.

use std::collections::BTreeMap;

use super::busy::{planned_removal, removes_at};
use super::ladder::{self, Attempt, LadderPosition};
use super::storm::{self, Gate};
use super::{BreachPhase, Inputs, Matching, Memory, Question, Refused, Reservation, Sight, Skipped, Timer};
use crate::availability;
use crate::ledger::{Ledger, Lineage, RECORDS_AT_LEAST, Record, State};
use crate::observation::{Freshness, Labels, Series};
use crate::policy::PolicyMode;
use crate::readiness::starting_until;
use crate::refusal::{Reason, Refusal};
use crate::target::{NotHealable, Target, Uid};
use crate::time::{after, elapsed, times};
use jiff::{SignedDuration, Timestamp};

/// How many targets may have an open question about freshness. If all targets of a policy
/// are unhealthy, their questions must not flood the source. The other targets follow when
/// these questions are answered.
const MAX_FRESHNESS_QUESTIONS: usize = 8;
/// The shortest time that a reservation has to start. It is for a slow API server and
/// intervals of a few seconds. It need not be short, because the executor checks again that
/// the target is firing.
const START_WITHIN: SignedDuration = SignedDuration::from_secs(10);

/// The result of the guardrails.
pub(super) struct Released {
    /// The actions to start.
    pub(super) reservations: Vec<Reservation>,
    /// The refusals.
    pub(super) refusals: Vec<Refused>,
    /// The questions about targets for which only the proof of freshness is missing.
    pub(super) unproven: Vec<Question>,
    /// The workloads from which a single pod is about to be removed, and when.
    pub(super) removals: BTreeMap<Uid, Timestamp>,
}

/// Decides about each unhealthy target, oldest episode first.
pub(super) fn release(
    inputs: Inputs<'_>,
    matching: &Matching,
    sights: &BTreeMap<Uid, Sight>,
    memory: &Memory,
    lineage: &Lineage,
) -> Released {
    let mut unhealthy: Vec<(&Target, &Timer)> = inputs
        .targets
        .iter()
        .filter_map(|target| memory.timers.get(&target.object.uid).map(|timer| (target, timer)))
        .collect();
    unhealthy.sort_by(|(a, x), (b, y)| (x.since, &a.object.uid).cmp(&(y.since, &b.object.uid)));

    let mut released =
        Released { reservations: Vec::new(), refusals: Vec::new(), unproven: Vec::new(), removals: BTreeMap::new() };
    // A quiet policy does not pay for a copy of the ledger.
    if unhealthy.is_empty() {
        return released;
    }
    // The reservations of this decision count like recorded actions. A target without proof
    // of freshness does not: it is decided again with the answer.
    let mut ledger = inputs.ledger.clone();
    for (target, timer) in unhealthy {
        let uid = &target.object.uid;
        let sight = sights.get(uid).copied().unwrap_or(Sight::Unknown);
        let gate = storm::gate(inputs, &ledger, memory.storm);
        let position = ladder::position(inputs.policy, &ledger, lineage, target, timer.since);
        let (position, closed) = position_in_storm(inputs, &ledger, lineage, gate, target, timer, position);
        let mut refusal = first_refusal(inputs, &ledger, lineage, target, timer, sight, &position);
        // While the probe of a storm runs, the storm is what the others wait for.
        if closed && refusal.is_none_or(|refusal| refusal.reason == Reason::MaxConcurrent) {
            refusal = Some(Refusal::open(Reason::Storm));
        }
        let is_answered = inputs.observation.freshness.contains_key(uid);
        // A removal that only has to be proven is planned. One that cannot be proven is not: other
        // policies would wait for it for ever.
        let planned = if is_answered { refusal.or_else(|| freshness_refusal(inputs, target)) } else { refusal };
        if let Some(at) = removes_at(inputs, &position, target, planned) {
            released
                .removals
                .entry(target.subject.uid.clone())
                .and_modify(|first| *first = at.min(*first))
                .or_insert(at);
        }
        if refusal.is_none() {
            refusal = freshness_refusal(inputs, target);
            if !is_answered && released.unproven.len() < MAX_FRESHNESS_QUESTIONS {
                let pins = pins(matching, target);
                released.unproven.push(Question::Freshness { target: target.object.clone(), pins });
            }
        }
        match (refusal, position.next) {
            (Some(refusal), _) => released.refusals.push(Refused { target: uid.clone(), refusal, due: false }),
            (None, Some(next)) if let Sight::Breached(value) = sight => {
                let labels = matching.breached.get(uid).map(|worst| worst.labels.clone());
                let worst = Series { labels: labels.unwrap_or_default(), value };
                let reservation = reserve(inputs, &ledger, target, timer, worst, next, position.skipped);
                ledger.records.push(provisional(inputs, target, &reservation));
                released.reservations.push(reservation);
            }
            // Unreachable: `first_refusal` refuses without a breach and without a next step.
            (None, _) => {}
        }
    }
    released
}

/// The first guardrail that refuses, without storm and freshness.
fn first_refusal(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    lineage: &Lineage,
    target: &Target,
    timer: &Timer,
    sight: Sight,
    position: &LadderPosition,
) -> Option<Refusal> {
    policy_refusal(inputs)
        .or_else(|| observation_refusal(inputs, target, timer, sight))
        .or_else(|| target_refusal(inputs, target, position))
        .or_else(|| history_refusal(inputs, ledger, lineage, target, timer, position))
        .or_else(|| budget_refusal(inputs, ledger, target))
        .or_else(|| availability_refusal(inputs, ledger, target, position))
}

fn policy_refusal(inputs: Inputs<'_>) -> Option<Refusal> {
    if inputs.policy.suspended {
        return Some(Refusal::open(Reason::Suspended));
    }
    if inputs.held {
        return Some(Refusal::open(Reason::Held));
    }
    None
}

fn observation_refusal(inputs: Inputs<'_>, target: &Target, timer: &Timer, sight: Sight) -> Option<Refusal> {
    let Inputs { policy, now, .. } = inputs;
    let breach_held = match sight {
        Sight::Unknown | Sight::Unproven => return Some(Refusal::open(Reason::ObservationUnknown)),
        Sight::NoData => return Some(Refusal::open(Reason::NoData)),
        Sight::Young(_) => return Some(Refusal::until(Reason::TooYoung, after(target.created, policy.min_age))),
        Sight::Namesake => return Some(Refusal::until(Reason::TooYoung, after(target.created, policy.signal_window))),
        Sight::Quiet | Sight::Clear => return Some(Refusal::open(Reason::NotYetFor)),
        Sight::Breached(_) => timer.breach,
    };
    let Some(breach_held) = breach_held else { return Some(Refusal::open(Reason::NotYetFor)) };
    // An old observation means that an evaluation is overdue or that the clock has jumped.
    let age = elapsed(inputs.observation.at, now);
    if age > times(policy.interval, 2) || age.is_negative() {
        return Some(Refusal::open(Reason::ObservationUnknown));
    }
    if timer.phase != BreachPhase::Firing || breach_held.held() < policy.breach_for {
        return Some(Refusal::until(Reason::NotYetFor, after(breach_held.since, policy.breach_for)));
    }
    None
}

fn target_refusal(inputs: Inputs<'_>, target: &Target, position: &LadderPosition) -> Option<Refusal> {
    let now = inputs.now;
    if let Some(opt_out) = target.opted_out.filter(|opt_out| opt_out.holds(now)) {
        return Some(Refusal { reason: Reason::OptedOut, until: opt_out.until });
    }
    let others_touched =
        position.touches_workload() && target.workload.as_ref().is_some_and(|workload| !workload.all_selected);
    if let Some(why) = target.not_healable.or(others_touched.then_some(NotHealable::PodsNotSelected)) {
        return Some(Refusal::open(Reason::NotHealable(why)));
    }
    if let Some(until) = starting(inputs, target) {
        return Some(Refusal::until(Reason::NotHealable(NotHealable::Starting), until));
    }
    if let Some(until) = mid_rollout(inputs, target).filter(|until| now < *until) {
        return Some(Refusal::until(Reason::NotHealable(NotHealable::MidRollout), until));
    }
    None
}

fn history_refusal(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    lineage: &Lineage,
    target: &Target,
    timer: &Timer,
    position: &LadderPosition,
) -> Option<Refusal> {
    let Inputs { policy, now, .. } = inputs;
    let limits = &policy.limits;
    let whole = position.touches_workload() || target.object.uid == target.subject.uid;
    if ledger.busy_with(target, timer.since, limits.ladder_reset, lineage).is_some()
        || whole && ledger.workload_busy(&target.subject.uid).is_some()
        || whole && planned_removal(inputs, target).is_some()
    {
        return Some(Refusal::open(Reason::TargetBusy));
    }
    if position.next.is_none() {
        return Some(Refusal::open(Reason::Exhausted));
    }
    if policy.mode == PolicyMode::DryRun && is_recorded(inputs, ledger, target, timer) {
        return Some(Refusal::open(Reason::AlreadyRecorded));
    }
    if let Some(last) = ledger.last_against(policy.budget(), target, timer.since, limits.ladder_reset, lineage) {
        let until = after(last, limits.cooldown);
        if now < until {
            return Some(Refusal::until(Reason::Cooldown, until));
        }
    }
    if let Some(until) = ledger.back_off_until(&policy.key, target, now) {
        return Some(Refusal::until(Reason::BackOff, until));
    }
    None
}

/// Whether the dry run of this episode is on record. After a restart the timer may start later
/// than the record says, because the history had a gap. The target was not clear since then, so
/// it is the same episode.
fn is_recorded(inputs: Inputs<'_>, ledger: &Ledger, target: &Target, timer: &Timer) -> bool {
    let uid = &target.object.uid;
    let reported = inputs.memory.held_back.get(uid).is_some_and(|reasons| reasons.contains(&Reason::AlreadyRecorded));
    let is_known = reported && inputs.memory.timers.contains_key(uid);
    is_known || ledger.dry_run_recorded(&inputs.policy.key, uid, timer.since)
}

fn budget_refusal(inputs: Inputs<'_>, ledger: &Ledger, target: &Target) -> Option<Refusal> {
    let Inputs { policy, now, .. } = inputs;
    let limits = &policy.limits;
    if let Some(until) = ledger.subject_full_until(policy.budget(), &target.subject.uid, limits.subject_cap, now) {
        return Some(Refusal::until(Reason::SubjectCap, until));
    }
    if let Some(until) = ledger.window_full_until(policy.budget(), limits.max_actions, limits.window, now) {
        return Some(Refusal::until(Reason::MaxActions, until));
    }
    let most = limits.max_actions.max(RECORDS_AT_LEAST);
    if let Some(until) = ledger.records_full_until(policy.budget(), most, now) {
        return Some(Refusal::until(Reason::TooManyRecords, until));
    }
    let allowed = usize::try_from(limits.max_concurrent).unwrap_or(usize::MAX);
    // A pod that ends slowly takes no slot of the policy, but its workload is not whole without it.
    if ledger.in_flight(&policy.key, policy.mode) >= allowed || ledger.removed_pod_ends_slowly(&target.subject.uid) {
        return Some(Refusal::open(Reason::MaxConcurrent));
    }
    None
}

fn availability_refusal(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    target: &Target,
    position: &LadderPosition,
) -> Option<Refusal> {
    // An action on the whole workload keeps to the workload's own update strategy.
    if position.touches_workload() {
        return None;
    }
    let disrupted = availability::disrupted(ledger, target, inputs.now);
    let shortage = availability::shortage(inputs.policy.limits.min_available, target, &disrupted)?;
    Some(Refusal::open(Reason::TooFewAvailable(shortage)))
}

fn freshness_refusal(inputs: Inputs<'_>, target: &Target) -> Option<Refusal> {
    match inputs.observation.freshness.get(&target.object.uid) {
        Some(Freshness::Fresh) => None,
        Some(Freshness::Stale(_)) => Some(Refusal::open(Reason::Stale)),
        Some(Freshness::Unknown) | None => Some(Refusal::open(Reason::ObservationUnknown)),
    }
}

/// The labels of the breached series of a target. Its own samples must be fresh, not those of
/// another series of the target.
fn pins(matching: &Matching, target: &Target) -> Labels {
    let Some(series) = matching.breached.get(&target.object.uid) else { return Labels::new() };
    // The name is part of the selector.
    series.labels.iter().filter(|(name, _)| *name != "__name__").map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Until when the target may still be starting. `None`: it is not.
pub(super) fn starting(inputs: Inputs<'_>, target: &Target) -> Option<Timestamp> {
    let Inputs { policy, now, .. } = inputs;
    let asked = policy.steps.first().and_then(|step| step.ready_within);
    starting_until(target, asked, policy.breach_for).filter(|until| now < *until)
}

/// When the rollout of the target's workload counts as stuck if it makes no progress until
/// then: after the time that its pods may take to become Ready. A crash loop is not progress.
pub(super) fn mid_rollout(inputs: Inputs<'_>, target: &Target) -> Option<Timestamp> {
    let workload = target.workload.as_ref()?;
    let stuck_after = workload.ready_times.stuck_after(inputs.policy.steps.first()?.ready_within);
    workload.rollout_progress.map(|progress| after(progress, stuck_after))
}

/// The position on the ladder that a storm allows, and whether the storm allows no action.
///
/// A probe that failed is not repeated during the storm. Targets that it counts against
/// continue on a step above it.
fn position_in_storm(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    lineage: &Lineage,
    gate: Gate<'_>,
    target: &Target,
    timer: &Timer,
    position: LadderPosition,
) -> (LadderPosition, bool) {
    let probe = match gate {
        Gate::Open => return (position, false),
        Gate::Closed => return (position, true),
        Gate::Climb(probe) => probe,
    };
    let counts = probe.counts_against(target, timer.since, inputs.policy.limits.ladder_reset, lineage);
    let repeats = position.next.as_ref().is_some_and(|next| next.step <= probe.step);
    if !counts || !repeats {
        return (position, !counts);
    }
    let above = ladder::position_above(inputs.policy, ledger, lineage, target, timer.since, probe.step);
    if above.next.is_some() { (above, false) } else { (position, true) }
}

fn reserve(
    inputs: Inputs<'_>,
    ledger: &Ledger,
    target: &Target,
    timer: &Timer,
    worst: Series,
    next: Attempt,
    skipped: Vec<Skipped>,
) -> Reservation {
    Reservation {
        target: target.object.clone(),
        subject: target.subject.clone(),
        step_name: next.step_name,
        step: next.step,
        attempt: next.number,
        action: next.action,
        skipped,
        sequence: ledger.next_sequence(&inputs.policy.key),
        since: timer.since,
        value: worst.value,
        labels: worst.labels,
        observed_at: inputs.observation.at,
        start_by: after(inputs.now, times(inputs.policy.interval, 2).max(START_WITHIN)),
    }
}

/// The record that the reservation will become, for the rest of this decision.
fn provisional(inputs: Inputs<'_>, target: &Target, reservation: &Reservation) -> Record {
    Record {
        name: String::new(),
        sequence: reservation.sequence,
        policy: inputs.policy.key.clone(),
        digest: inputs.policy.digest.clone(),
        mode: inputs.policy.mode,
        action: String::new(),
        scope: reservation.action.scope(),
        target: target.object.clone(),
        subject: target.subject.clone(),
        created: inputs.now,
        executed_after: None,
        unhealthy_since: reservation.since,
        breached: reservation.labels.clone(),
        verify_by: None,
        step_name: reservation.step_name.clone(),
        step: reservation.step,
        attempt: reservation.attempt,
        state: State::Pending,
        waiting: false,
        reason: None,
        finished: None,
    }
}
