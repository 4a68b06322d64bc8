//! What can be done about an unhealthy target.
//!
//! A step says what it wants of any target ([`ActionSpec`]). For one target at one instant
//! that becomes an [`Action`] with absolute parameters, so that doing it twice has the same
//! effect as doing it once; or the step does not apply, and the reason is recorded.
//!
//! Each kind of action has one file here, which implements [`Applicability`] for what is
//! wanted and [`Behaviour`] for what is done, and one row in [`CATALOGUE`]. To add an action,
//! see CONTRIBUTING.md.

mod applicability;
mod delete_pod;
mod rollout_restart;
mod scale;

use jiff::SignedDuration;

use crate::execute::{ActionWorld, Effect, EffectState};
use crate::readiness::ReadyTimes;
use crate::target::{Object, Target, Uid};

pub use applicability::Inapplicable;
pub use delete_pod::{PodRemoval, ProtectedPod, Removal};
pub use rollout_restart::Restart;
pub use scale::{ReplicaChange, ScaleSpec, Towards};

/// One kind of action, as documentation, rights and tests refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The name in records, columns, Events and metrics.
    pub name: &'static str,
    /// The field of `spec.steps[].action` that asks for it.
    pub field: &'static str,
    /// The file of this name in `crates/{api,core,cluster}/src/action/`, without `.rs`.
    pub file: &'static str,
    /// The kinds of workloads whose targets it applies to. Empty: all.
    pub kinds: &'static [&'static str],
    /// The components in `deploy/kustomize/actions` that grant its rights.
    pub rights: &'static [&'static str],
}

/// Every kind of action. Documentation, rights and the tests that break things on purpose
/// are checked against it.
pub const CATALOGUE: [CatalogueEntry; 3] = [delete_pod::ENTRY, rollout_restart::ENTRY, scale::ENTRY];

/// What a step wants of any target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionSpec {
    /// Remove the pod; its controller replaces it.
    DeletePod(PodRemoval),
    /// Replace all pods of the workload.
    RolloutRestart(Restart),
    /// Change the number of replicas of the workload.
    Scale(ScaleSpec),
}

/// What is done to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Remove the pod; its controller replaces it.
    DeletePod(PodRemoval),
    /// Replace all pods of the workload.
    RolloutRestart(Restart),
    /// Change a number of replicas from one value to another.
    Scale(ReplicaChange),
}

/// What the ladder asks of a kind of action.
pub trait Applicability {
    /// The row of this kind of action.
    fn entry(&self) -> &'static CatalogueEntry;

    /// What to do to `target` in its present state.
    ///
    /// # Errors
    /// Why the step does not apply to it.
    fn resolve(&self, target: &Target) -> Result<Action, Inapplicable>;
}

/// What the write protocol asks of a kind of action.
pub trait Behaviour {
    /// The row of this kind of action.
    fn entry(&self) -> &'static CatalogueEntry;

    /// What it touches, and which pods show whether it helped.
    fn scope(&self) -> ActionScope;

    /// How long pods may take to become Ready at least, whatever their owner allows: the time to
    /// schedule them and to pull their images.
    fn ready_at_least(&self) -> SignedDuration;

    /// How long the target may take to end before its replacement can start.
    fn ends_within(&self) -> SignedDuration {
        SignedDuration::ZERO
    }

    /// The write that executes the action whose record has the uid `mark`.
    fn effect(&self, mark: &Uid) -> Effect;

    /// Whether the world shows the effect. Called only while the workload exists, if the
    /// action touches the workload.
    fn effect_state(&self, world: &ActionWorld) -> EffectState;

    /// What was executed and what the action waits for, for people.
    fn describe_executed(&self, target: &Object, subject: &Object) -> String;

    /// What is ready and what is verified now, for people.
    fn describe_settled(&self, subject: &Object) -> String;
}

/// What an action touches, and which pods show whether it helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionScope {
    /// One pod. Its replacement shows whether it helped.
    Replacement,
    /// The whole workload. The pods created since then show it.
    NewPods,
    /// The whole workload. All its pods show it, old and new.
    AllPods,
}

impl ActionScope {
    /// Whether the action touches the workload and not only one pod.
    #[must_use]
    pub fn is_workload(self) -> bool {
        match self {
            Self::Replacement => false,
            Self::NewPods | Self::AllPods => true,
        }
    }
}

impl ActionSpec {
    fn applicability(&self) -> &dyn Applicability {
        match self {
            Self::DeletePod(spec) => spec,
            Self::RolloutRestart(spec) => spec,
            Self::Scale(spec) => spec,
        }
    }

    /// The action's name as columns, Events and metrics show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.applicability().entry().name
    }

    /// What to do to `target` in its present state.
    ///
    /// # Errors
    /// Why the step does not apply to it.
    pub fn resolve(&self, target: &Target) -> Result<Action, Inapplicable> {
        self.applicability().resolve(target)
    }
}

impl Action {
    /// What the write protocol asks of it.
    #[must_use]
    pub fn behaviour(&self) -> &dyn Behaviour {
        match self {
            Self::DeletePod(action) => action,
            Self::RolloutRestart(action) => action,
            Self::Scale(action) => action,
        }
    }

    /// The action's name as columns, Events and metrics show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.behaviour().entry().name
    }

    /// What it touches, and which pods show whether it helped.
    #[must_use]
    pub fn scope(&self) -> ActionScope {
        self.behaviour().scope()
    }

    /// Whether it must not touch a pod whose owner asks not to evict it.
    #[must_use]
    pub fn keeps_protected_pods(&self) -> bool {
        matches!(self, Self::DeletePod(PodRemoval { protected: ProtectedPod::Skip, .. }))
    }

    /// How long pods may take to become Ready. `asked` is what the policy asks for.
    #[must_use]
    pub fn ready_within(&self, times: ReadyTimes, asked: Option<SignedDuration>) -> SignedDuration {
        times.ready_within(self.behaviour().ready_at_least(), asked)
    }

    /// How long it may take from its effect until the workload has its Ready pods again.
    #[must_use]
    pub fn settle_within(&self, times: ReadyTimes, asked: Option<SignedDuration>) -> SignedDuration {
        self.behaviour().ends_within().checked_add(self.ready_within(times, asked)).unwrap_or(SignedDuration::MAX)
    }
}

/// Time to schedule, pull and start several pods one after the other. Kubernetes uses the
/// same default for a rollout without progress.
const WORKLOAD_READY_WITHIN: SignedDuration = SignedDuration::from_mins(10);
