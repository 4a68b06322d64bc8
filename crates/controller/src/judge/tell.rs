//! What the judge tells: Events on policy and target, and a log line for each.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_core::decide::{Change, Decision, Reservation, StormChange, Transition};
use prunella_core::policy::Mode;
use prunella_core::refusal::Reason;
use prunella_core::target::Object;
use tracing::info;

use super::reserve::decimal;
use super::scene::passed_over;
use super::{Compiled, words};
use crate::announce::{self, News};
use crate::context::Context;

/// Tells what happened to targets since the last decision.
pub(super) fn transitions(policy: &HealingPolicy, compiled: &Compiled, decision: &Decision, context: &Context) {
    if let Some(change) = decision.storm {
        storm(policy, compiled, change, context);
    }
    for transition in &decision.transitions {
        let news = news(compiled, decision, transition);
        info!(policy = %compiled.policy.key, target = %transition.target, "{}: {}", news.reason, news.note);
        if transition.change == (Change::Recovered { by_itself: true }) {
            context.metrics.recovered(&compiled.policy.key);
        }
        context.announcer.tell_both(&news, &policy.object_ref(&()), &reference(compiled, &transition.target));
    }
}

/// Tells that a storm has begun, or is over.
pub(super) fn storm(policy: &HealingPolicy, compiled: &Compiled, change: StormChange, context: &Context) {
    let limits = &compiled.policy.limits;
    let (warning, reason, note) = match change {
        StormChange::Began { breached, allowed } => (
            true,
            "StormBegan",
            format!(
                "{breached} targets are breached, {allowed} may be: {}",
                words::why(&compiled.policy, Reason::Storm)
            ),
        ),
        StormChange::Ended => (
            false,
            "StormEnded",
            format!(
                "no more targets than may be have been breached for {:#}; all is decided anew",
                limits.storm_cooldown
            ),
        ),
    };
    let news = News { warning, reason, action: "Judge".to_owned(), note };
    info!(policy = %compiled.policy.key, "{}: {}", news.reason, news.note);
    context.announcer.tell(&news, &policy.object_ref(&()), None);
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
    context.announcer.tell_both(&news, &policy.object_ref(&()), &reference(compiled, &reservation.target));
}

fn news(compiled: &Compiled, decision: &Decision, transition: &Transition) -> News {
    let target = &transition.target;
    let value = transition.value.map(decimal).unwrap_or_default();
    let (warning, reason, note) = match transition.change {
        Change::BecamePending => (
            false,
            "Pending",
            format!(
                "{target} is breached (value {value}); it counts as sick after {:#}, and is looked at every {:#}",
                compiled.policy.breach_for, compiled.policy.interval
            ),
        ),
        Change::StartedFiring => {
            (true, "Firing", format!("{target} has been breached for {:#} (value {value})", compiled.policy.breach_for))
        }
        Change::Exhausted => (
            true,
            "Exhausted",
            format!(
                "{target}: {}{}",
                words::why(&compiled.policy, Reason::Exhausted),
                passed_over(decision.skipped.get(&target.uid)),
            ),
        ),
        Change::HeldBack(refusal) => (
            true,
            refusal.reason.as_str(),
            format!("{target} is sick and not acted on: {}", words::refusal(compiled, refusal)),
        ),
        Change::Recovered { by_itself } => {
            let how = if by_itself { ", and nothing was done about it" } else { "" };
            (false, "Recovered", format!("{target} is no longer breached{how}"))
        }
    };
    News { warning, reason, action: "Judge".to_owned(), note }
}

fn reference(compiled: &Compiled, target: &Object) -> ObjectReference {
    announce::target(&compiled.policy.key.namespace, &target.kind, &target.name, target.uid.as_str())
}
