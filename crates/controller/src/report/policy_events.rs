//! What happened to the targets of a policy, as Events on policy and target and a log line
//! for each.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_core::decide::{Change, Decision, Reservation, StormChange, TargetTransition};
use prunella_core::policy::PolicyMode;
use prunella_core::refusal::Reason;
use prunella_core::target::Object;
use tracing::info;

use super::events::{self, EventText};
use super::value::for_people;
use super::{Reporter, wording};
use crate::cluster_view::Hold;
use crate::compiled::CompiledPolicy;

/// The action of Events about an evaluation.
const EVALUATE: &str = "Evaluate";

/// Reports what happened to targets since the last decision.
pub(crate) fn transitions(
    policy: &HealingPolicy,
    compiled: &CompiledPolicy,
    decision: &Decision,
    hold: Option<&Hold>,
    reporter: &Reporter,
) {
    if let Some(change) = decision.storm {
        storm(policy, compiled, change, reporter);
    }
    for transition in &decision.transitions {
        let Some(text) = text(compiled, decision, transition, hold) else { continue };
        info!(policy = %compiled.policy.key, target = %transition.target, "{}: {}", text.reason, text.note);
        if matches!(transition.change, Change::Recovered { by_itself: true, .. }) {
            reporter.metrics.recovered(&compiled.policy.key);
        }
        reporter.events.write_both(&text, &policy.object_ref(&()), &reference(compiled, &transition.target));
    }
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
                "{target} is unhealthy, but no action starts: {}{}",
                wording::refusal(compiled, refusal, hold),
                wording::owned_by(decision.owners.get(&target.uid)),
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
