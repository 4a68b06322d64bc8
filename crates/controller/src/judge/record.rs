//! Stage 5: what was decided becomes status and metrics. The status is built whole
//! from the decision and written only when it differs from what was written last:
//! a quiet policy makes no write. Needs the client for writes.

use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Api, Resource, ResourceExt};
use prunella_api::ConditionType::{Blocked, Healing, Healthy, Observed, Ready, Stalled};
use prunella_api::{HealingPolicy, HealingPolicyStatus, set_condition};
use prunella_cluster::ClusterError;
use prunella_core::decide::Decision;
use prunella_core::observation::Observation;
use tracing::{info, warn};

use super::compile::CompileError;
use super::pace::Pace;
use super::scene::Scene;
use super::{Compiled, Standing};
use crate::announce::News;
use crate::context::Context;
use crate::writes::apply_status;

/// Whether a status can wait for those that come soon after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It is told before something is begun because of it.
    Now,
    /// It is told with what else changes meanwhile.
    InItsTurn,
}

/// Writes what was decided.
pub(super) async fn record(
    policy: &HealingPolicy,
    compiled: &Compiled,
    observation: &Observation,
    decision: &Decision,
    urgency: Urgency,
    standing: &mut Standing,
    context: &Context,
) -> Result<(), ClusterError> {
    let ledger = context.book.ledger(&compiled.policy.key.namespace);
    let hold = context.hold(&compiled.policy.key.namespace);
    let scene = Scene { policy, compiled, observation, decision, ledger: &ledger, hold };
    let blocked = scene.blocked();
    context.metrics.count(&compiled.policy.key, decision.counts, &blocked);
    if standing.written.is_some() && standing.written == policy.status {
        // The watch has caught up: one copy is enough.
        standing.written = None;
    }
    let earlier = standing.written.as_ref().or(policy.status.as_ref());
    let status = scene.status(earlier, &blocked, &context.now().into());
    write(policy, standing, status, urgency, context).await
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
        // What was tried in it is not to be tried again once the policy makes sense.
        storm: earlier.and_then(|status| status.storm.clone()),
        rule: None,
        last_action: earlier.and_then(|status| status.last_action.clone()),
    };
    write(policy, standing, status, Urgency::Now, context).await
}

async fn write(
    policy: &HealingPolicy,
    standing: &mut Standing,
    status: HealingPolicyStatus,
    urgency: Urgency,
    context: &Context,
) -> Result<(), ClusterError> {
    let now = Instant::now();
    let pace = standing.pace.get_or_insert_with(|| Pace::new(now));
    let earlier = standing.written.as_ref().or(policy.status.as_ref());
    let due = due(earlier, &status, urgency, pace.wait(now));
    standing.unwritten = match due {
        Due::Later(wait) => Some(wait),
        Due::Now | Due::Never => None,
    };
    if due != Due::Now {
        return Ok(());
    }
    pace.spend();
    let namespace = policy.namespace().unwrap_or_default();
    let api: Api<HealingPolicy> = Api::namespaced(context.writes.clone(), &namespace);
    match apply_status(&api, &policy.name_any(), &status).await {
        Ok(_) => {
            tell(policy, standing.written.as_ref().or(policy.status.as_ref()), &status, context);
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

/// When a status is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Now,
    /// After this time, with what else changes until then.
    Later(Duration),
    /// It says what is written already.
    Never,
}

fn due(
    earlier: Option<&HealingPolicyStatus>,
    status: &HealingPolicyStatus,
    urgency: Urgency,
    wait: Option<Duration>,
) -> Due {
    match (urgency, wait) {
        _ if earlier.is_some_and(|earlier| says_the_same(earlier, status)) => Due::Never,
        (Urgency::InItsTurn, Some(wait)) => Due::Later(wait),
        (Urgency::Now, _) | (Urgency::InItsTurn, None) => Due::Now,
    }
}

/// Whether nothing has changed but how many series were returned, and which of them name
/// nobody: what becomes of other people's pods is no news of this policy.
fn says_the_same(earlier: &HealingPolicyStatus, status: &HealingPolicyStatus) -> bool {
    let without = |status: &HealingPolicyStatus| {
        let mut status = status.clone();
        let observed = |one: &&mut Condition| one.type_ == Observed.as_str() && one.status == "True";
        status.conditions.iter_mut().filter(observed).for_each(|one| one.message.clear());
        status
    };
    earlier == status || without(earlier) == without(status)
}

/// A line for every condition that changed, and an Event when the policy does not work.
fn tell(
    policy: &HealingPolicy,
    earlier: Option<&HealingPolicyStatus>,
    status: &HealingPolicyStatus,
    context: &Context,
) {
    let name = policy.name_any();
    let namespace = policy.namespace().unwrap_or_default();
    for condition in &status.conditions {
        let before = earlier.and_then(|status| status.conditions.iter().find(|one| one.type_ == condition.type_));
        let unready = condition.type_ == Ready.as_str() && condition.status == "False";
        let same = |before: &Condition| {
            (&before.status, &before.reason) == (&condition.status, &condition.reason)
                && (!unready || before.message == condition.message)
        };
        if before.is_some_and(same) {
            continue;
        }
        let line = format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message);
        let bad = matches!(
            (condition.type_.as_str(), condition.status.as_str()),
            ("Ready" | "Observed" | "Healthy", "False") | ("Stalled" | "Blocked", "True")
        );
        if unready {
            let note = format!("{}: {}", condition.reason, condition.message);
            let news = News { warning: true, reason: "NotReady", action: "Judge".to_owned(), note };
            context.announcer.tell(&news, &policy.object_ref(&()), None);
        }
        if bad {
            warn!(namespace, policy = name, "{line}");
        } else {
            info!(namespace, policy = name, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_already_is_never_written_again_and_what_is_urgent_never_waits() {
        let quiet = HealingPolicyStatus { observed_generation: Some(1), ..HealingPolicyStatus::default() };
        let other = HealingPolicyStatus { observed_generation: Some(2), ..HealingPolicyStatus::default() };
        let wait = Duration::from_secs(4);
        for (earlier, urgency, left, expected) in [
            (Some(&quiet), Urgency::InItsTurn, None, Due::Never),
            (Some(&quiet), Urgency::Now, Some(wait), Due::Never),
            (Some(&other), Urgency::InItsTurn, None, Due::Now),
            (Some(&other), Urgency::InItsTurn, Some(wait), Due::Later(wait)),
            (Some(&other), Urgency::Now, Some(wait), Due::Now),
            (None, Urgency::InItsTurn, None, Due::Now),
        ] {
            assert_eq!(due(earlier, &quiet, urgency, left), expected, "{urgency:?} {left:?}");
        }
    }

    #[test]
    fn what_becomes_of_other_peoples_pods_is_no_news() {
        let observed = |status: &str, message: &str| {
            let mut conditions = Vec::new();
            let now: Time = jiff::Timestamp::UNIX_EPOCH.into();
            set_condition(&mut conditions, Observed, Some(status == "True"), "Word", message.to_owned(), None, &now);
            HealingPolicyStatus { conditions, ..HealingPolicyStatus::default() }
        };
        for (earlier, now, expected) in [
            (observed("True", "3 series"), observed("True", "4 series"), Due::Never),
            (observed("False", "timeout"), observed("False", "refused"), Due::Now),
            (observed("False", "timeout"), observed("True", "4 series"), Due::Now),
        ] {
            assert_eq!(due(Some(&earlier), &now, Urgency::InItsTurn, None), expected);
        }
    }
}
