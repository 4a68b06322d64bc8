//! Which rung is next. An action counts against a target until the target has been
//! clear for `ladderReset` after it, cured or not: a slow leak cured every six hours
//! never climbs, a replacement that is soon sick again does.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Change, Inputs, Refused, Skipped, Timer, Transition};
use crate::action::Action;
use crate::ledger::{Ledger, Record};
use crate::policy::{Mode, Policy};
use crate::refusal::Reason;
use crate::target::{Target, Uid};
use crate::time::elapsed;

/// The place on the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The next try; `None`: every rung was tried or does not apply.
    pub(super) next: Option<Try>,
    /// The rungs passed over on the way, because they do not apply.
    pub(super) skipped: Vec<Skipped>,
}

/// A try of a rung.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Try {
    /// Which rung, from 1.
    pub(super) rung: u32,
    /// Which attempt on it, from 1.
    pub(super) attempt: u32,
    /// What is done.
    pub(super) action: Action,
}

/// Where a target that is sick since `since` stands.
pub(super) fn place(policy: &Policy, ledger: &Ledger, target: &Target, since: Timestamp) -> Place {
    let place = place_above(policy, ledger, target, since, 0);
    // A dry run is held back as if it acted, but it cannot know whether a rung would have
    // helped: it tells of the first.
    if policy.mode == Mode::DryRun && place.next.is_some() { climb(policy, target, &[], 0) } else { place }
}

/// The same, but for the rungs up to one.
pub(super) fn place_above(policy: &Policy, ledger: &Ledger, target: &Target, since: Timestamp, rung: u32) -> Place {
    climb(policy, target, &counted(policy, ledger, target, since), rung)
}

/// The first rung above one that applies and that these attempts have not used up.
fn climb(policy: &Policy, target: &Target, counted: &[&Record], above: u32) -> Place {
    let highest = counted.iter().map(|record| record.rung).max().unwrap_or(1);
    let tried = counted.iter().filter(|record| record.rung == highest).count();
    let tried = u32::try_from(tried).unwrap_or(u32::MAX);
    let mut skipped = Vec::new();
    for (rung, step) in (1_u32..).zip(&policy.steps) {
        let tried = match rung.cmp(&highest) {
            Ordering::Less => continue,
            Ordering::Equal => tried,
            Ordering::Greater => 0,
        };
        if rung <= above || tried >= step.attempts {
            continue;
        }
        match step.action.resolve(target) {
            Ok(action) => {
                let next = Try { rung, attempt: tried.saturating_add(1), action };
                return Place { next: Some(next), skipped };
            }
            Err(why) => skipped.push(Skipped { rung, action: step.action.name(), why }),
        }
    }
    Place { next: None, skipped }
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

/// The rungs that do not apply to those for whom nothing else is left.
pub(super) fn skipped(
    inputs: Inputs<'_>,
    timers: &BTreeMap<Uid, Timer>,
    exhausted: &BTreeSet<Uid>,
) -> BTreeMap<Uid, Vec<Skipped>> {
    let places = inputs.targets.iter().filter(|target| exhausted.contains(&target.object.uid)).filter_map(|target| {
        let since = timers.get(&target.object.uid)?.since;
        Some((target.object.uid.clone(), place(inputs.policy, inputs.ledger, target, since).skipped))
    });
    places.filter(|(_, skipped)| !skipped.is_empty()).collect()
}

/// The sick targets for which every rung was tried or does not apply, and the news of
/// those for which that is new.
pub(super) fn exhausted(
    inputs: Inputs<'_>,
    refusals: &[Refused],
    mut transitions: Vec<Transition>,
) -> (BTreeSet<Uid>, Vec<Transition>) {
    let exhausted: BTreeSet<Uid> = refusals
        .iter()
        .filter(|refused| {
            match refused.refusal.reason.cmp(&Reason::Exhausted) {
                // A brake that comes before says nothing of the ladder: one missed look does
                // not make it be climbed anew, nor be told of once more.
                Ordering::Less => inputs.memory.exhausted.contains(&refused.target),
                Ordering::Equal => true,
                Ordering::Greater => false,
            }
        })
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
