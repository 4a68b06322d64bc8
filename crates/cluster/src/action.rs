//! The kinds of actions in the cluster. Each has one file here: how a policy asks for it,
//! how a record stores it, what to read before it, and the request that executes it.

mod delete_pod;
mod rollout_restart;
mod scale;

use std::time::Duration;

use kube::api::PatchParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client};
use prunella_api::{ActionTarget, FIELD_MANAGER, RecordedAction, StepAction};
use prunella_core::action::{Action, ActionSpec};
use prunella_core::execute::{Effect, LiveField};
use prunella_core::target::{Object, Uid};

use crate::live::{FieldWriter, WorkloadReading};
use crate::{ClusterError, within};

pub(crate) use scale::AutoscalerMinimum;

/// How long a write may take. After that its result is unknown and is read from the world.
/// Not longer than what is left of the lease, by default, when the leader stops acting.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// Why an action of a policy or a record cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// None, or more than one.
    #[error("give exactly one kind of action: deletePod, rolloutRestart or scale")]
    NotOneKind,
    /// Neither or both.
    #[error("scale: give exactly one of by and to")]
    NotOneNumber,
}

/// What a step of a policy wants.
///
/// # Errors
/// When it is not exactly one action that this version knows.
pub fn wanted(action: &StepAction) -> Result<ActionSpec, ActionError> {
    let StepAction { delete_pod, rollout_restart, scale } = action;
    match (delete_pod, rollout_restart, scale) {
        (Some(action), None, None) => Ok(delete_pod::wanted(action)),
        (None, Some(action), None) => Ok(rollout_restart::wanted(action)),
        (None, None, Some(action)) => scale::wanted(action),
        _ => Err(ActionError::NotOneKind),
    }
}

/// What a record says is done.
///
/// # Errors
/// When it is not exactly one action that this version knows.
pub fn from_record(action: &RecordedAction) -> Result<Action, ActionError> {
    let RecordedAction { delete_pod, rollout_restart, scale } = action;
    match (delete_pod, rollout_restart, scale) {
        (Some(action), None, None) => Ok(delete_pod::from_record(action)),
        (None, Some(action), None) => Ok(rollout_restart::from_record(action)),
        (None, None, Some(action)) => Ok(scale::from_record(action)),
        _ => Err(ActionError::NotOneKind),
    }
}

/// What the record of an action says.
#[must_use]
pub fn to_record(action: &Action, namespace: &str) -> RecordedAction {
    in_cluster(action).to_record(namespace)
}

/// What a kind of action reads and stores.
pub(crate) trait InCluster {
    /// What the record of the action says.
    fn to_record(&self, namespace: &str) -> RecordedAction;

    /// The autoscaler that must be read beside the workload.
    fn autoscaler(&self) -> Option<&Object> {
        None
    }

    /// How far the workload has come, and what the action would write. `mark` is the uid of
    /// the action's record.
    fn progress(&self, workload: &WorkloadReading, minimum: Option<AutoscalerMinimum>, mark: &Uid) -> ActionProgress;
}

/// How far the workload has come after an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActionProgress {
    /// Whether the workload is as the action wants it.
    pub(crate) restored: bool,
    /// What the action writes, as it is now.
    pub(crate) field: LiveField,
    /// The version of the object that the action writes.
    pub(crate) version: Option<String>,
    /// The client, other than Prunella, that wrote it last.
    pub(crate) changed_by: Option<FieldWriter>,
}

/// The behaviour of an action in the cluster.
pub(crate) fn in_cluster(action: &Action) -> &(dyn InCluster + Sync) {
    match action {
        Action::DeletePod(action) => action,
        Action::RolloutRestart(action) => action,
        Action::Scale(action) => action,
    }
}

/// The request that executes an effect, as an audit log names it, and the object that it is
/// sent to.
#[must_use]
pub fn request(target: &Object, subject: &Object, effect: &Effect) -> (String, Object) {
    let resource = format!("{}s", subject.kind.to_lowercase());
    match effect {
        Effect::EvictPod { .. } => ("create pods/eviction".to_owned(), target.clone()),
        Effect::DeletePod { .. } => ("delete pods".to_owned(), target.clone()),
        Effect::Restart { .. } => (format!("patch {resource}"), subject.clone()),
        Effect::Scale { .. } => (format!("patch {resource}/scale"), subject.clone()),
        Effect::RaiseMinimum { autoscaler, .. } => ("patch horizontalpodautoscalers".to_owned(), autoscaler.clone()),
    }
}

/// Where a request is sent, and on which version of the world it was decided.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    pub(crate) client: &'a Client,
    pub(crate) namespace: &'a str,
    /// The version of the workload or autoscaler to change. If it is another one by then,
    /// nothing changes.
    pub(crate) version: Option<&'a str>,
}

impl Destination<'_> {
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), self.namespace)
    }
}

/// Sends the one request of an effect.
pub(crate) async fn send(
    to: Destination<'_>,
    target: &Object,
    subject: &Object,
    effect: &Effect,
) -> Result<(), ClusterError> {
    match effect {
        Effect::EvictPod { grace } => delete_pod::evict(to, target, *grace).await,
        Effect::DeletePod { grace } => delete_pod::delete(to, target, *grace).await,
        Effect::Restart { mark } => rollout_restart::restart(to, subject, mark).await,
        Effect::Scale { from, to: wanted } => scale::set_replicas(to, subject, *from, *wanted).await,
        Effect::RaiseMinimum { autoscaler, from, to: wanted } => {
            scale::raise_minimum(to, autoscaler, *from, *wanted).await
        }
    }
}

/// Waits for the answer to a write, and ignores its body.
async fn written<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<(), ClusterError> {
    within(WRITE_DEADLINE, request).await.map(drop)
}

fn patch_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// An object of a record.
#[must_use]
pub fn object(reference: &ActionTarget) -> Object {
    Object {
        api_version: reference.api_version.clone(),
        kind: reference.kind.clone(),
        name: reference.name.clone(),
        uid: reference.uid.clone().into(),
    }
}

/// An object of this namespace, as a record refers to it.
#[must_use]
pub fn reference(object: &Object, namespace: &str) -> ActionTarget {
    ActionTarget {
        api_version: object.api_version.clone(),
        kind: object.kind.clone(),
        namespace: Some(namespace.to_owned()),
        name: object.name.clone(),
        uid: object.uid.to_string(),
    }
}
