//! What can be done: as a policy asks for it ([`ActionSpec`]), and, for one target at one
//! instant, with absolute parameters ([`Action`]), so that doing it twice is doing it
//! once.

use std::fmt;

use jiff::SignedDuration;

use crate::target::{Object, Target, Workload};

/// What a step asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionSpec {
    /// Remove the pod; its controller makes another.
    DeletePod {
        /// How the pod is removed.
        disruption: Disruption,
        /// Overrides the pod's own grace period.
        grace: Option<SignedDuration>,
    },
    /// Have the workload replace all its pods.
    RolloutRestart,
    /// Change how many replicas the workload has.
    Scale(ScaleSpec),
}

/// How many replicas are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleSpec {
    /// Towards which number.
    pub towards: Towards,
    /// The fewest that scaling down may leave.
    pub min: i32,
    /// The most that scaling up may ask for.
    pub max: i32,
    /// Whether the minimum of an autoscaler that owns the number may be raised.
    pub raise_minimum: bool,
}

/// Towards which number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    /// So many more, or fewer when negative.
    By(i32),
    /// This number.
    To(i32),
}

/// What is done to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Remove the pod; its controller makes another.
    DeletePod {
        /// How the pod is removed.
        disruption: Disruption,
        /// Overrides the pod's own grace period.
        grace: Option<SignedDuration>,
    },
    /// Have the workload replace all its pods.
    RolloutRestart,
    /// Change a number of replicas from one value to another.
    Scale {
        /// What it was when that was decided.
        from: i32,
        /// What it is to be.
        to: i32,
        /// The autoscaler whose minimum is the number; `None`: it is the workload's own.
        autoscaler: Option<Object>,
    },
}

/// How a pod is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disruption {
    /// Through the eviction API, which honours `PodDisruptionBudget`s.
    Evict,
    /// By deleting it, whatever a `PodDisruptionBudget` says.
    Delete,
}

/// What an action touches, and whose health tells whether it helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One pod; its successor tells.
    Successor,
    /// The whole workload; the pods made since then tell.
    NewPods,
    /// The whole workload; all its pods tell, old and new.
    AllPods,
}

impl Scope {
    /// Whether the action is done to the workload and not to one pod.
    #[must_use]
    pub fn is_workload(self) -> bool {
        match self {
            Self::Successor => false,
            Self::NewPods | Self::AllPods => true,
        }
    }
}

/// Why a step does not apply to a target: it is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inapplicable {
    /// The pod's owner is of a kind that has no such action.
    OwnerKind,
    /// Nothing is known of the workload yet.
    WorkloadUnknown,
    /// The rollout is paused or partitioned, or pods are replaced only when deleted: a
    /// restart would not come about.
    RolloutHeld,
    /// It is scaled to zero on purpose.
    ScaledToZero,
    /// It has as many replicas as the step may ask for.
    AtMaximum,
    /// It has as few replicas as the step may leave.
    AtMinimum,
    /// It has the number that is asked for, or the autoscaler's minimum is no less.
    AlreadyThere,
    /// An autoscaler owns the number.
    Autoscaled,
    /// An autoscaler owns the number, and something else owns the autoscaler.
    AutoscalerControlled,
}

impl Inapplicable {
    /// The word used in records, conditions, Events and logs alike.
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

impl ActionSpec {
    /// The action's name as columns, Events and metrics show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeletePod { .. } => "DeletePod",
            Self::RolloutRestart => "RolloutRestart",
            Self::Scale(_) => "Scale",
        }
    }

    /// What is to be done to `target` as it stands.
    ///
    /// # Errors
    /// Why the step does not apply to it.
    pub fn resolve(&self, target: &Target) -> Result<Action, Inapplicable> {
        let kind = target.subject.kind.as_str();
        match self {
            // Written down even where the pod's own is meant: the time to settle goes by it.
            Self::DeletePod { disruption, grace } => {
                Ok(Action::DeletePod { disruption: *disruption, grace: grace.or(target.grace) })
            }
            Self::RolloutRestart if !matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet") => {
                Err(Inapplicable::OwnerKind)
            }
            Self::RolloutRestart => match &target.workload {
                None => Err(Inapplicable::WorkloadUnknown),
                Some(workload) if !workload.rolls_out => Err(Inapplicable::RolloutHeld),
                Some(_) => Ok(Action::RolloutRestart),
            },
            Self::Scale(_) if !matches!(kind, "Deployment" | "StatefulSet") => Err(Inapplicable::OwnerKind),
            Self::Scale(spec) => spec.resolve(target.workload.as_ref().ok_or(Inapplicable::WorkloadUnknown)?),
        }
    }
}

