//! A policy with all defaults filled in and all fields checked. An invalid
//! `HealingPolicy` is refused before this type is created.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::action::ActionSpec;
use crate::availability::MinAvailable;
use crate::ledger::ActionBudget;

/// A compiled policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Namespace and name. Windows and ladders use this key and not the uid, so deleting and
    /// recreating a policy gives no budget back.
    pub key: PolicyKey,
    /// Whether actions are executed or only recorded.
    pub mode: PolicyMode,
    /// Time between two evaluations.
    pub interval: SignedDuration,
    /// How long the condition must be breached before Prunella acts.
    pub breach_for: SignedDuration,
    /// How long a target must be clear, with evidence, to count as healthy again.
    pub clear_for: SignedDuration,
    /// How to treat a target that has no data.
    pub on_no_data: NoDataRule,
    /// How a series names its target.
    pub series: SeriesMatch,
    /// The label of a series that has the namespace of its object.
    pub namespace_label: String,
    /// Whether every selector of the query names the policy's namespace. Only then a series
    /// without a namespace label belongs to that namespace.
    pub pinned: bool,
    /// What the query is like.
    pub query: QueryTraits,
    /// How old a target must be before its breach counts.
    pub min_age: SignedDuration,
    /// The age of the oldest sample that can affect an answer: the widest range of the query
    /// plus the lookback. If replacements keep the name, the samples of an object younger
    /// than this may belong to the object that it replaced.
    pub signal_window: SignedDuration,
    /// The longest gap between two evaluations that does not restart a timer:
    /// max(2 × interval, lookback).
    pub longest_gap: SignedDuration,
    /// Whether the policy is suspended: it is evaluated, but starts no action.
    pub suspended: bool,
    /// When a user last reset the ladder. Earlier actions count on no step.
    pub reset_at: Option<Timestamp>,
    /// A digest of condition, target and steps. A record with another digest does not count
    /// on this ladder.
    pub digest: String,
    /// The ladder, lowest step first. Never empty.
    pub steps: Vec<LadderStep>,
    /// The settings of the guardrails.
    pub limits: PolicyLimits,
}

impl Policy {
    /// What its actions are paid from.
    #[must_use]
    pub fn budget(&self) -> ActionBudget<'_> {
        ActionBudget { policy: &self.key, mode: self.mode }
    }
}

/// What a decision needs to know about a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryTraits {
    /// What makes a series of the evidence speak for a target that was breached.
    pub evidence: EvidenceMatch,
    /// Whether a breach needs the series of several metrics. Then it is checked from time to
    /// time that each of them has series.
    pub several_operands: bool,
}

/// What makes a series of the evidence speak for a target that was breached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceMatch {
    /// All labels that it has in common with the breached series are equal, except these: a
    /// healthy target has other values there. An example is `reason`.
    Series {
        /// Names of labels.
        except: BTreeSet<String>,
    },
    /// It names the target. For evidence that the user wrote, which may be another metric.
    Target,
}

impl Default for EvidenceMatch {
    fn default() -> Self {
        Self::Series { except: BTreeSet::new() }
    }
}

/// Namespace and name of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// The policy's namespace.
    pub namespace: String,
    /// The policy's name.
    pub name: String,
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What Prunella does with a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyMode {
    /// Decide and record, but execute nothing.
    DryRun,
    /// Decide, record and execute.
    Enforce,
}

/// How a series names its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeriesMatch {
    /// By this label, whose value is the name of the target.
    Label(String),
    /// Not at all: any series counts for every target.
    Global,
}

/// How to treat a target that has no data: it is in neither the answer nor the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDataRule {
    /// Keep its state: no action and no recovery.
    Hold,
    /// Treat it as clear.
    Clear,
}

/// One step of the ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct LadderStep {
    /// The name of the step, unique within the policy.
    pub name: String,
    /// What the step wants. The action for a target follows from it and from the state of
    /// the workload.
    pub action: ActionSpec,
    /// How many attempts are made before the next step. At least 1.
    pub attempts: u32,
    /// How long the verification may take after the action has settled.
    pub verify_within: SignedDuration,
    /// How long a replacement may take to become Ready. `None`: as long as the owner of the
    /// workload lets it take.
    pub ready_within: Option<SignedDuration>,
}

/// The settings of the guardrails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLimits {
    /// The shortest time between two actions that count against the same target.
    pub cooldown: SignedDuration,
    /// How many actions the policy may start within any `window`.
    pub max_actions: u32,
    /// The length of the sliding window.
    pub window: SignedDuration,
    /// How many of the policy's actions may be in flight at once.
    pub max_concurrent: u32,
    /// How long a target must be clear after an action before that action no longer counts.
    /// Also how long after its creation a new episode of a replacement still counts as a
    /// result of the action that created it.
    pub ladder_reset: SignedDuration,
    /// How many actions of all policies together one subject may have within a window.
    pub subject_cap: SubjectCap,
    /// How many pods of a workload must stay Ready when one of them is removed.
    pub min_available: MinAvailable,
    /// How many targets may be breached at once. If more are, it is a storm.
    pub max_unhealthy: MaxUnhealthy,
    /// What Prunella still does in a storm.
    pub on_storm: StormRule,
    /// How long no more than that many targets must be breached before the storm is over.
    pub storm_cooldown: SignedDuration,
}

/// How many actions one subject may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectCap {
    /// The number of actions.
    pub count: u32,
    /// The length of the sliding window.
    pub window: SignedDuration,
}

/// How many targets may be breached at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxUnhealthy {
    /// This number of targets.
    Count(u32),
    /// This percentage of the selected targets, rounded down.
    Percent(u32),
}

impl MaxUnhealthy {
    /// How many of `selected` targets may be breached. At least 1: with 0, the first breached
    /// target would be a storm.
    #[must_use]
    pub fn of(self, selected: usize) -> usize {
        let count = match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => {
                let percent = usize::try_from(percent).unwrap_or(usize::MAX);
                selected.saturating_mul(percent).checked_div(100).unwrap_or(0)
            }
        };
        count.max(1)
    }
}

/// What Prunella still does in a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StormRule {
    /// One action at a time as a probe. The next one only after a probe has succeeded.
    Probe,
    /// Nothing.
    Hold,
}
