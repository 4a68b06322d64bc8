//! Which step is next. An action counts against a target until the target has been clear
//! for `ladderReset` after it, whether it helped or not. So a slow leak that is fixed every
//! six hours stays on the first attempt. A replacement that is soon unhealthy again climbs.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Change, Inputs, Refused, Skipped, TargetTransition, Timer};
use crate::action::{Action, Inapplicable};
use crate::execute::OutcomeReason;
use crate::ledger::{Ledger, Lineage, Record};
use crate::policy::{Policy, PolicyMode};
use crate::refusal::Reason;
use crate::target::{Target, Uid};
use crate::time::elapsed;

/// The position of a target on the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LadderPosition {
    /// The next attempt. `None`: all steps were tried or do not apply.
    pub(super) next: Option<Attempt>,
    /// The steps that were skipped because they do not apply.
    pub(super) skipped: Vec<Skipped>,
}

impl LadderPosition {
    /// Whether the next attempt changes the whole workload.
    pub(super) fn touches_workload(&self) -> bool {
        self.next.as_ref().is_some_and(|next| next.action.scope().is_workload())
    }
}

/// An attempt on a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The name of the step.
    pub(super) step_name: String,
    /// The number of the step, from 1.
    pub(super) step: u32,
    /// The number of the attempt on this step, from 1.
    pub(super) number: u32,
    /// The action.
    pub(super) action: Action,
}

/// What was tried. Steps below the highest one are not tried again.
#[derive(Debug)]
struct Tried {
    /// The highest step that was tried.
    step: u32,
    /// How often.
    attempts: u32,
    /// The steps whose change somebody else took back.
    taken_back: BTreeSet<u32>,
}

impl Tried {
    fn nothing() -> Self {
        Self { step: 1, attempts: 0, taken_back: BTreeSet::new() }
    }
}

/// The position of a target that became unhealthy at `since`.
pub(super) fn position(
    policy: &Policy,
    ledger: &Ledger,
    lineage: &Lineage,
    target: &Target,
    since: Timestamp,
) -> LadderPosition {
    let position = position_above(policy, ledger, lineage, target, since, 0);
    // A dry run cannot know whether a step would have helped, so it always records the first
    // step that applies. It is exhausted when it would be exhausted if it acted.
    if policy.mode == PolicyMode::DryRun && position.next.is_some() {
        next_attempt(policy, target, &Tried::nothing(), 0)
    } else {
        position
    }
}

/// Like [`position`], but only steps above `step` are considered.
pub(super) fn position_above(
    policy: &Policy,
    ledger: &Ledger,
    lineage: &Lineage,
    target: &Target,
    since: Timestamp,
    step: u32,
) -> LadderPosition {
    next_attempt(policy, target, &tried(policy, ledger, lineage, target, since), step)
}

/// The first step above `above` that applies and has an attempt left.
fn next_attempt(policy: &Policy, target: &Target, tried: &Tried, above: u32) -> LadderPosition {
    let mut skipped = Vec::new();
    for (number, step) in (1_u32..).zip(&policy.steps) {
        let attempts = match number.cmp(&tried.step) {
            Ordering::Less => continue,
            Ordering::Equal => tried.attempts,
            Ordering::Greater => 0,
        };
        if number <= above || attempts >= step.attempts {
            continue;
        }
        // What somebody else took back is not repeated: it would be taken back again.
        let taken_back = tried.taken_back.contains(&number);
        let resolved = if taken_back { Err(Inapplicable::TakenBack) } else { step.action.resolve(target) };
        match resolved {
            Ok(action) => {
                let next =
                    Attempt { step_name: step.name.clone(), step: number, number: attempts.saturating_add(1), action };
                return LadderPosition { next: Some(next), skipped };
            }
            Err(why) => {
                skipped.push(Skipped {
                    step_name: step.name.clone(),
                    step: number,
                    action: step.action.name(),
                    why,
                    detail: why.explain(target),
                });
            }
        }
    }
    LadderPosition { next: None, skipped }
}

