//! From an observation to a decision.
//!
//! ```text
//! matching    series → targets: breached, clear, without data, unknown
//! timers      how long a target is breached or clear: pending, firing, recovered
//! storm       whether too many targets are breached at once
//! verify      whether the actions in flight helped
//! ladder      which step is next
//! guardrails  for each unhealthy target: act, or the first reason not to act
//! outlook     counts, open questions, time of the next evaluation
//! ```
//!
//! `decide` does no IO. If it needs more facts, it returns a [`Question`]. The caller adds
//! the answer to the observation and decides again, with the same memory.

mod busy;
mod guardrails;
mod ladder;
mod matching;
mod outlook;
mod started;
mod storm;
mod timers;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::action::{Action, Inapplicable};
use crate::availability::Shortage;
use crate::execute::OutcomeReason;
use crate::ledger::{Ledger, Lineage, Outcome};
use crate::observation::{Labels, Observation};
use crate::policy::Policy;
use crate::refusal::{Reason, Refusal};
use crate::target::{Object, Target, Uid};

pub use matching::{Matching, POD_LABEL, Sight, carried_uid};
pub use storm::{Storm, StormChange};
pub use timers::{BreachPhase, Timer};
pub use verify::Verification;

/// Everything that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The answers of the source.
    pub observation: &'a Observation,
    /// The selected objects.
    pub targets: &'a [Target],
    /// The recorded actions of all policies.
    pub ledger: &'a Ledger,
    /// The memory of the previous decision.
    pub memory: &'a Memory,
    /// Whether a hold stops healing, in this namespace or everywhere.
    pub held: bool,
    /// The workloads from which other policies are about to remove a single pod.
    pub removals: &'a BTreeMap<Uid, PlannedRemoval>,
    /// The offset of the evaluation times within the interval. Policies with the same
    /// interval and phase are evaluated at the same times.
    pub phase: SignedDuration,
    /// The current time, by the API server's clock.
    pub now: Timestamp,
}

/// A single pod of a workload that a policy is about to remove. Of two policies that want to heal
/// at the same time, the one that removes a pod goes before the one that changes the workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRemoval {
    /// The name of the policy.
    pub policy: String,
    /// When it will remove the pod at the earliest.
    pub at: Timestamp,
}

/// What a target that is busy waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusyWith {
    /// An action in flight.
    Action {
        /// The name of the `HealingAction`.
        name: String,
        /// Its kind, for example `DeletePod`.
        action: String,
        /// The object that it changes.
        touches: Object,
        /// The name of its policy.
        policy: String,
    },
    /// A policy with this name that is about to remove a single pod of the workload.
    Removal {
        /// The name of the policy.
        policy: String,
    },
}

/// The state that one decision passes to the next. Its size is bounded by the selected
/// targets that are not healthy and the actions that are being verified.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// The targets that are pending or firing.
    pub timers: BTreeMap<Uid, Timer>,
    /// The series with which each of them was breached, and when each was last in the answer.
    /// They are lost in a restart. Then any series of the target is evidence.
    pub breached_by: BTreeMap<Uid, BTreeMap<Labels, Timestamp>>,
    /// The actions that are being verified, by name.
    pub verifications: BTreeMap<String, Verification>,
    /// The unhealthy targets for which all steps were tried or do not apply.
    pub exhausted: BTreeSet<Uid>,
    /// The refusals of each unhealthy target that were already reported in this episode.
    pub held_back: BTreeMap<Uid, BTreeSet<Reason>>,
    /// The current storm.
    pub storm: Option<Storm>,
    /// What the query can return. `None`: never checked.
    pub reached: Option<Reached>,
}

/// What a query can return, and when that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// When it was last checked.
    pub at: Timestamp,
    /// The result.
    pub reach: Reach,
}

/// What a query can return, breached or not.
#[derive(Debug, Clone, PartialEq)]
pub enum Reach {
    /// Series that name targets.
    Targets,
    /// No series at all.
    NoSeries,
    /// No series of this selector, and a breach needs one.
    NoOperand(String),
    /// Series, but none of them names a target. These are the labels of the first one.
    NoTarget(Labels),
}

