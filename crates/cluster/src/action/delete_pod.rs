//! `deletePod` in the cluster: one eviction or one deletion, bound to the pod's uid.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Status};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use prunella_api::{DeletePod, Disruption, ProtectedPods, RecordedAction};
use prunella_core::action::{Action, ActionSpec, PodRemoval, ProtectedPod, Removal};
use prunella_core::execute::LiveField;
use prunella_core::target::{Object, Uid};

use super::{ActionProgress, AutoscalerMinimum, Destination, InCluster, written};
use crate::ClusterError;
use crate::live::WorkloadReading;

pub(super) fn wanted(action: &DeletePod) -> ActionSpec {
    ActionSpec::DeletePod(removal(action))
}

pub(super) fn from_record(action: &DeletePod) -> Action {
    Action::DeletePod(removal(action))
}

fn removal(action: &DeletePod) -> PodRemoval {
    let removal = match action.disruption {
        Disruption::Evict => Removal::Evict,
        Disruption::Delete => Removal::Delete,
    };
    let protected = match action.protected_pods {
        ProtectedPods::Skip => ProtectedPod::Skip,
        ProtectedPods::Remove => ProtectedPod::Remove,
    };
    PodRemoval { removal, grace: action.grace_period_seconds.map(SignedDuration::from_secs), protected }
}

impl InCluster for PodRemoval {
    fn to_record(&self, _: &str) -> RecordedAction {
        let disruption = match self.removal {
            Removal::Evict => Disruption::Evict,
            Removal::Delete => Disruption::Delete,
        };
        let protected_pods = match self.protected {
            ProtectedPod::Skip => ProtectedPods::Skip,
            ProtectedPod::Remove => ProtectedPods::Remove,
        };
        let grace_period_seconds = self.grace.map(|grace| grace.as_secs());
        let delete_pod = Some(DeletePod { disruption, grace_period_seconds, protected_pods });
        RecordedAction { delete_pod, ..RecordedAction::default() }
    }

    fn progress(&self, workload: &WorkloadReading, _: Option<AutoscalerMinimum>, _: &Uid) -> ActionProgress {
        ActionProgress {
            restored: workload.ready >= workload.wanted,
            field: LiveField::None,
            version: workload.version.clone(),
            changed_by: None,
        }
    }
}

pub(super) async fn evict(
    to: Destination<'_>,
    pod: &Object,
    grace: Option<SignedDuration>,
) -> Result<(), ClusterError> {
    // kube's own `evict` sends its delete options in a form that the API server ignores.
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(pod.name.clone()),
            namespace: Some(to.namespace.to_owned()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            grace_period_seconds: grace.map(|grace| grace.as_secs()),
            preconditions: Some(Preconditions { uid: Some(pod.uid.to_string()), resource_version: None }),
            ..DeleteOptions::default()
        }),
    };
    let (pods, params) = (to.api::<Pod>(), PostParams::default());
    written(pods.create_subresource::<Eviction, Status>("eviction", &pod.name, &params, &eviction)).await
}

pub(super) async fn delete(
    to: Destination<'_>,
    pod: &Object,
    grace: Option<SignedDuration>,
) -> Result<(), ClusterError> {
    let params = DeleteParams {
        grace_period_seconds: grace.and_then(|grace| u32::try_from(grace.as_secs()).ok()),
        preconditions: Some(kube::api::Preconditions { uid: Some(pod.uid.to_string()), resource_version: None }),
        ..DeleteParams::default()
    };
    written(to.api::<Pod>().delete(&pod.name, &params)).await
}
