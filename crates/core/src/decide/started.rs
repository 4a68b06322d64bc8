//! Which reserved actions must not be executed now. The executor tries a started one again and again,
//! and what was true when they were reserved may have changed.

use std::collections::{BTreeMap, BTreeSet};

use super::guardrails::{mid_rollout, starting};
use super::storm::{self, Storm};
use super::{Inputs, Reservation};
use crate::availability::{self, Shortage};
use crate::ledger::{Record, State};
use crate::policy::PolicyMode;
use crate::target::Uid;

/// The started actions of the policy that would leave too few Ready pods now, by target. The
/// executor checks the same before each try.
pub(super) fn below_floor(inputs: Inputs<'_>) -> BTreeMap<Uid, Shortage> {
    let started = inputs.ledger.of(&inputs.policy.key).filter(|record| {
        record.state == State::Running && !record.scope.is_workload() && record.mode == PolicyMode::Enforce
    });
    let short = started.filter_map(|record| {
        let target = inputs.targets.iter().find(|target| target.object.uid == record.target.uid)?;
        let (disrupted, _) = availability::siblings(record, &inputs.ledger.records);
        let shortage = availability::shortage(inputs.policy.limits.min_available, target, &disrupted)?;
        Some((record.target.uid.clone(), shortage))
    });
    short.collect()
}

/// The targets whose actions must not be executed now.
///
/// - A started action that waits for a disruption budget does not count against `maxConcurrent`, so
///   the limits are checked again before it continues.
/// - The target may be starting since the action was reserved. A crash loop ends when its cause is
///   repaired: the pod then loads, and removing it would throw away what it has loaded.
pub(super) fn waiting(inputs: Inputs<'_>, storm: Option<Storm>, reservations: &[Reservation]) -> BTreeSet<Uid> {
    let key = &inputs.policy.key;
    let target_of = |record: &Record| inputs.targets.iter().find(|target| target.object.uid == record.target.uid);
    let before_effect = |record: &&Record| matches!(record.state, State::Pending | State::Running);
    let starts = inputs
        .ledger
        .of(key)
        .filter(before_effect)
        .filter(|record| target_of(record).is_some_and(|target| starting(inputs, target).is_some()));
    let mut waiting: Vec<&Record> =
        inputs.ledger.of(key).filter(|record| record.waiting && record.state == State::Running).collect();
    waiting.sort_by_key(|record| (record.created, record.sequence));
    let allowed = usize::try_from(inputs.policy.limits.max_concurrent).unwrap_or(usize::MAX);
    let taken = inputs.ledger.in_flight(key, PolicyMode::Enforce).saturating_add(reservations.len());
    let free = allowed.saturating_sub(taken);
    let held = |(index, record): &(usize, &Record)| {
        let rolls_out =
            target_of(record).and_then(|target| mid_rollout(inputs, target)).is_some_and(|until| inputs.now < until);
        // The policy has changed since, and may no longer want the action.
        let is_changed = record.digest != inputs.policy.digest;
        *index >= free || is_changed || rolls_out || storm::forbids(inputs, storm, record)
    };
    let held = waiting.into_iter().enumerate().filter(held).map(|(_, record)| record);
    held.chain(starts).map(|record| record.target.uid.clone()).collect()
}
