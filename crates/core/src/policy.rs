//! A policy as it is judged: every default filled in, every field checked.
//! What is wrong in a `HealingPolicy` is refused before this type is made.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::action::ActionSpec;

/// A compiled policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Namespace and name: windows and ladders are keyed by it, so that deleting
    /// and creating a policy anew gives no budget back.
    pub key: PolicyKey,
    /// Whether actions are carried out or only recorded.
    pub mode: Mode,
    /// Time between two looks at the source.
    pub interval: SignedDuration,
    /// How long a breach must hold before it is acted on.
    pub breach_for: SignedDuration,
    /// How long a target must be clear, with evidence, to count as healthy again.
    pub clear_for: SignedDuration,
    /// What a target without any data is taken for.
    pub on_no_data: OnNoData,
    /// How a series names its target.
    pub series: SeriesMatch,
    /// The label of a series that holds its object's namespace.
    pub namespace_label: String,
    /// Whether every selector of the query keeps to the policy's namespace: only then a
    /// series without that label is one of it.
    pub pinned: bool,
    /// How old a target must be for its breach to count as sickness.
    pub min_age: SignedDuration,
    /// How far back a sample may lie and still be seen: the widest range of the query
    /// and the lookback. Where names recur, the samples of an object younger than this
    /// may be its predecessor's.
    pub signal_window: SignedDuration,
    /// The longest silence over which a timer is still continued:
    /// max(2 × interval, lookback).
    pub longest_gap: SignedDuration,
    /// Whether the policy is suspended: judged, but nothing new is begun.
    pub suspended: bool,
    /// When the ladder was last reset by hand: what was done before counts on no rung.
    pub reset_at: Option<Timestamp>,
    /// A digest of condition, target and steps: a record with another one was made by
    /// another rule and is no rung of this ladder.
    pub hash: String,
    /// The ladder, from its lowest rung; never empty.
    pub steps: Vec<StepSpec>,
    /// The brakes' settings.
    pub limits: Limits,
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

/// What is done with a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Decide and record; touch nothing.
    DryRun,
    /// Decide and act.
    Enforce,
}

/// How a series names its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeriesMatch {
    /// By this label, which holds the target's name.
    Label(String),
    /// Not at all: any series speaks of every target.
    Global,
}

/// What a target is taken for that is in neither the answer nor the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNoData {
    /// Keep what is known of it: no action, no recovery.
    Hold,
    /// Take it for clear.
    Clear,
}

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSpec {
    /// What is wanted; what is done about a given target follows from it and from how
    /// its workload stands.
    pub action: ActionSpec,
    /// How often it is tried before the next rung is climbed, at least once.
    pub attempts: u32,
    /// How long after settling the target may take to be clear.
    pub verify_within: SignedDuration,
}

/// The brakes' settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Least time between two actions that count against the same target.
    pub cooldown: SignedDuration,
    /// How many actions the policy may begin in any window of `window`.
    pub max_actions: u32,
    /// The length of the sliding window.
    pub window: SignedDuration,
    /// How many of the policy's actions may be in flight at once.
    pub max_concurrent: u32,
    /// How long a target must have been clear after an action for that action to be
    /// forgotten, and how long after its birth a replacement's sickness is still laid
    /// to the action that made it.
    pub ladder_reset: SignedDuration,
    /// How many actions one subject may bear in a window, whatever policies begin them.
    pub subject_cap: SubjectCap,
    /// How many of the targets may be breached at once before the observer is as suspect
    /// as they are.
    pub max_unhealthy: Unhealthy,
    /// What is still done when more are.
    pub on_storm: OnStorm,
    /// How long no more than that many must be breached for the storm to be over.
    pub storm_cooldown: SignedDuration,
}

/// How many actions one subject may bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectCap {
    /// How many.
    pub count: u32,
    /// In any window of this length.
    pub window: SignedDuration,
}

/// How many targets may be breached at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unhealthy {
    /// So many of them.
    Count(u32),
    /// So many in a hundred of them, rounded down.
    Percent(u32),
}

impl Unhealthy {
    /// How many of `selected` that is; never fewer than one, or the first to fall sick
    /// would be a storm.
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

/// What is still done in a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStorm {
    /// One action at a time, the next only after one has succeeded.
    Probe,
    /// Nothing.
    Hold,
}
