//! What happened to the targets of a policy, as Events on policy and target and a log line
//! for each.

use tokio::time::Instant;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_core::decide::{Change, Decision, Reservation, StormChange, TargetTransition};
use prunella_core::policy::PolicyMode;
use prunella_core::refusal::Reason;
use prunella_core::target::Object;
use tracing::{debug, info, warn};

use super::events::{self, EventText};
use super::pace::{EVENTS_AT_ONCE, Pace};
use super::value::for_people;
use super::{Reporter, wording};
use crate::cluster_view::Hold;
use crate::compiled::CompiledPolicy;

/// The action of Events about an evaluation.
const EVALUATE: &str = "Evaluate";

/// How many Events about targets one policy may write, and whether it was reported that some
/// were left out.
#[derive(Debug, Default)]
pub(crate) struct EventAllowance {
    pace: Option<Pace>,
    reported: bool,
}

/// What happens to an Event about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Written,
    /// It is left out, and that is to be reported.
    FirstLeftOut,
    LeftOut,
}

impl EventAllowance {
    fn pass(&mut self, now: Instant) -> Passage {
        let pace = self.pace.get_or_insert_with(|| Pace::of_events(now));
        if pace.wait(now).is_some() {
            let first = !std::mem::replace(&mut self.reported, true);
            return if first { Passage::FirstLeftOut } else { Passage::LeftOut };
        }
        if pace.is_full() {
            self.reported = false;
        }
        pace.spend();
        Passage::Written
    }
}

/// Reports what happened to targets since the last decision.
pub(crate) fn transitions(
    policy: &HealingPolicy,
    compiled: &CompiledPolicy,
    decision: &Decision,
    hold: Option<&Hold>,
    allowance: &mut EventAllowance,
    reporter: &Reporter,
) {
    if let Some(change) = decision.storm {
        storm(policy, compiled, change, reporter);
    }
    for transition in &decision.transitions {
        let Some(text) = text(compiled, decision, transition, hold) else { continue };
        if matches!(transition.change, Change::Recovered { by_itself: true, .. }) {
            reporter.metrics.recovered(&compiled.policy.key);
        }
        let passage = allowance.pass(Instant::now());
        if passage == Passage::FirstLeftOut {
            left_out(policy, compiled, reporter);
        }
        if passage != Passage::Written {
            debug!(policy = %compiled.policy.key, target = %transition.target, "{}: {}", text.reason, text.note);
            continue;
        }
        info!(policy = %compiled.policy.key, target = %transition.target, "{}: {}", text.reason, text.note);
        reporter.events.write_both(&text, &policy.object_ref(&()), &reference(compiled, &transition.target));
    }
}

/// Reports that Events about targets are left out.
fn left_out(policy: &HealingPolicy, compiled: &CompiledPolicy, reporter: &Reporter) {
    let note = format!(
        "more than {EVENTS_AT_ONCE} changes of targets were reported in a short time, so most Events about targets are left out now; status.unhealthy and the metrics are complete. If targets flap, set condition.for and condition.clearFor"
    );
    warn!(policy = %compiled.policy.key, "EventsLeftOut: {note}");
    let text = EventText { warning: true, reason: "EventsLeftOut", action: EVALUATE.to_owned(), note };
    reporter.events.write(&text, &policy.object_ref(&()), None);
}

/// Reports that a storm has started, or is over.
fn storm(policy: &HealingPolicy, compiled: &CompiledPolicy, change: StormChange, reporter: &Reporter) {
    let limits = &compiled.policy.limits;
    let (warning, reason, note) = match change {
        StormChange::Began { breached, allowed } => (
            true,
            "StormStarted",
            format!(
                "{breached} targets are breached, and limits.maxUnhealthy allows {allowed}; {}",
                wording::in_a_storm(limits.on_storm)
            ),
        ),
        StormChange::Ended => (
            false,
            "StormEnded",
            format!(
                "the number of breached targets has been within limits.maxUnhealthy for {:#}; the storm no longer holds back any target",
                limits.storm_cooldown
            ),
        ),
    };
    let text = EventText { warning, reason, action: EVALUATE.to_owned(), note };
    info!(policy = %compiled.policy.key, "{}: {}", text.reason, text.note);
    reporter.events.write(&text, &policy.object_ref(&()), None);
}

