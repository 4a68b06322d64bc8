//! From an observation to a decision.
//!
//! ```text
//! matching   series → targets: breached, clear, without data, unknown
//! timers     how long: pending, firing, recovered
//! storm      is everything failing at once
//! verify     did the running actions help
//! ladder     which rung is next
//! brakes     what is sick and firing: act, or the first reason not to
//! outlook    counts, questions left open, when to look next
//! ```
//!
//! `decide` asks nobody. Where it needs more than it was given it returns a
//! [`Question`]; the caller answers it and decides again, from the same memory.

mod brakes;
mod ladder;
mod matching;
mod outlook;
mod storm;
mod timers;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::action::{Action, Inapplicable};
use crate::execute::OutcomeReason;
use crate::ledger::{Ledger, Outcome};
use crate::observation::{Labels, Observation};
use crate::policy::Policy;
use crate::refusal::{Reason, Refusal};
use crate::target::{Object, Target, Uid};

pub use matching::{Matching, POD_LABEL, Sight, UID_LABEL};
pub use storm::{Storm, StormChange};
pub use timers::{Phase, Timer};
pub use verify::Verification;

/// Everything a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// What the source said.
    pub observation: &'a Observation,
    /// The selected objects.
    pub targets: &'a [Target],
    /// The actions on record, of all policies.
    pub ledger: &'a Ledger,
    /// What the previous decision wants to be remembered.
    pub memory: &'a Memory,
    /// Whether somebody holds healing back, here or everywhere.
    pub held: bool,
    /// Where in each interval it looks, less than the interval. Policies of one interval and
    /// phase share the instants of their looks.
    pub phase: SignedDuration,
    /// The present, by the API server's clock.
    pub now: Timestamp,
}

/// What one decision hands to the next. Bounded: an entry for each selected
/// target that is not healthy, and one for each action being verified.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// The sick targets.
    pub timers: BTreeMap<Uid, Timer>,
    /// The actions being verified, by name.
    pub verifications: BTreeMap<String, Verification>,
    /// The sick targets for which every rung was tried.
    pub exhausted: BTreeSet<Uid>,
    /// For what reasons each sick target was held back in this sickness, as was told.
    pub held_back: BTreeMap<Uid, BTreeSet<Reason>>,
    /// The storm under way.
    pub storm: Option<Storm>,
    /// What the query reaches, when that was last known.
    pub reached: Option<Reached>,
}

/// What a query reaches, and when that was known.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// When it was last looked at.
    pub at: Timestamp,
    /// What it reached then.
    pub reach: Reach,
}

/// What a query reaches, sick or not.
#[derive(Debug, Clone, PartialEq)]
pub enum Reach {
    /// Series about targets.
    Targets,
    /// No series at all.
    NoSeries,
    /// Series, but none names a target; the labels of the first.
    NoTarget(Labels),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// When it was made.
    pub at: Timestamp,
    /// To be given to the next decision.
    pub memory: Memory,
    /// What is to be done; each is to be recorded before anything else happens.
    pub reservations: Vec<Reservation>,
    /// What is known of running actions.
    pub verdicts: Vec<Verdict>,
    /// Why sick targets are not acted on, at most one a target.
    pub refusals: Vec<Refused>,
    /// The rungs that do not apply to those for whom nothing else is left.
    pub skipped: BTreeMap<Uid, Vec<Skipped>>,
    /// What happened to targets since the last decision.
    pub transitions: Vec<Transition>,
    /// Whether a storm has begun or is over since the last decision.
    pub storm: Option<StormChange>,
    /// The targets whose actions, though begun, must not be carried out now.
    pub waiting: BTreeSet<Uid>,
    /// What has to be known for a full decision. Empty: this one is full.
    pub questions: Vec<Question>,
    /// How the answer fitted the targets.
    pub matching: Matching,
    /// The names of the sick targets.
    pub names: BTreeMap<Uid, String>,
    /// How many targets are in which state.
    pub counts: Counts,
    /// Time from `at` to the next look, more than zero, at most the interval.
    pub next_check: SignedDuration,
}

