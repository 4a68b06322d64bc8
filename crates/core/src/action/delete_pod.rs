//! `deletePod`: removes one pod, so that its controller replaces it. Done when the pod's uid
//! is gone or being deleted.

use std::ops::RangeInclusive;

use jiff::SignedDuration;

use super::{Action, ActionScope, Applicability, Behaviour, CatalogueEntry, Inapplicable};
use crate::execute::{ActionWorld, Effect, EffectState, LiveTarget};
use crate::target::{Object, Target, Uid};

pub(super) const ENTRY: CatalogueEntry = CatalogueEntry {
    name: "DeletePod",
    field: "deletePod",
    file: "delete_pod",
    kinds: &[],
    rights: &["evict", "delete"],
};

/// Kubernetes' default grace period, for a pod that has none.
const DEFAULT_GRACE: SignedDuration = SignedDuration::from_secs(30);
/// Time to schedule, pull and start a replacement.
const REPLACEMENT_READY_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// The grace periods that a request of Prunella may carry. A pod with another one keeps its own: a
/// shorter one would cut its end short, and zero frees its name while its processes still run.
const RECORDABLE_GRACE: RangeInclusive<SignedDuration> = SignedDuration::from_secs(1)..=SignedDuration::from_hours(1);

/// How a pod is removed, and how long it gets to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodRemoval {
    /// How the pod is removed.
    pub removal: Removal,
    /// Replaces the pod's own grace period.
    pub grace: Option<SignedDuration>,
    /// What is done to a pod whose owner asks not to evict it.
    pub protected: ProtectedPod,
}

/// What is done to a pod whose owner asks not to evict it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtectedPod {
    /// It stays, and the step is skipped.
    Skip,
    /// It is removed like any other.
    Remove,
}

/// How a pod is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Through the eviction API, which honours `PodDisruptionBudget`s.
    Evict,
    /// By deleting it, regardless of any `PodDisruptionBudget`.
    Delete,
}

impl Applicability for PodRemoval {
    fn entry(&self) -> &'static CatalogueEntry {
        &ENTRY
    }

    fn resolve(&self, target: &Target) -> Result<Action, Inapplicable> {
        if target.protected_by.is_some() && self.protected == ProtectedPod::Skip {
            return Err(Inapplicable::ProtectedPod);
        }
        // The pod's own grace period is recorded too, if a record may hold it.
        let grace = self.grace.or(target.grace.filter(|grace| RECORDABLE_GRACE.contains(grace)));
        Ok(Action::DeletePod(Self { grace, ..*self }))
    }
}

impl Behaviour for PodRemoval {
    fn entry(&self) -> &'static CatalogueEntry {
        &ENTRY
    }

    fn scope(&self) -> ActionScope {
        ActionScope::Replacement
    }

    fn ready_at_least(&self) -> SignedDuration {
        REPLACEMENT_READY_WITHIN
    }

    fn ends_within(&self) -> SignedDuration {
        self.grace.unwrap_or(DEFAULT_GRACE)
    }

    fn effect(&self, _: &Uid) -> Effect {
        match self.removal {
            Removal::Evict => Effect::EvictPod { grace: self.grace },
            Removal::Delete => Effect::DeletePod { grace: self.grace },
        }
    }

    fn effect_state(&self, world: &ActionWorld) -> EffectState {
        match world.target {
            LiveTarget::Gone | LiveTarget::Terminating => EffectState::InPlace,
            _ => EffectState::Absent,
        }
    }

    fn describe_executed(&self, target: &Object, subject: &Object) -> String {
        if subject.native_kind().is_empty() {
            return format!("{target} is being removed; waiting until {subject} has a Ready replacement pod");
        }
        format!("{target} is being removed; waiting until {subject} has as many Ready pods as before")
    }

    /// Of an owner of an unknown kind, only a replacement is seen. Another workload may be whole
    /// without one, or lack pods that were not Ready before either.
    fn describe_settled(&self, subject: &Object) -> String {
        let has =
            if subject.native_kind().is_empty() { "a Ready replacement pod" } else { "as many Ready pods as before" };
        format!("{subject} has {has}; verifying that its new pods stay clear")
    }
}
