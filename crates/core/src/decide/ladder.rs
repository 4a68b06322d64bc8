//! Which rung is next. An action counts against a target until the target has been
//! clear for `ladderReset` after it, cured or not: a slow leak cured every six hours
//! never climbs, a replacement that is soon sick again does.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Change, Inputs, Refused, Transition};
use crate::ledger::{Ledger, Record};
use crate::policy::Policy;
use crate::refusal::Reason;
use crate::target::{Target, Uid};
use crate::time::elapsed;

/// The place on the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The next try.
    Next {
        /// Which rung, from 1.
        rung: u32,
        /// Which attempt on it, from 1.
        attempt: u32,
    },
    /// Every rung was tried.
    Exhausted,
}

/// Where a target that is sick since `since` stands.
pub(super) fn place(policy: &Policy, ledger: &Ledger, target: &Target, since: Timestamp) -> Place {
    let counted = counted(policy, ledger, target, since);
    let highest = counted.iter().map(|record| record.rung).max().unwrap_or(1);
    let tried = counted.iter().filter(|record| record.rung == highest).count();
    let tried = u32::try_from(tried).unwrap_or(u32::MAX);
    let index = usize::try_from(highest).unwrap_or(usize::MAX).saturating_sub(1);
    match policy.steps.get(index) {
        Some(step) if tried < step.attempts => Place::Next { rung: highest, attempt: tried.saturating_add(1) },
        Some(_) if index.saturating_add(1) < policy.steps.len() => {
            Place::Next { rung: highest.saturating_add(1), attempt: 1 }
        }
        _ => Place::Exhausted,
    }
}

/// The attempts that count, newest first: back to the first stretch of
/// `ladderReset` over which the target was clear.
fn counted<'a>(policy: &'a Policy, ledger: &'a Ledger, target: &Target, since: Timestamp) -> Vec<&'a Record> {
    let reset = policy.limits.ladder_reset;
    let mut attempts: Vec<&Record> = ledger
        .of(&policy.key)
        .filter(|record| record.hash == policy.hash && record.is_attempt())
        .filter(|record| policy.reset_at.is_none_or(|reset| record.created > reset))
        .filter(|record| record.counts_against(target, since, reset))
        .collect();
    attempts.sort_by_key(|record| std::cmp::Reverse((record.created, record.sequence)));
    let mut fell_sick = since;
    attempts
        .into_iter()
        .take_while(|record| {
            let clear_for = clear_between(record, fell_sick);
            fell_sick = record.sick_since;
            clear_for <= reset
        })
        .collect()
}

/// How long the target was clear between the end of an action and falling sick.
fn clear_between(record: &Record, fell_sick: Timestamp) -> SignedDuration {
    elapsed(record.finished.unwrap_or(record.created), fell_sick)
}

/// The sick targets for which every rung was tried, and the news of those for which
/// that is new.
pub(super) fn exhausted(
    inputs: Inputs<'_>,
    refusals: &[Refused],
    mut transitions: Vec<Transition>,
) -> (BTreeSet<Uid>, Vec<Transition>) {
    let exhausted: BTreeSet<Uid> = refusals
        .iter()
        .filter(|refused| refused.refusal.reason == Reason::Exhausted)
        .map(|refused| refused.target.clone())
        .collect();
    let new = inputs
        .targets
        .iter()
        .map(|target| &target.object)
        .filter(|object| exhausted.contains(&object.uid) && !inputs.memory.exhausted.contains(&object.uid));
    transitions.extend(new.map(|object| Transition { target: object.clone(), change: Change::Exhausted, value: None }));
    (exhausted, transitions)
}
