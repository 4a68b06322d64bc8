//! Restores the memory of a policy from its status, which another process wrote: the unhealthy
//! targets and the storm. Restored timers are provisional: the history of the source confirms
//! them, or they start again. A change of interval, limits or `suspend` resets nothing. Needs no
//! client.

use prunella_api::HealingPolicy;
use prunella_core::decide::{BreachPhase, Memory, Storm, Timer};
use prunella_core::refusal::Reason;

/// The memory that the policy's status holds. If the rules have changed since the status was
/// written, nothing is restored, as in a process that keeps running. The status of a stalled policy
/// has no digest. Its storm is restored, so that a probe that was tried is not tried again.
pub(super) fn memory(policy: &HealingPolicy, digest: &str) -> Memory {
    let mut memory = Memory::default();
    let Some(status) = &policy.status else { return memory };
    if status.digest.as_ref().is_some_and(|other| other != digest) {
        return memory;
    }
    memory.storm = status.storm.as_ref().map(|storm| Storm::restored(storm.since.0));
    // The target of an executed action is gone: the next decision drops its timer.
    for unhealthy in &status.unhealthy {
        // A target that recovered while its action is verified has no value. Its recovery was
        // reported, and a timer would report it again.
        let Some(value) = &unhealthy.value_at_transition else { continue };
        let phase = if unhealthy.state == "Pending" { BreachPhase::Pending } else { BreachPhase::Firing };
        let value = value.parse().unwrap_or(f64::NAN);
        memory.timers.insert(unhealthy.uid.clone().into(), Timer::restored(phase, unhealthy.since.0, value));
        // A guardrail that was reported before is not reported again by this process.
        let reported = Reason::ALL.into_iter().find(|reason| unhealthy.blocked_by.as_deref() == Some(reason.as_str()));
        if let Some(reason) = reported.filter(|_| phase == BreachPhase::Firing) {
            memory.held_back.entry(unhealthy.uid.clone().into()).or_default().insert(reason);
        }
        if unhealthy.state == "Exhausted" {
            memory.exhausted.insert(unhealthy.uid.clone().into());
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_status_of_another_process_is_restored_if_the_rules_are_the_same() {
        let unhealthy = json!([{"uid": "a", "name": "a", "state": "Firing", "since": "2026-11-21T10:00:00Z",
                           "valueAtTransition": "7", "blockedBy": "Cooldown"}]);
        let storm = json!({"since": "2026-11-21T10:00:00Z"});
        // (the digest in the status, its generation, whether timers and the storm are restored)
        for (digest, generation, timers, storms) in [
            (json!("digest"), 2, true, true),
            // A change of the interval changes the generation but not the digest.
            (json!("digest"), 1, true, true),
            (json!("another"), 2, false, false),
        ] {
            let memory = of(
                &json!({"observedGeneration": generation, "digest": digest, "unhealthy": unhealthy, "storm": storm}),
            );
            assert_eq!((!memory.timers.is_empty(), memory.storm.is_some()), (timers, storms), "{digest} {generation}");
            assert_eq!(memory.held_back.contains_key(&"a".into()), timers, "what was reported is not reported again");
        }
        let stalled = of(&json!({"observedGeneration": 2, "storm": storm}));
        assert!(stalled.timers.is_empty() && stalled.storm.is_some());
    }

    #[test]
    fn a_target_that_recovered_under_an_action_is_not_restored() {
        let entry = |state: &str, value: Option<&str>| json!({"uid": "a", "name": "a", "state": state, "since": "2026-11-21T10:00:00Z", "valueAtTransition": value});
        for (state, value, restored) in [
            ("Verifying", None, false),
            ("Settling", None, false),
            ("Verifying", Some("7"), true),
            ("Firing", Some("7"), true),
        ] {
            let memory = of(&json!({"observedGeneration": 2, "digest": "digest", "unhealthy": [entry(state, value)]}));
            assert_eq!(memory.timers.contains_key(&"a".into()), restored, "{state} {value:?}");
        }
    }

    fn of(status: &serde_json::Value) -> Memory {
        let policy = json!({
            "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
            "metadata": {"name": "web", "namespace": "shop", "generation": 2},
            "spec": {
                "condition": {"promql": {"query": "up == 0"}},
                "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
                "steps": [{"name": "evict", "action": {"deletePod": {}}}],
            },
            "status": status,
        });
        memory(&serde_json::from_value(policy).unwrap(), "digest")
    }
}
