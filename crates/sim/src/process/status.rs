//! What a judge writes down of a policy, and takes over from one that is gone.

use std::collections::BTreeSet;

use prunella_core::Decision;
use prunella_core::decide::{BreachPhase, Memory, Storm, Timer};
use prunella_core::ledger::Ledger;
use prunella_core::observation::{Answer, Observation};
use prunella_core::target::Uid;
use prunella_core::time::whole_seconds;

use crate::objects::{PolicyObject, PolicyStatus, UnhealthyTarget};

/// The status of a policy, built whole from a decision.
pub(super) fn status(
    policy: &PolicyObject,
    observation: &Observation,
    decision: &Decision,
    ledger: &Ledger,
) -> PolicyStatus {
    let timer = |uid: &Uid| decision.memory.timers.get(uid);
    let own = || ledger.of(&policy.rule.key).filter(|record| record.in_flight());
    let in_hand: BTreeSet<&Uid> = own().map(|record| &record.target.uid).collect();
    let mut unhealthy: Vec<UnhealthyTarget> = own()
        .map(|record| UnhealthyTarget {
            uid: record.target.uid.clone(),
            phase: None,
            exhausted: false,
            since: record.unhealthy_since,
            value: timer(&record.target.uid).map_or(0.0, |timer| timer.value),
        })
        .collect();
    let refused = decision.refusals.iter().map(|refused| &refused.target);
    // What is to be reserved next is held back by nothing.
    let released = decision.reservations.iter().map(|reservation| &reservation.target.uid);
    let waiting = refused.chain(released).filter(|uid| !in_hand.contains(uid));
    unhealthy.extend(waiting.filter_map(|uid| {
        let timer = timer(uid)?;
        Some(UnhealthyTarget {
            uid: uid.clone(),
            phase: Some(timer.phase),
            exhausted: decision.memory.exhausted.contains(uid),
            since: whole_seconds(timer.since),
            value: timer.value,
        })
    }));
    let blocked: BTreeSet<&'static str> = decision
        .refusals
        .iter()
        .filter(|refused| !in_hand.contains(&refused.target))
        .filter(|refused| timer(&refused.target).is_some_and(|timer| timer.phase == BreachPhase::Firing))
        .map(|refused| refused.refusal.reason.as_str())
        .collect();
    PolicyStatus {
        unhealthy,
        storm: decision.memory.storm.map(|storm| whole_seconds(storm.since)),
        observed: matches!(observation.breach, Answer::Answered(_)),
        healing: own().next().map(|record| record.state),
        blocked: blocked.into_iter().collect(),
    }
}

/// The memory that a policy's status holds.
pub(super) fn memory(status: &PolicyStatus) -> Memory {
    let mut memory = Memory::default();
    // Of an executed action's target nothing is left, and its timer goes with it.
    for unhealthy in &status.unhealthy {
        let phase = unhealthy.phase.unwrap_or(BreachPhase::Firing);
        memory.timers.insert(unhealthy.uid.clone(), Timer::restored(phase, unhealthy.since, unhealthy.value));
        if unhealthy.exhausted {
            memory.exhausted.insert(unhealthy.uid.clone());
        }
    }
    memory.storm = status.storm.map(Storm::restored);
    memory
}