/// Reports that an action was reserved.
pub(crate) fn reserved(
    policy: &HealingPolicy,
    compiled: &CompiledPolicy,
    reservation: &Reservation,
    action: &HealingAction,
    reporter: &Reporter,
) {
    let (reason, intent) = match compiled.policy.mode {
        PolicyMode::Enforce => ("Reserved", "is about to start"),
        PolicyMode::DryRun => ("DryRun", "would start, but the policy's mode is DryRun"),
    };
    let touched = if reservation.action.scope().is_workload() { &reservation.subject } else { &reservation.target };
    let skipped = reservation.skipped.iter().fold(String::new(), |all, one| format!("{all}; skipped {one}"));
    let text = EventText {
        warning: false,
        reason,
        action: action.spec.action_name.clone(),
        note: format!(
            "step {}: {} on {touched} {intent}; {} has been unhealthy since {:.0} (value {}){skipped}; see HealingAction {}",
            reservation.step_name,
            action.spec.action_name,
            reservation.target,
            reservation.since,
            for_people(reservation.value, compiled.unit),
            action.name_any(),
        ),
    };
    reporter.events.write_both(&text, &policy.object_ref(&()), &reference(compiled, &reservation.target));
}

/// The Event of a transition. `None`: a target that is pending is not unhealthy yet and may
/// recover before `for` has passed. With a flapping signal, Events about that would drown the
/// others; the status counts such targets.
fn text(
    compiled: &CompiledPolicy,
    decision: &Decision,
    transition: &TargetTransition,
    hold: Option<&Hold>,
) -> Option<EventText> {
    let target = &transition.target;
    let value = transition.value.map(|value| for_people(value, compiled.unit)).unwrap_or_default();
    let (warning, reason, note) = match transition.change {
        Change::BecamePending | Change::Recovered { was_firing: false, .. } => return None,
        Change::StartedFiring => {
            let breach_for = compiled.policy.breach_for;
            let how_long = if breach_for.is_zero() { String::new() } else { format!(" for at least {breach_for:#}") };
            let is = if breach_for.is_zero() { "is" } else { "has been" };
            (true, "Firing", format!("{target} is unhealthy: it {is} breached{how_long} (value {value})"))
        }
        Change::Exhausted => (
            true,
            "Exhausted",
            format!(
                "{target}: {}{}",
                wording::why(&compiled.policy, Reason::Exhausted, None),
                wording::skipped(decision.skipped.get(&target.uid)),
            ),
        ),
        Change::HeldBack(refusal) => (
            true,
            refusal.reason.as_str(),
            format!(
                "{target} {}, but no action starts: {}{}{}",
                if decision.is_firing(&target.uid) { "is unhealthy" } else { "is breached" },
                wording::refusal(compiled, refusal, hold),
                wording::owned_by(decision.owners.get(&target.uid)),
                wording::busy(decision.busy.get(&target.uid)),
            ),
        ),
        Change::Recovered { was_firing: true, by_itself } => {
            let how = if by_itself { "; it recovered without an action" } else { "" };
            (false, "Recovered", format!("{target} is healthy again{how}"))
        }
    };
    Some(EventText { warning, reason, action: EVALUATE.to_owned(), note })
}

fn reference(compiled: &CompiledPolicy, target: &Object) -> ObjectReference {
    events::reference(&compiled.policy.key.namespace, target)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A hundred targets that flap every four seconds, for an hour: three transitions each time.
    #[test]
    fn a_flapping_policy_writes_a_bounded_number_of_events() {
        let start = Instant::now();
        let mut allowance = EventAllowance::default();
        let count = |passage| {
            let passages = (0..900).flat_map(|flap| std::iter::repeat_n(start + Duration::from_secs(4 * flap), 300));
            let mut allowance = EventAllowance::default();
            passages.filter(|now| allowance.pass(*now) == passage).count()
        };
        assert_eq!(count(Passage::FirstLeftOut), 1, "it is reported once");
        assert!(count(Passage::Written) <= 60 + 360, "{} in an hour", count(Passage::Written));
        // After a calm hour all is as at first.
        let written = |allowance: &mut EventAllowance, now| (0..300).map(|_| allowance.pass(now)).collect::<Vec<_>>();
        for hour in [0, 1] {
            let passages = written(&mut allowance, start + Duration::from_hours(hour));
            assert!(passages[..60].iter().all(|passage| *passage == Passage::Written), "{hour}");
            assert_eq!(passages[60], Passage::FirstLeftOut, "{hour}");
        }
    }
}
