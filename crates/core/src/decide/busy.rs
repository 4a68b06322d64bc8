//! What a busy target waits for, and which of two policies goes first: the one that removes a
//! single pod, and then the one that changes the whole workload.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::ladder::LadderPosition;
use super::{BusyWith, Inputs, Memory, PlannedRemoval, Refused};
use crate::ledger::Lineage;
use crate::refusal::{Reason, Refusal};
use crate::target::{Target, Uid};
use crate::time::after;

/// The removal of a single pod that another policy starts before this policy's next evaluation.
/// A policy that waits longer for its `for` is not waited for.
pub(super) fn planned_removal<'a>(inputs: Inputs<'a>, target: &Target) -> Option<&'a PlannedRemoval> {
    let soon = after(inputs.now, inputs.policy.interval);
    inputs.removals.get(&target.subject.uid).filter(|removal| removal.at <= soon)
}

/// When the target is removed as a single pod, as far as this policy is concerned: now, or when
/// `for` is over. `None`: something else holds it back.
pub(super) fn removes_at(
    inputs: Inputs<'_>,
    position: &LadderPosition,
    target: &Target,
    refusal: Option<Refusal>,
) -> Option<Timestamp> {
    let is_pod = target.object.uid != target.subject.uid && position.next.is_some() && !position.touches_workload();
    match refusal {
        _ if !is_pod || target.not_healable.is_some() => None,
        None => Some(inputs.now),
        Some(Refusal { reason: Reason::NotYetFor, until }) => until,
        Some(_) => None,
    }
}

/// What each target with the refusal `TargetBusy` waits for.
pub(super) fn busy(
    inputs: Inputs<'_>,
    lineage: &Lineage,
    memory: &Memory,
    refusals: &[Refused],
) -> BTreeMap<Uid, BusyWith> {
    let busy = refusals.iter().filter(|refused| refused.refusal.reason == Reason::TargetBusy);
    let with = busy.filter_map(|refused| {
        let target = inputs.targets.iter().find(|target| target.object.uid == refused.target)?;
        let since = memory.timers.get(&refused.target)?.since;
        let reset = inputs.policy.limits.ladder_reset;
        let on_it = inputs.ledger.busy_with(target, since, reset, lineage);
        let with = match on_it.or_else(|| inputs.ledger.workload_busy(&target.subject.uid)) {
            Some(record) => BusyWith::Action {
                name: record.name.clone(),
                action: record.action.clone(),
                touches: record.touches().clone(),
                policy: record.policy.name.clone(),
            },
            None => BusyWith::Removal { policy: planned_removal(inputs, target)?.policy.clone() },
        };
        Some((refused.target.clone(), with))
    });
    with.collect()
}
