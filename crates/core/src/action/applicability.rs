//! Why a step does not apply to a target.

use std::fmt;

use crate::target::Target;

/// Why a step does not apply to a target and is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inapplicable {
    /// The pod's owner is of a kind that has no such action.
    OwnerKind,
    /// The pod's owner asks not to evict it.
    ProtectedPod,
    /// The workload has not been read yet.
    WorkloadUnknown,
    /// Somebody else took the earlier attempt on this step back.
    TakenBack,
    /// The rollout of a Deployment is paused: a restart would not happen.
    RolloutPaused,
    /// Pods are replaced only when somebody deletes them: a restart would not happen.
    OnDelete,
    /// A part of a `StatefulSet` keeps its old pods: a restart would not replace all pods.
    Partitioned,
    /// A rollout has been under way without progress. Another one would not make any either.
    RolloutStuck,
    /// A `StatefulSet` replaces and starts its pods one by one, and waits for one that is not Ready.
    OrderedPodUnready,
    /// The only replica may hold a volume that its replacement would wait for, while it waits for
    /// the replacement.
    VolumeInUse,
    /// Each pod needs a node of its own, and there is none for an additional one.
    NoRoomToSurge,
    /// Pods of a `DaemonSet` on nodes that are not ready use up what may be unavailable.
    NodesNotReady,
    /// The workload has no pods: it is scaled to zero, or a `DaemonSet` fits no node.
    ScaledToZero,
    /// Scaling down would delete volumes.
    VolumesDeleted,
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
    /// A tool other than a `HorizontalPodAutoscaler` scales the workload.
    ScaledByOthers,
}

impl Inapplicable {
    /// Every reason.
    pub const ALL: [Self; 20] = [
        Self::OwnerKind,
        Self::ProtectedPod,
        Self::WorkloadUnknown,
        Self::TakenBack,
        Self::RolloutPaused,
        Self::OnDelete,
        Self::Partitioned,
        Self::RolloutStuck,
        Self::OrderedPodUnready,
        Self::VolumeInUse,
        Self::NoRoomToSurge,
        Self::NodesNotReady,
        Self::ScaledToZero,
        Self::VolumesDeleted,
        Self::AtMaximum,
        Self::AtMinimum,
        Self::AlreadyThere,
        Self::Autoscaled,
        Self::AutoscalerControlled,
        Self::ScaledByOthers,
    ];

    /// The word used in records, conditions, Events and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnerKind => "OwnerKind",
            Self::ProtectedPod => "ProtectedPod",
            Self::WorkloadUnknown => "WorkloadUnknown",
            Self::TakenBack => "TakenBack",
            Self::RolloutPaused => "RolloutPaused",
            Self::OnDelete => "OnDelete",
            Self::Partitioned => "Partitioned",
            Self::RolloutStuck => "RolloutStuck",
            Self::OrderedPodUnready => "OrderedPodUnready",
            Self::VolumeInUse => "VolumeInUse",
            Self::NoRoomToSurge => "NoRoomToSurge",
            Self::NodesNotReady => "NodesNotReady",
            Self::ScaledToZero => "ScaledToZero",
            Self::VolumesDeleted => "VolumesDeleted",
            Self::AtMaximum => "AtMaximum",
            Self::AtMinimum => "AtMinimum",
            Self::AlreadyThere => "AlreadyThere",
            Self::Autoscaled => "Autoscaled",
            Self::AutoscalerControlled => "AutoscalerControlled",
            Self::ScaledByOthers => "ScaledByOthers",
        }
    }

    /// The reason in a sentence for `target`, with what to do.
    #[must_use]
    pub fn explain(self, target: &Target) -> String {
        let subject = &target.subject;
        let autoscaler = target.workload.as_ref().and_then(|workload| workload.autoscaler.as_ref());
        let autoscaler =
            autoscaler.map_or_else(|| "an autoscaler".to_owned(), |autoscaler| autoscaler.object.to_string());
        let scaled_by = target.workload.as_ref().and_then(|workload| workload.scaled_by.as_deref());
        match self {
            Self::OwnerKind => format!("there is no such action for {subject} of {}", subject.api_version),
            Self::ProtectedPod => format!(
                "the annotation {} asks not to evict {}; set deletePod.protectedPods: Remove to remove it all the same",
                target.protected_by.unwrap_or_default(),
                target.object
            ),
            Self::WorkloadUnknown => format!("{subject} has not been read yet"),
            Self::TakenBack => format!("somebody else took the earlier attempt on {subject} back"),
            Self::RolloutPaused => format!("the rollout of {subject} is paused; resume it"),
            Self::OnDelete => {
                format!("{subject} replaces its pods only when they are deleted (OnDelete); use deletePod")
            }
            Self::Partitioned => {
                format!("{subject} has a partition, below which pods keep their template; use deletePod")
            }
            Self::RolloutStuck => {
                format!("a rollout of {subject} is under way and makes no progress; another one would not make any")
            }
            Self::OrderedPodUnready => format!(
                "{subject} replaces and starts its pods one by one (OrderedReady) and waits for a pod that is not Ready; use deletePod on that pod"
            ),
            Self::VolumeInUse => format!(
                "the new pod of {subject} may wait for a volume of the old one, and the old one waits for the new one; use deletePod, or the strategy Recreate"
            ),
            Self::NoRoomToSurge => format!(
                "each pod of {subject} needs a node of its own, and no ready node is free for an additional one; use deletePod, or set maxUnavailable"
            ),
            Self::NodesNotReady => format!(
                "pods of {subject} on nodes that are not ready use up its maxUnavailable, so no other pod would be replaced; use deletePod"
            ),
            Self::ScaledToZero => {
                format!("{subject} has 0 replicas; the tool that scaled it down decides when it is scaled up")
            }
            Self::VolumesDeleted => format!(
                "scaling {subject} down deletes volumes (persistentVolumeClaimRetentionPolicy.whenScaled: Delete); set scale.volumeLoss: Allow to accept that"
            ),
            Self::AtMaximum => format!("{subject} has as many replicas as the step may set"),
            Self::AtMinimum => format!("{subject} has as few replicas as the step may set"),
            Self::AlreadyThere => format!("{subject} already has the wanted number"),
            Self::Autoscaled => format!(
                "{autoscaler} owns the number of replicas; set scale.autoscaler: RaiseMinimum to raise its minReplicas instead"
            ),
            Self::AutoscalerControlled => format!(
                "{autoscaler} owns the number of replicas, and another object controls {autoscaler}; change that object"
            ),
            Self::ScaledByOthers => {
                format!("{} scales {subject}; change the minimum there", scaled_by.unwrap_or("another tool"))
            }
        }
    }
}

impl fmt::Display for Inapplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
