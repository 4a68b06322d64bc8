//! What the caches know of the target of an action that forbids its effect.

use jiff::Timestamp;
use prunella_api::{HealingPolicy, HealingPolicySpec};
use prunella_core::action::ActionScope;
use prunella_core::execute::LiveTarget;
use prunella_core::readiness::starting_until;
use prunella_core::target::{NotHealable, Target};

/// Whether anything outside the target itself forbids healing it: an opt-out of its owner or its
/// namespace, its node, that it may be starting, or pods of its workload that the policy does not
/// select. The caches have this. The read of the target has its own marks.
///
/// Harmful case: a database is repaired. All pods that crashed without it start again, and the
/// disruption budget of one of them allows its eviction before the next evaluation.
pub(super) fn marks(
    known: Option<&Target>,
    scope: ActionScope,
    policy: Option<&HealingPolicy>,
    now: Timestamp,
) -> LiveTarget {
    let Some(known) = known else { return LiveTarget::Present };
    let touches_others = known.workload.as_ref().is_some_and(|workload| !workload.all_selected);
    match known.not_healable {
        _ if known.opted_out.is_some_and(|opt_out| opt_out.holds(now)) => LiveTarget::OptedOut,
        Some(why @ NotHealable::NodeNotReady) => LiveTarget::NotHealable(why),
        _ if scope.is_workload() && touches_others => LiveTarget::NotHealable(NotHealable::PodsNotSelected),
        _ if policy.is_some_and(|policy| is_starting(known, &policy.spec, now)) => {
            LiveTarget::NotHealable(NotHealable::Starting)
        }
        _ => LiveTarget::Present,
    }
}

/// The same as the guardrail `Starting`.
fn is_starting(target: &Target, policy: &HealingPolicySpec, now: Timestamp) -> bool {
    let time = |given: Option<&prunella_api::Duration>| given.and_then(|given| given.get().ok());
    let asked = time(policy.steps.first().and_then(|step| step.verify.ready_within.as_ref()));
    let breach_for = time(policy.condition.breach_for.as_ref()).unwrap_or_default();
    starting_until(target, asked, breach_for).is_some_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use prunella_core::target::{Object, ReplacementName};
    use serde_json::json;

    use super::*;

    /// A pod that was created at second 0 and is not Ready.
    fn pod(startup: Option<i64>, crash_looping: bool) -> Target {
        let object = |kind, name| Object::known(kind, name, name);
        Target {
            object: object("Pod", "web-1"),
            subject: object("Deployment", "web"),
            created: Timestamp::UNIX_EPOCH,
            ready: false,
            ready_since: None,
            terminating: false,
            replacement_name: ReplacementName::Generated,
            protected_by: None,
            opted_out: None,
            not_healable: None,
            pods: Vec::new(),
            grace: None,
            startup: startup.map(SignedDuration::from_secs),
            crash_looping,
            workload: None,
            siblings: None,
        }
    }

    #[test]
    fn a_pod_that_may_be_starting_is_seen_right_before_the_effect() {
        let policy = |verify: &str| -> HealingPolicy {
            let verify = if verify.is_empty() { json!({}) } else { json!({"readyWithin": verify}) };
            let spec = json!({
                "interval": "10s", "limits": {"cooldown": "1m"}, "condition": {"promql": {"query": "up > 5"}, "for": "30s"},
                "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}, "match": {"label": "pod"}},
                "steps": [{"name": "evict", "action": {"deletePod": {}}, "verify": verify}],
            });
            serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap()
        };
        let starting = LiveTarget::NotHealable(NotHealable::Starting);
        let just_ready = |since| {
            let since = Timestamp::from_second(since).unwrap();
            Target { ready: true, ready_since: Some(since), ..pod(Some(1200), false) }
        };
        for (target, asked, expected) in [
            (pod(Some(1200), false), "", starting),
            (pod(Some(1200), true), "", LiveTarget::Present),
            (pod(Some(300), false), "", LiveTarget::Present),
            (pod(None, false), "20m", starting),
            (pod(None, false), "", LiveTarget::Present),
            (just_ready(571), "", starting),
            (just_ready(570), "", LiveTarget::Present),
        ] {
            let now = Timestamp::from_second(600).unwrap();
            let seen = marks(Some(&target), ActionScope::Replacement, Some(&policy(asked)), now);
            assert_eq!(seen, expected, "{target:?} {asked}");
        }
    }
}