/// The result of [`decide`].
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// When it was made.
    pub at: Timestamp,
    /// The memory for the next decision.
    pub memory: Memory,
    /// The actions to start. The caller must record each one before it executes anything.
    pub reservations: Vec<Reservation>,
    /// The results of actions in flight.
    pub verdicts: Vec<Verdict>,
    /// Why there is no action for unhealthy targets. At most one for each target.
    pub refusals: Vec<Refused>,
    /// For each exhausted target, the steps that do not apply to it.
    pub skipped: BTreeMap<Uid, Vec<Skipped>>,
    /// The changes of targets since the last decision.
    pub transitions: Vec<TargetTransition>,
    /// Whether a storm started or ended since the last decision.
    pub storm: Option<StormChange>,
    /// What the targets with the refusal `TargetBusy` wait for.
    pub busy: BTreeMap<Uid, BusyWith>,
    /// The targets that are in the answer, but whose samples may be of an earlier object of the
    /// same name, and until when.
    pub too_young: BTreeMap<Uid, Timestamp>,
    /// The targets that are in the answer, but are younger than `minAge`, and until when.
    pub below_min_age: BTreeMap<Uid, Timestamp>,
    /// The workloads from which this policy is about to remove a single pod, and when.
    pub removals: BTreeMap<Uid, Timestamp>,
    /// The targets whose actions have started and wait until more pods of the workload are Ready.
    pub below_floor: BTreeMap<Uid, Shortage>,
    /// The targets whose actions are reserved or have started but must not be executed now.
    pub waiting: BTreeSet<Uid>,
    /// The questions to answer for a complete decision. Empty: this one is complete.
    pub questions: Vec<Question>,
    /// Which series of the answer named which targets.
    pub matching: Matching,
    /// The names of the targets that are pending or firing.
    pub names: BTreeMap<Uid, String>,
    /// The owners of the targets that must not be acted on, if a target has one.
    pub owners: BTreeMap<Uid, Object>,
    /// How many targets are in which state.
    pub counts: Counts,
    /// The time from `at` to the next evaluation. More than zero, at most the interval.
    pub next_check: SignedDuration,
}

impl Decision {
    /// Whether the target was breached for `for` in this episode.
    #[must_use]
    pub fn is_firing(&self, target: &Uid) -> bool {
        self.memory.timers.get(target).is_some_and(|timer| timer.phase == BreachPhase::Firing)
    }
}

/// An action that is wanted and that every guardrail allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// The unhealthy object.
    pub target: Object,
    /// The stable object behind it.
    pub subject: Object,
    /// The name of the step.
    pub step_name: String,
    /// Which step of the ladder, from 1.
    pub step: u32,
    /// Which attempt on that step, from 1.
    pub attempt: u32,
    /// The action, with absolute parameters.
    pub action: Action,
    /// The steps that were skipped because they do not apply.
    pub skipped: Vec<Skipped>,
    /// The number of the action within the policy, one above the highest recorded one.
    pub sequence: u64,
    /// When the target became unhealthy.
    pub since: Timestamp,
    /// The worst value in the newest answer.
    pub value: f64,
    /// The labels of that series.
    pub labels: Labels,
    /// When the source was queried.
    pub observed_at: Timestamp,
    /// The action must not start after this time, because its evidence is stale then.
    pub start_by: Timestamp,
}

/// The result of an action in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The action's name.
    pub action: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The reason for the outcome.
    pub reason: OutcomeReason,
}

/// An unhealthy target, and why there is no action for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The target's uid.
    pub target: Uid,
    /// The first guardrail that refused.
    pub refusal: Refusal,
    /// Whether an action is due and the refusal prevents it: the target is firing, is
    /// breached now, and has no action in flight. A hold counts from pending on.
    pub due: bool,
}

/// A step that does not apply to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The name of the step.
    pub step_name: String,
    /// Which step of the ladder, from 1.
    pub step: u32,
    /// The name of its kind of action.
    pub action: &'static str,
    /// Why it does not apply.
    pub why: Inapplicable,
    /// The same in a sentence, with what to do.
    pub detail: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({}): {} ({})", self.step_name, self.action, self.why, self.detail)
    }
}

