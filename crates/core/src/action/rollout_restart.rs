//! `rolloutRestart`: replaces all pods of a workload. Done when the pod template has the
//! action's uid in an annotation.

use jiff::SignedDuration;

use super::{Action, ActionScope, Applicability, Behaviour, CatalogueEntry, Inapplicable, WORKLOAD_READY_WITHIN};
use crate::execute::{ActionWorld, Effect, EffectState, LiveField};
use crate::target::{Object, Target, Uid};

pub(super) const ENTRY: CatalogueEntry = CatalogueEntry {
    name: "RolloutRestart",
    field: "rolloutRestart",
    file: "rollout_restart",
    kinds: &["Deployment", "StatefulSet", "DaemonSet"],
    rights: &["restart"],
};

/// Replaces all pods of a workload. It has no parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart;

impl Applicability for Restart {
    fn entry(&self) -> &'static CatalogueEntry {
        &ENTRY
    }

    fn resolve(&self, target: &Target) -> Result<Action, Inapplicable> {
        if !ENTRY.kinds.contains(&target.subject.native_kind()) {
            return Err(Inapplicable::OwnerKind);
        }
        match &target.workload {
            None => Err(Inapplicable::WorkloadUnknown),
            // It has no pods to replace, so the restart would end without effect.
            Some(workload) if workload.replicas == Some(0) => Err(Inapplicable::ScaledToZero),
            Some(workload) => match workload.restart_held {
                Some(why) => Err(why),
                // While it makes progress, nothing is done to the target at all.
                None if workload.rollout_progress.is_some() => Err(Inapplicable::RolloutStuck),
                None => Ok(Action::RolloutRestart(*self)),
            },
        }
    }
}

impl Behaviour for Restart {
    fn entry(&self) -> &'static CatalogueEntry {
        &ENTRY
    }

    fn scope(&self) -> ActionScope {
        ActionScope::NewPods
    }

    fn ready_at_least(&self) -> SignedDuration {
        WORKLOAD_READY_WITHIN
    }

    fn effect(&self, mark: &Uid) -> Effect {
        Effect::Restart { mark: mark.clone() }
    }

    fn effect_state(&self, world: &ActionWorld) -> EffectState {
        match world.field {
            LiveField::Restarted { by_this: true } => EffectState::InPlace,
            LiveField::Restarted { by_this: false } => EffectState::Absent,
            LiveField::None | LiveField::Count(_) | LiveField::Disowned => EffectState::Foreign,
        }
    }

    fn describe_executed(&self, _: &Object, subject: &Object) -> String {
        format!("{subject} was restarted; waiting until it has replaced all its pods")
    }

    fn describe_settled(&self, subject: &Object) -> String {
        format!("{subject} has replaced all its pods; verifying that the new pods stay clear")
    }
}
