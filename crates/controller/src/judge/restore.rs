//! What another process wrote down is taken over: the sick targets of the status. It
//! is provisional; the history of the source proves it, or the timers start again. A
//! change of interval, limits or `suspend` restarts nothing.
//! Needs no client.

use prunella_api::HealingPolicy;
use prunella_core::decide::{Memory, Phase, Storm, Timer};
use prunella_core::refusal::Reason;

/// The memory that the policy's status holds. Nothing of it is of use when the status
/// was made from another spec.
pub(super) fn memory(policy: &HealingPolicy, rule: &str) -> Memory {
    let mut memory = Memory::default();
    let Some(status) = &policy.status else { return memory };
    // Whatever the rule is by now, what was tried while everything failed was tried.
    memory.storm = status.storm.as_ref().map(|storm| Storm::restored(storm.since.0));
    if status.rule.as_deref() != Some(rule) {
        return memory;
    }
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