impl ScaleSpec {
    fn resolve(self, workload: &Workload) -> Result<Action, Inapplicable> {
        let now = workload.replicas.ok_or(Inapplicable::WorkloadUnknown)?;
        if now == 0 {
            return Err(Inapplicable::ScaledToZero);
        }
        match &workload.autoscaler {
            None => Ok(Action::Scale { from: now, to: self.wanted(now, self.max)?, autoscaler: None }),
            Some(_) if !self.raise_minimum => Err(Inapplicable::Autoscaled),
            Some(owner) if owner.controlled => Err(Inapplicable::AutoscalerControlled),
            Some(owner) => {
                // A minimum below what there is already would change nothing.
                let held = now.max(owner.minimum);
                match self.wanted(held, self.max.min(owner.maximum))? {
                    to if to.cmp(&held).is_gt() => {
                        Ok(Action::Scale { from: owner.minimum, to, autoscaler: Some(owner.object.clone()) })
                    }
                    // A lower minimum is no way to have fewer: the autoscaler decides.
                    _ => Err(match self.towards {
                        Towards::To(_) => Inapplicable::AlreadyThere,
                        Towards::By(_) => Inapplicable::Autoscaled,
                    }),
                }
            }
        }
    }

    /// The number that is to follow on `now`. A limit never makes it go the other way:
    /// what is beyond a limit by somebody else's doing stays there.
    fn wanted(self, now: i32, max: i32) -> Result<i32, Inapplicable> {
        match self.towards {
            Towards::To(to) if to.min(max) == now => Err(Inapplicable::AlreadyThere),
            Towards::To(to) => Ok(to.min(max)),
            Towards::By(0) => Err(Inapplicable::AlreadyThere),
            Towards::By(1..) if now >= max => Err(Inapplicable::AtMaximum),
            Towards::By(by @ 1..) => Ok(now.saturating_add(by).min(max)),
            Towards::By(_) if now <= self.min => Err(Inapplicable::AtMinimum),
            Towards::By(by) => Ok(now.saturating_add(by).max(self.min)),
        }
    }
}

impl Action {
    /// The action's name as columns, Events and metrics show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeletePod { .. } => "DeletePod",
            Self::RolloutRestart => "RolloutRestart",
            Self::Scale { .. } => "Scale",
        }
    }

    /// What it touches, and whose health tells whether it helped.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::DeletePod { .. } => Scope::Successor,
            Self::RolloutRestart => Scope::NewPods,
            Self::Scale { .. } => Scope::AllPods,
        }
    }

    /// How long the action may take to settle after it was executed: the grace period
    /// and five minutes for a replacement to come up; a workload that is changed as a
    /// whole gets ten minutes, or the time without progress after which its own
    /// controller gives up, whichever is longer.
    #[must_use]
    pub fn settle_within(&self, progress_deadline: Option<SignedDuration>) -> SignedDuration {
        match self {
            Self::DeletePod { grace, .. } => {
                let grace = grace.unwrap_or(DEFAULT_GRACE);
                grace.checked_add(REPLACEMENT_READY_WITHIN).unwrap_or(SignedDuration::MAX)
            }
            Self::RolloutRestart | Self::Scale { .. } => {
                progress_deadline.unwrap_or(WORKLOAD_READY_WITHIN).max(WORKLOAD_READY_WITHIN)
            }
        }
    }
}

/// The pod's own default when neither pod nor policy says otherwise.
const DEFAULT_GRACE: SignedDuration = SignedDuration::from_secs(30);
/// Room to schedule, pull and start a replacement.
const REPLACEMENT_READY_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// Room to do so for several pods one after the other; also Kubernetes' own default for
/// a rollout without progress.
const WORKLOAD_READY_WITHIN: SignedDuration = SignedDuration::from_mins(10);
