//! Writes the status of a policy when it differs from what was written: a quiet policy makes
//! no write.

use std::time::Duration;
use tokio::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Resource, ResourceExt};
use prunella_api::ConditionType::{Blocked, Healing, Healthy, Observed, Ready, Stalled};
use prunella_api::{HealingPolicy, HealingPolicyStatus, set_condition};
use prunella_cluster::ClusterError;
use tracing::{info, warn};

use super::Reporter;
use super::events::EventText;
use super::pace::Pace;
use super::status::{OTHER_SERIES, StatusInputs};
use crate::writes::{apply_status, stamp};

/// What is remembered of the status of one policy.
#[derive(Debug, Default)]
pub(crate) struct StatusMemory {
    /// The status as last written, until the watch delivers it: a quiet policy must make no
    /// write while the watch lags behind. Boxed, because it is mostly absent.
    written: Option<Box<HealingPolicyStatus>>,
    /// How many writes the policy may make. `None` before the first.
    pace: Option<Pace>,
    /// How long a status that is not written yet has to wait.
    waiting: Option<Duration>,
}

/// Whether a status can wait for the changes that follow soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Write at once: an action is being reserved because of it.
    Now,
    /// Write together with other changes, as the pace allows.
    Paced,
}

impl StatusMemory {
    /// When a status that waits is due.
    pub(crate) fn waiting(&self) -> Option<Duration> {
        self.waiting
    }

    #[cfg(test)]
    pub(crate) fn note_written(&mut self, status: HealingPolicyStatus) {
        self.written = Some(Box::new(status));
    }

    #[cfg(test)]
    pub(crate) fn has_written(&self) -> bool {
        self.written.is_some()
    }
}

/// Writes what was decided, as status and metrics.
pub(crate) async fn write_status(
    inputs: &StatusInputs<'_>,
    urgency: Urgency,
    memory: &mut StatusMemory,
    reporter: &Reporter,
) -> Result<(), ClusterError> {
    let StatusInputs { policy, compiled, decision, .. } = inputs;
    let blocked = inputs.blocked();
    reporter.metrics.count(&compiled.policy.key, decision.counts, &blocked);
    if memory.written.is_some() && memory.written.as_deref() == policy.status.as_ref() {
        // The watch has delivered it: one copy is enough.
        memory.written = None;
    }
    let earlier = memory.written.as_deref().or(policy.status.as_ref());
    let status = inputs.status(earlier, &blocked, &stamp(reporter.authority.now()));
    write_if_due(policy, memory, status, urgency, reporter).await
}

/// Writes that the policy is stalled: it cannot be evaluated until it is changed.
pub(crate) async fn write_stalled(
    policy: &HealingPolicy,
    memory: &mut StatusMemory,
    reason: &str,
    message: &str,
    reporter: &Reporter,
) -> Result<(), ClusterError> {
    const NOT_EVALUATED: &str = "the policy is not evaluated; see the condition Stalled";
    let earlier = memory.written.as_deref().or(policy.status.as_ref());
    let mut conditions = earlier.map(|status| status.conditions.clone()).unwrap_or_default();
    let generation = policy.metadata.generation;
    let now = stamp(reporter.authority.now());
    for (kind, status, reason, message) in [
        (Ready, Some(false), reason, message),
        (Stalled, Some(true), reason, message),
        (Observed, None, "Stalled", NOT_EVALUATED),
        (Healthy, None, "Stalled", NOT_EVALUATED),
        (Healing, Some(false), "Stalled", NOT_EVALUATED),
        (Blocked, Some(false), "Stalled", NOT_EVALUATED),
    ] {
        set_condition(&mut conditions, kind, status, reason, message, generation, &now);
    }
    let status = HealingPolicyStatus {
        observed_generation: generation,
        conditions,
        targets: None,
        unhealthy: Vec::new(),
        blocked: Vec::new(),
        // A probe that was tried in this storm must not be tried again after the fix.
        storm: earlier.and_then(|status| status.storm.clone()),
        digest: None,
        last_action: earlier.and_then(|status| status.last_action.clone()),
    };
    write_if_due(policy, memory, status, Urgency::Now, reporter).await
}

