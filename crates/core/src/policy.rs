//! A policy as it is judged: every default filled in, every field checked.
//! What is wrong in a `HealingPolicy` is refused before this type is made.

use std::fmt;

use jiff::SignedDuration;

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
    /// The label of a series that names its target.
    pub match_label: String,
    /// The longest silence over which a timer is still continued:
    /// max(2 × interval, lookback).
    pub longest_gap: SignedDuration,
    /// Whether the policy is suspended: judged, but nothing new is begun.
    pub suspended: bool,
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
}