/// An action that is allowed and wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// What is acted on.
    pub target: Object,
    /// The stable object behind it.
    pub subject: Object,
    /// Which rung of the ladder, from 1.
    pub rung: u32,
    /// Which attempt on that rung, from 1.
    pub attempt: u32,
    /// What is done, with absolute parameters.
    pub action: Action,
    /// The rungs passed over on the way, because they do not apply.
    pub skipped: Vec<Skipped>,
    /// The number of the policy's action, one above the highest on record.
    pub sequence: u64,
    /// Since when it has been sick.
    pub since: Timestamp,
    /// The worst value seen in the newest answer.
    pub value: f64,
    /// The labels of that series.
    pub labels: Labels,
    /// When the newest answer came.
    pub observed_at: Timestamp,
    /// After this the evidence is stale and the action must not begin.
    pub start_by: Timestamp,
}

/// What is known of a running action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The action's name.
    pub action: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one word.
    pub reason: OutcomeReason,
}

/// A sick target and why it is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The target's uid.
    pub target: Uid,
    /// The first brake that refused.
    pub refusal: Refusal,
    /// Whether that keeps something from being done that is due: the target is firing,
    /// breached at this moment, and in no action's hands.
    pub due: bool,
}

/// A rung that does not apply to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Which rung of the ladder, from 1.
    pub rung: u32,
    /// What it would do, by its name.
    pub action: &'static str,
    /// Why it does not apply.
    pub why: Inapplicable,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}, {}: {}", self.rung, self.action, self.why)
    }
}

/// A change in a target's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The target.
    pub target: Object,
    /// What happened.
    pub change: Change,
    /// The value at that moment; `None` when there is none any more.
    pub value: Option<f64>,
}

/// What happened to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Breached, but not for long enough yet.
    BecamePending,
    /// Breached for `for`.
    StartedFiring,
    /// Clear for `clearFor` (or, when it was only pending, once).
    Recovered {
        /// Whether it was firing and nothing was done about it: what comes of a sickness
        /// without any healing.
        by_itself: bool,
    },
    /// Every rung of the ladder was tried, or does not apply.
    Exhausted,
    /// It is firing and not acted on, for another reason than before.
    HeldBack(Refusal),
}

/// What `decide` would like to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// For whom is there data at all?
    Evidence,
    /// Who was breached since then, and when? Asked after a restart or a long gap.
    History {
        /// The earliest instant that matters.
        since: Timestamp,
    },
    /// Are the samples behind this target's breach fresh? Asked last, before acting.
    Freshness {
        /// The target.
        target: Object,
        /// The labels by which its breached series names it: what a selector is narrowed
        /// down to it by.
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
    /// Breached for `for`, acted on or not.
    pub firing: usize,
    /// Actions executed and not yet judged.
    pub verifying: usize,
    /// Sick, and every rung was tried.
    pub exhausted: usize,
}

/// Decides. Idempotent: with its own reservations recorded in the ledger it
/// plans nothing more.
#[must_use]
pub fn decide(inputs: Inputs<'_>) -> Decision {
    let matching = matching::match_series(inputs);
    let sights = matching::sights(inputs, &matching);
    let (timers, transitions) = timers::advance(inputs, &sights);
    let (storm, storm_change) = storm::advance(inputs, &sights, &timers);
    let (verifications, verdicts) = verify::judge(inputs, &sights, storm);
    let reached = outlook::reached(inputs, &matching);
    let mut memory = Memory { timers, verifications, storm, reached, ..Memory::default() };
    let brakes::Released { reservations, mut refusals, unproven } =
        brakes::release(inputs, &matching, &sights, &memory);
    for refused in &mut refusals {
        refused.due = outlook::is_held_back(inputs, &memory, &refused.target, refused.refusal);
    }
    let mut transitions = transitions;
    (memory.exhausted, transitions) = ladder::exhausted(inputs, &refusals, transitions);
    (memory.held_back, transitions) = outlook::held_back(inputs, &memory, &refusals, transitions);
    let skipped = ladder::skipped(inputs, &memory.timers, &memory.exhausted);
    Decision {
        at: inputs.now,
        questions: outlook::questions(inputs, &sights, &matching, unproven),
        counts: outlook::counts(inputs, &memory),
        names: outlook::names(inputs, &memory),
        waiting: brakes::waiting(inputs, memory.storm, &reservations),
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