async fn write_if_due(
    policy: &HealingPolicy,
    memory: &mut StatusMemory,
    status: HealingPolicyStatus,
    urgency: Urgency,
    reporter: &Reporter,
) -> Result<(), ClusterError> {
    let now = Instant::now();
    let pace = memory.pace.get_or_insert_with(|| Pace::of_status(now));
    let earlier = memory.written.as_deref().or(policy.status.as_ref());
    let due = due(earlier, &status, urgency, pace.wait(now));
    memory.waiting = match due {
        Due::Later(wait) => Some(wait),
        Due::Now | Due::Never => None,
    };
    if due != Due::Now {
        return Ok(());
    }
    pace.spend();
    Box::pin(send(policy, memory, status, reporter)).await
}

async fn send(
    policy: &HealingPolicy,
    memory: &mut StatusMemory,
    status: HealingPolicyStatus,
    reporter: &Reporter,
) -> Result<(), ClusterError> {
    let namespace = policy.namespace().unwrap_or_default();
    let api: Api<HealingPolicy> = Api::namespaced(reporter.writes.clone(), &namespace);
    match apply_status(&api, &policy.name_any(), &status).await {
        Ok(_) => {
            log_changes(policy, memory.written.as_deref().or(policy.status.as_ref()), &status, reporter);
            memory.written = Some(Box::new(status));
            Ok(())
        }
        // The policy was deleted: there is nothing to write to.
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
        Err(error) => {
            memory.written = None;
            Err(error)
        }
    }
}

/// When a status is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Now,
    /// After this time, with the changes until then.
    Later(Duration),
    /// It is written already.
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
        (Urgency::Paced, Some(wait)) => Due::Later(wait),
        (Urgency::Now, _) | (Urgency::Paced, None) => Due::Now,
    }
}

/// Whether nothing has changed except which series name no target: other people's pods are not
/// this policy's concern.
fn says_the_same(earlier: &HealingPolicyStatus, status: &HealingPolicyStatus) -> bool {
    let without = |status: &HealingPolicyStatus| {
        let mut status = status.clone();
        let observed = |one: &&mut Condition| one.type_ == Observed.as_str() && one.status == "True";
        let own = |message: &str| message.split(OTHER_SERIES).next().unwrap_or_default().to_owned();
        status.conditions.iter_mut().filter(observed).for_each(|one| one.message = own(&one.message));
        status
    };
    earlier == status || without(earlier) == without(status)
}

/// Logs every condition that changed, and writes an Event when the policy cannot work.
fn log_changes(
    policy: &HealingPolicy,
    earlier: Option<&HealingPolicyStatus>,
    status: &HealingPolicyStatus,
    reporter: &Reporter,
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
            let text = EventText { warning: true, reason: "NotReady", action: "Evaluate".to_owned(), note };
            reporter.events.write(&text, &policy.object_ref(&()), None);
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
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn what_is_written_already_is_never_written_again_and_what_is_urgent_never_waits() {
        let quiet = HealingPolicyStatus { observed_generation: Some(1), ..HealingPolicyStatus::default() };
        let other = HealingPolicyStatus { observed_generation: Some(2), ..HealingPolicyStatus::default() };
        let wait = Duration::from_secs(4);
        for (earlier, urgency, left, expected) in [
            (Some(&quiet), Urgency::Paced, None, Due::Never),
            (Some(&quiet), Urgency::Now, Some(wait), Due::Never),
            (Some(&other), Urgency::Paced, None, Due::Now),
            (Some(&other), Urgency::Paced, Some(wait), Due::Later(wait)),
            (Some(&other), Urgency::Now, Some(wait), Due::Now),
            (None, Urgency::Paced, None, Due::Now),
        ] {
            assert_eq!(due(earlier, &quiet, urgency, left), expected, "{urgency:?} {left:?}");
        }
    }

    #[test]
    fn changes_of_other_peoples_pods_are_not_written() {
        let observed = |status: &str, message: &str| {
            let mut conditions = Vec::new();
            let now: Time = Timestamp::UNIX_EPOCH.into();
            set_condition(&mut conditions, Observed, Some(status == "True"), "Word", message.to_owned(), None, &now);
            HealingPolicyStatus { conditions, ..HealingPolicyStatus::default() }
        };
        for (earlier, now, expected) in [
            (observed("True", "a; other series name x"), observed("True", "a; other series name y"), Due::Never),
            (observed("True", "a; other series name x"), observed("True", "a"), Due::Never),
            (observed("True", "no series"), observed("True", "series of 2 selected targets"), Due::Now),
            (observed("False", "timeout"), observed("False", "refused"), Due::Now),
            (observed("False", "timeout"), observed("True", "4 series"), Due::Now),
        ] {
            assert_eq!(due(Some(&earlier), &now, Urgency::Paced, None), expected);
        }
    }
}
