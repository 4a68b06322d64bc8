//! What the judge tells: Events on policy and target, and a log line for each.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_core::decide::{Change, Decision, Reservation, Transition};
use prunella_core::policy::Mode;
use prunella_core::target::Object;
use tracing::info;

use super::Compiled;
use super::reserve::decimal;
use super::scene::passed_over;
use crate::announce::News;
use crate::context::Context;

/// Tells what happened to targets since the last decision.
pub(super) fn transitions(policy: &HealingPolicy, compiled: &Compiled, decision: &Decision, context: &Context) {
    for transition in &decision.transitions {
        let news = news(compiled, decision, transition);
        info!(policy = %compiled.policy.key, target = %transition.target, "{}: {}", news.reason, news.note);
        if transition.change == Change::Recovered {
            context.metrics.recovered(&compiled.policy.key);
        }
        context.announcer.tell_both(&news, &policy.object_ref(&()), &pod(compiled, &transition.target));
    }
}

/// Tells that an action was reserved.
pub(super) fn reserved(
    policy: &HealingPolicy,
    compiled: &Compiled,
    reservation: &Reservation,
    action: &HealingAction,
    context: &Context,
) {
    let (reason, intent) = match compiled.policy.mode {
        Mode::Enforce => ("Reserved", "will be done"),
        Mode::DryRun => ("DryRun", "would be done, but the policy's mode is DryRun"),
    };
    let touched = if reservation.action.scope().is_workload() { &reservation.subject } else { &reservation.target };
    let skipped = reservation.skipped.iter().fold(String::new(), |all, one| format!("{all}; passed over {one}"));
    let news = News {
        warning: false,
        reason,
        action: action.spec.action_name.clone(),
        note: format!(
            "{} on {touched} {intent}: {} has been sick since {:.0} (value {}){skipped}; see HealingAction {}",
            action.spec.action_name,
            reservation.target,
            reservation.since,
            decimal(reservation.value),
            action.name_any(),
        ),
    };
    context.announcer.tell_both(&news, &policy.object_ref(&()), &pod(compiled, &reservation.target));
}

fn news(compiled: &Compiled, decision: &Decision, transition: &Transition) -> News {
    let target = &transition.target;
    let value = transition.value.map(decimal).unwrap_or_default();
    let (warning, reason, note) = match transition.change {
        Change::BecamePending => (
            false,
            "Pending",
            format!("{target} is breached (value {value}); it counts as sick after {:#}", compiled.policy.breach_for),
        ),
        Change::StartedFiring => {
            (true, "Firing", format!("{target} has been breached for {:#} (value {value})", compiled.policy.breach_for))
        }
        Change::Exhausted => (
            true,
            "Exhausted",
            format!(
                "every step was tried on {target}{}; it is left alone until it has been clear for {:#}",
                passed_over(decision.skipped.get(&target.uid)),
                compiled.policy.limits.ladder_reset
            ),
        ),
        Change::Recovered => (false, "Recovered", format!("{target} is no longer breached")),
    };
    News { warning, reason, action: "Judge".to_owned(), note }
}

fn pod(compiled: &Compiled, target: &Object) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some(target.kind.clone()),
        name: Some(target.name.clone()),
        namespace: Some(compiled.policy.key.namespace.clone()),
        uid: Some(target.uid.to_string()),
        ..ObjectReference::default()
    }
}