/// What was tried on the target, and on the pods it may have replaced. Of several such pods,
/// the one with the most attempts counts: the target replaced only one of them.
fn tried(policy: &Policy, ledger: &Ledger, lineage: &Lineage, target: &Target, since: Timestamp) -> Tried {
    let counted = counted(policy, ledger, lineage, target, since);
    let own = || counted.iter().filter(|record| record.is_on(target));
    // Step and number of the attempt. The number includes the attempts before it.
    let inherited = counted.iter().filter(|record| !record.is_on(target));
    let inherited =
        inherited.map(|record| (record.step, record.attempt.saturating_sub(u32::from(!record.is_attempt()))));
    let inherited = inherited.max();
    let step = own().map(|record| record.step).chain(inherited.map(|(step, _)| step)).max().unwrap_or(1);
    let on_it = own().filter(|record| record.step == step).count();
    let before = inherited.filter(|(highest, _)| *highest == step).map_or(0, |(_, attempts)| attempts);
    let attempts = before.saturating_add(u32::try_from(on_it).unwrap_or(u32::MAX));
    let taken_back = counted.iter().filter(|record| record.reason == Some(OutcomeReason::ChangedByOthers));
    Tried { step, attempts, taken_back: taken_back.map(|record| record.step).collect() }
}

/// The actions that count, newest first: the attempts on the target, and the newest actions on
/// the pods it may have replaced. They end where the target was clear for longer than
/// `ladderReset`.
fn counted<'a>(
    policy: &'a Policy,
    ledger: &'a Ledger,
    lineage: &Lineage,
    target: &Target,
    since: Timestamp,
) -> Vec<&'a Record> {
    let reset = policy.limits.ladder_reset;
    let mut attempts: Vec<&Record> = ledger
        .of(&policy.key)
        .filter(|record| record.digest == policy.digest)
        .filter(|record| policy.reset_at.is_none_or(|reset| record.created > reset))
        .filter(|record| {
            let inherited = || !record.in_flight() && record.is_inherited_by(target, since, reset, lineage);
            if record.is_on(target) { record.is_attempt() } else { inherited() }
        })
        .collect();
    attempts.sort_by_key(|record| std::cmp::Reverse((record.created, record.sequence)));
    let mut became_unhealthy = since;
    attempts
        .into_iter()
        .take_while(|record| {
            let clear_for = clear_between(record, became_unhealthy);
            became_unhealthy = record.unhealthy_since;
            clear_for <= reset
        })
        .collect()
}

/// The time from the end of an action until the target became unhealthy again.
fn clear_between(record: &Record, became_unhealthy: Timestamp) -> SignedDuration {
    elapsed(record.finished.unwrap_or(record.created), became_unhealthy)
}

/// For each exhausted target, the steps that do not apply to it.
pub(super) fn skipped(
    inputs: Inputs<'_>,
    timers: &BTreeMap<Uid, Timer>,
    exhausted: &BTreeSet<Uid>,
    lineage: &Lineage,
) -> BTreeMap<Uid, Vec<Skipped>> {
    let positions =
        inputs.targets.iter().filter(|target| exhausted.contains(&target.object.uid)).filter_map(|target| {
            let since = timers.get(&target.object.uid)?.since;
            Some((target.object.uid.clone(), position(inputs.policy, inputs.ledger, lineage, target, since).skipped))
        });
    positions.filter(|(_, skipped)| !skipped.is_empty()).collect()
}

/// The exhausted targets: all steps were tried or do not apply. Also adds a transition for
/// each target that is newly exhausted.
pub(super) fn exhausted(
    inputs: Inputs<'_>,
    refusals: &[Refused],
    mut transitions: Vec<TargetTransition>,
) -> (BTreeSet<Uid>, Vec<TargetTransition>) {
    let exhausted: BTreeSet<Uid> = refusals
        .iter()
        .filter(|refused| {
            match refused.refusal.reason.cmp(&Reason::Exhausted) {
                // An earlier guardrail says nothing about the ladder. After one failed
                // evaluation the target is still exhausted and is not reported again.
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
    transitions.extend(new.map(|object| TargetTransition {
        target: object.clone(),
        change: Change::Exhausted,
        value: None,
    }));
    (exhausted, transitions)
}
