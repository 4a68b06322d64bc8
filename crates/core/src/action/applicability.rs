//! Why a step does not apply to a target.

use std::fmt;

/// Why a step does not apply to a target and is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inapplicable {
    /// The pod's owner is of a kind that has no such action.
    OwnerKind,
    /// The workload has not been read yet.
    WorkloadUnknown,
    /// The rollout is paused or partitioned, or pods are replaced only when deleted: a
    /// restart would not happen.
    RolloutHeld,
    /// The workload has no pods: it is scaled to zero, or a `DaemonSet` fits no node.
    ScaledToZero,
    /// It has as many replicas as the step may set.
    AtMaximum,
    /// It has as few replicas as the step may set.
    AtMinimum,
    /// It already has the wanted number, or the autoscaler's minimum is at least that.
    AlreadyThere,
    /// An autoscaler owns the number.
    Autoscaled,
    /// An autoscaler owns the number, and something else owns the autoscaler.
    AutoscalerControlled,
}

impl Inapplicable {
    /// The word used in records, conditions, Events and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnerKind => "OwnerKind",
            Self::WorkloadUnknown => "WorkloadUnknown",
            Self::RolloutHeld => "RolloutHeld",
            Self::ScaledToZero => "ScaledToZero",
            Self::AtMaximum => "AtMaximum",
            Self::AtMinimum => "AtMinimum",
            Self::AlreadyThere => "AlreadyThere",
            Self::Autoscaled => "Autoscaled",
            Self::AutoscalerControlled => "AutoscalerControlled",
        }
    }
}

impl fmt::Display for Inapplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