/// A change in a target's state.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetTransition {
    /// The target.
    pub target: Object,
    /// The change.
    pub change: Change,
    /// The value of the series. `None`: there is no value.
    pub value: Option<f64>,
}

/// How the state of a target changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Breached, but not for long enough yet.
    BecamePending,
    /// Breached for `for`.
    StartedFiring,
    /// Clear for `clearFor`. If it was only pending: clear in one evaluation.
    Recovered {
        /// Whether it was firing. If not, it was never unhealthy.
        was_firing: bool,
        /// Whether it was firing and no action was executed in this episode.
        by_itself: bool,
    },
    /// All steps were tried, or do not apply.
    Exhausted,
    /// It is firing, an action is due, and a guardrail refuses for a reason that was not
    /// reported yet in this episode.
    HeldBack(Refusal),
}

/// A fact that `decide` needs from the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Which targets have data, breached or not?
    Evidence,
    /// Does each metric that a breach needs have series? Asked together with the evidence, to
    /// find out what the query can return.
    Operands,
    /// Which targets were breached since a given time, and when? Asked after a restart.
    History {
        /// The start of the range.
        since: Timestamp,
    },
    /// Are the samples behind this target's breach fresh? Asked last, before an action.
    Freshness {
        /// The target.
        target: Object,
        /// The labels of its breached series. They restrict each selector to this series, as
        /// far as its labels reach the result.
        pins: Labels,
    },
}

/// How many targets are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Matched by the selector.
    pub selected: usize,
    /// Breached, not yet for `for`.
    pub pending: usize,
    /// Breached for `for`, with or without an action.
    pub firing: usize,
    /// Actions that were executed and have no verdict yet.
    pub verifying: usize,
    /// Unhealthy, and all steps were tried or do not apply.
    pub exhausted: usize,
}

/// Decides what to do. Idempotent: once its reservations are in the ledger, the same
/// inputs give no further reservation.
#[must_use]
pub fn decide(inputs: Inputs<'_>) -> Decision {
    let matching = matching::match_series(inputs);
    let sights = matching::sights(inputs, &matching);
    let lineage = Lineage::of(inputs.ledger, inputs.targets);
    let (timers, transitions) = timers::advance(inputs, &sights, &lineage);
    let (storm, storm_change) = storm::advance(inputs, &sights, &timers);
    let (verifications, verdicts) = verify::judge(inputs, &sights, storm);
    let reached = outlook::reached(inputs, &matching);
    let breached_by = matching::breached_by(inputs, &matching, &sights, &timers);
    let mut memory = Memory { timers, breached_by, verifications, storm, reached, ..Memory::default() };
    let guardrails::Released { reservations, mut refusals, unproven, removals } =
        guardrails::release(inputs, &matching, &sights, &memory, &lineage);
    for refused in &mut refusals {
        refused.due = outlook::is_held_back(inputs, &memory, &refused.target, refused.refusal);
    }
    let mut transitions = transitions;
    (memory.exhausted, transitions) = ladder::exhausted(inputs, &refusals, transitions);
    (memory.held_back, transitions) = outlook::held_back(inputs, &memory, &refusals, transitions);
    let skipped = ladder::skipped(inputs, &memory.timers, &memory.exhausted, &lineage);
    Decision {
        at: inputs.now,
        questions: outlook::questions(inputs, &sights, &matching, unproven),
        counts: outlook::counts(inputs, &memory),
        names: outlook::names(inputs, &memory),
        owners: outlook::owners(inputs, &refusals),
        too_young: outlook::too_young(inputs, &sights, &matching),
        below_min_age: outlook::below_min_age(inputs, &sights),
        busy: busy::busy(inputs, &lineage, &memory, &refusals),
        removals,
        below_floor: started::below_floor(inputs),
        waiting: started::waiting(inputs, memory.storm, &reservations),
        storm: storm_change,
        next_check: outlook::next_check(inputs, &memory, &refusals),
        memory,
        reservations,
        verdicts,
        refusals,
        skipped,
        transitions,
        matching,
    }
}
