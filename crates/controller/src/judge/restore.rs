//! What another process wrote down is taken over: the sick targets of the status. It
//! is provisional; the history of the source proves it, or the timers start again. A
//! change of interval, limits or `suspend` restarts nothing. Needs no client.

use prunella_api::HealingPolicy;
use prunella_core::decide::{Memory, Phase, Storm, Timer};
use prunella_core::refusal::Reason;

/// The memory that the policy's status holds. Nothing of it is of use when the status
/// was made by another rule, as in a process that goes on. One that is stalled has none:
/// then what was tried while everything failed was tried all the same.
pub(super) fn memory(policy: &HealingPolicy, rule: &str) -> Memory {
    let mut memory = Memory::default();
    let Some(status) = &policy.status else { return memory };
    if status.rule.as_ref().is_some_and(|other| other != rule) {
        return memory;
    }
    memory.storm = status.storm.as_ref().map(|storm| Storm::restored(storm.since.0));
    // Of an executed action's target nothing is left, and its timer goes with it.
    for sick in &status.sick {
        let phase = if sick.state == "Pending" { Phase::Pending } else { Phase::Firing };
        let value = sick.value_at_transition.as_deref().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN);
        memory.timers.insert(sick.uid.clone().into(), Timer::restored(phase, sick.since.0, value));
        // What was told is not told again by a successor.
        let told = Reason::ALL.into_iter().find(|reason| sick.blocked_by.as_deref() == Some(reason.as_str()));
        if let Some(reason) = told.filter(|_| phase == Phase::Firing) {
            memory.held_back.entry(sick.uid.clone().into()).or_default().insert(reason);
        }
        if sick.state == "Exhausted" {
            memory.exhausted.insert(sick.uid.clone().into());
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_another_process_wrote_is_taken_over_as_far_as_the_rule_is_the_same() {
        let sick = json!([{"uid": "a", "name": "a", "state": "Firing", "since": "2026-11-21T10:00:00Z",
                           "valueAtTransition": "7", "blockedBy": "Cooldown"}]);
        let storm = json!({"since": "2026-11-21T10:00:00Z"});
        // (the rule in the status, generation of the status, timers and a storm are taken over)
        for (rule, generation, timers, storms) in [
            (json!("rule"), 2, true, true),
            // Another interval is no other rule.
            (json!("rule"), 1, true, true),
            (json!("another"), 2, false, false),
        ] {
            let memory = of(&json!({"observedGeneration": generation, "rule": rule, "sick": sick, "storm": storm}));
            assert_eq!((!memory.timers.is_empty(), memory.storm.is_some()), (timers, storms), "{rule} {generation}");
            assert_eq!(memory.held_back.contains_key(&"a".into()), timers, "what was told is not told again");
        }
        let stalled = of(&json!({"observedGeneration": 2, "storm": storm}));
        assert!(stalled.timers.is_empty() && stalled.storm.is_some());
    }

    fn of(status: &serde_json::Value) -> Memory {
        let policy = json!({
            "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
            "metadata": {"name": "web", "namespace": "shop", "generation": 2},
            "spec": {
                "condition": {"promql": {"query": "up == 0"}},
                "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
                "steps": [{"action": {"deletePod": {}}}],
            },
            "status": status,
        });
        memory(&serde_json::from_value(policy).unwrap(), "rule")
    }
}
