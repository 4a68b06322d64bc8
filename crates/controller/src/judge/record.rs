//! Stage 5: what was decided becomes status and metrics. The status is built whole
//! from the decision and written only when it differs from what was written last:
//! a quiet policy makes no write. Needs the client for writes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt};
use prunella_api::ConditionType::{Blocked, Healing, Healthy, Observed, Ready, Stalled};
use prunella_api::{HealingPolicy, HealingPolicyStatus, set_condition};
use prunella_cluster::ClusterError;
use prunella_core::decide::Decision;
use prunella_core::observation::Observation;
use prunella_core::refusal::Reason;
use prunella_core::target::NotHealable;
use tracing::{info, warn};

use super::compile::CompileError;
use super::scene::Scene;
use super::{Compiled, Standing};
use crate::context::Context;
use crate::writes::apply_status;

/// Every brake that is counted as blocking, by its word.
pub(crate) const REASONS: [&str; 14] = [
    Reason::Suspended.as_str(),
    Reason::Held.as_str(),
    Reason::ObservationUnknown.as_str(),
    Reason::NoData.as_str(),
    Reason::NotYetFor.as_str(),
    Reason::OptedOut.as_str(),
    Reason::NotHealable(NotHealable::StaticPod).as_str(),
    Reason::TargetBusy.as_str(),
    Reason::Exhausted.as_str(),
    Reason::AlreadyRecorded.as_str(),
    Reason::Cooldown.as_str(),
    Reason::MaxActions.as_str(),
    Reason::MaxConcurrent.as_str(),
    Reason::Stale.as_str(),
];

/// Writes what was decided.
pub(super) async fn record(
    policy: &HealingPolicy,
    compiled: &Compiled,
    observation: &Observation,
    decision: &Decision,
    standing: &mut Standing,
    context: &Context,
) -> Result<(), ClusterError> {
    let ledger = context.book.ledger(&compiled.policy.key.namespace);
    let held = context.is_held(&compiled.policy.key.namespace);
    let scene = Scene { policy, compiled, observation, decision, ledger: &ledger, held };
    let blocked = scene.blocked();
    count(compiled, decision, &blocked, context);
    let earlier = standing.written.as_ref().or(policy.status.as_ref());
    let status = scene.status(earlier, &blocked, &context.now().into());
    write(policy, standing, status, context).await
}

/// Writes that the policy cannot work until somebody changes it.
pub(super) async fn stalled(
    policy: &HealingPolicy,
    standing: &mut Standing,
    error: &CompileError,
    context: &Context,
) -> Result<(), ClusterError> {
    let earlier = standing.written.as_ref().or(policy.status.as_ref());
    let mut conditions = earlier.map(|status| status.conditions.clone()).unwrap_or_default();
    let generation = policy.metadata.generation;
    let now: Time = context.now().into();
    let message = format!("{error}");
    set_condition(&mut conditions, Ready, Some(false), error.reason(), message.clone(), generation, &now);
    set_condition(&mut conditions, Stalled, Some(true), error.reason(), message, generation, &now);
    for kind in [Observed, Healthy] {
        set_condition(&mut conditions, kind, None, "Stalled", "the policy is not judged", generation, &now);
    }
    for kind in [Healing, Blocked] {
        set_condition(&mut conditions, kind, Some(false), "Stalled", "the policy is not judged", generation, &now);
    }
    let status = HealingPolicyStatus {
        observed_generation: generation,
        conditions,
        targets: None,
        sick: Vec::new(),
        blocked: Vec::new(),
        last_action: earlier.and_then(|status| status.last_action.clone()),
    };
    write(policy, standing, status, context).await
}

async fn write(
    policy: &HealingPolicy,
    standing: &mut Standing,
    status: HealingPolicyStatus,
    context: &Context,
) -> Result<(), ClusterError> {
    if standing.written.as_ref().or(policy.status.as_ref()) == Some(&status) {
        return Ok(());
    }
    log(policy, standing.written.as_ref().or(policy.status.as_ref()), &status);
    let namespace = policy.namespace().unwrap_or_default();
    let api: Api<HealingPolicy> = Api::namespaced(context.writes.clone(), &namespace);
    match apply_status(&api, &policy.name_any(), &status).await {
        Ok(_) => {
            standing.written = Some(status);
            Ok(())
        }
        // Deleted meanwhile: there is nobody to tell.
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
        Err(error) => {
            standing.written = None;
            Err(error)
        }
    }
}

/// A line for every condition that changed.
fn log(policy: &HealingPolicy, earlier: Option<&HealingPolicyStatus>, status: &HealingPolicyStatus) {
    let name = policy.name_any();
    let namespace = policy.namespace().unwrap_or_default();
    for condition in &status.conditions {
        let before = earlier.and_then(|status| status.conditions.iter().find(|one| one.type_ == condition.type_));
        if before.is_some_and(|before| (&before.status, &before.reason) == (&condition.status, &condition.reason)) {
            continue;
        }
        let line = format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message);
        let bad = matches!(
            (condition.type_.as_str(), condition.status.as_str()),
            ("Ready" | "Observed" | "Healthy", "False") | ("Stalled" | "Blocked", "True")
        );
        if bad {
            warn!(namespace, policy = name, "{line}");
        } else {
            info!(namespace, policy = name, "{line}");
        }
    }
}

fn count(compiled: &Compiled, decision: &Decision, blocked: &BTreeMap<Reason, usize>, context: &Context) {
    let key = &compiled.policy.key;
    let counts = decision.counts;
    for (state, count) in crate::metrics::STATES.into_iter().zip([
        counts.selected,
        counts.pending,
        counts.firing,
        counts.verifying,
        counts.exhausted,
    ]) {
        context.metrics.set_targets(key, state, count);
    }
    for word in REASONS {
        let count = blocked.iter().filter(|(reason, _)| reason.as_str() == word).map(|(_, count)| count).sum();
        context.metrics.set_blocked(key, word, count);
    }
}
