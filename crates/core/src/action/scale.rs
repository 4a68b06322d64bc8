//! `scale`: changes a number of replicas. Done when the number is the recorded one.

use jiff::SignedDuration;

use super::{Action, ActionScope, Applicability, Behaviour, CatalogueEntry, Inapplicable, WORKLOAD_READY_WITHIN};
use crate::execute::{ActionWorld, Effect, EffectState, LiveField};
use crate::target::{Object, Target, TargetWorkload, Uid};

pub(super) const ENTRY: CatalogueEntry = CatalogueEntry {
    name: "Scale",
    field: "scale",
    file: "scale",
    kinds: &["Deployment", "StatefulSet"],
    rights: &["scale", "raise-minimum"],
};

/// How many replicas a step wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleSpec {
    /// Which number to move towards.
    pub towards: Towards,
    /// The smallest number that scaling down may set.
    pub min: i32,
    /// The largest number that scaling up may set.
    pub max: i32,
    /// Whether the minimum of an autoscaler that owns the number may be raised.
    pub raise_minimum: bool,
    /// Whether it may scale down where that deletes volumes.
    pub allow_volume_loss: bool,
}

/// Which number of replicas to move towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    /// So many more, or fewer when negative.
    By(i32),
    /// This number.
    To(i32),
}

/// A change of a number of replicas from one value to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaChange {
    /// The number at the time of the decision.
    pub from: i32,
    /// The number to write.
    pub to: i32,
    /// The autoscaler whose minimum is the number. `None`: the workload's own number.
    pub autoscaler: Option<Object>,
}

impl Applicability for ScaleSpec {
    fn entry(&self) -> &'static CatalogueEntry {
        &ENTRY
    }

    fn resolve(&self, target: &Target) -> Result<Action, Inapplicable> {
        if !ENTRY.kinds.contains(&target.subject.native_kind()) {
            return Err(Inapplicable::OwnerKind);
        }
        let workload = target.workload.as_ref().ok_or(Inapplicable::WorkloadUnknown)?;
        self.change(workload).map(Action::Scale)
    }
}

impl ScaleSpec {
    fn change(self, workload: &TargetWorkload) -> Result<ReplicaChange, Inapplicable> {
        let now = workload.replicas.ok_or(Inapplicable::WorkloadUnknown)?;
        if now == 0 {
            return Err(Inapplicable::ScaledToZero);
        }
        match &workload.autoscaler {
            None if workload.scaled_by.is_some() => Err(Inapplicable::ScaledByOthers),
            None => match self.wanted(now, self.max)? {
                to if to < now && workload.deletes_volumes && !self.allow_volume_loss => {
                    Err(Inapplicable::VolumesDeleted)
                }
                // Its next pod starts only when all pods before it are Ready.
                to if to > now && workload.restart_held == Some(Inapplicable::OrderedPodUnready) => {
                    Err(Inapplicable::OrderedPodUnready)
                }
                to => Ok(ReplicaChange { from: now, to, autoscaler: None }),
            },
            Some(_) if !self.raise_minimum => Err(Inapplicable::Autoscaled),
            Some(owner) if owner.controlled => Err(Inapplicable::AutoscalerControlled),
            Some(owner) => {
                // A minimum below the present number would change nothing.
                let held = now.max(owner.minimum);
                match self.wanted(held, self.max.min(owner.maximum))? {
                    to if to.cmp(&held).is_gt() => {
                        Ok(ReplicaChange { from: owner.minimum, to, autoscaler: Some(owner.object.clone()) })
                    }
                    // A lower minimum does not reduce the number: the autoscaler decides.
                    _ => Err(match self.towards {
                        Towards::To(_) => Inapplicable::AlreadyThere,
                        Towards::By(_) => Inapplicable::Autoscaled,
                    }),
                }
            }
        }
    }

    /// The number that follows `now`. A limit never reverses the direction: a number that
    /// somebody else set beyond a limit stays.
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

impl Behaviour for ReplicaChange {
    fn entry(&self) -> &'static CatalogueEntry {
        &ENTRY
    }

    fn scope(&self) -> ActionScope {
        ActionScope::AllPods
    }

    fn ready_at_least(&self) -> SignedDuration {
        WORKLOAD_READY_WITHIN
    }

    fn effect(&self, _: &Uid) -> Effect {
        let Self { from, to, autoscaler } = self;
        match autoscaler {
            None => Effect::Scale { from: *from, to: *to },
            Some(autoscaler) => Effect::RaiseMinimum { autoscaler: autoscaler.clone(), from: *from, to: *to },
        }
    }

    fn effect_state(&self, world: &ActionWorld) -> EffectState {
        match world.field {
            LiveField::Count(count) if count == self.to => EffectState::InPlace,
            LiveField::Count(count) if count == self.from => EffectState::Absent,
            LiveField::Count(_) | LiveField::None | LiveField::Restarted { .. } | LiveField::Disowned => {
                EffectState::Foreign
            }
        }
    }

    fn describe_executed(&self, _: &Object, subject: &Object) -> String {
        let Self { from, to, autoscaler } = self;
        match autoscaler {
            None => format!("{subject} was scaled from {from} to {to}; waiting until all replicas are ready"),
            Some(autoscaler) => format!(
                "the minimum of {autoscaler} was raised from {from} to {to}; waiting until {subject} has that many ready replicas"
            ),
        }
    }

    fn describe_settled(&self, subject: &Object) -> String {
        format!("{subject} has the wanted number of ready replicas; verifying that its pods stay clear")
    }
}
