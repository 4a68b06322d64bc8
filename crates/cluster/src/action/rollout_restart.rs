//! `rolloutRestart` in the cluster: one patch of the pod template, bound to the workload's
//! uid and version.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::Patch;
use prunella_api::{RESTARTED_BY_ANNOTATION, RecordedAction, RolloutRestart};
use prunella_core::action::{Action, ActionSpec, Restart};
use prunella_core::execute::LiveField;
use prunella_core::target::{Object, Uid};
use serde_json::json;

use super::{ActionProgress, AutoscalerMinimum, Destination, InCluster, patch_params, written};
use crate::ClusterError;
use crate::live::WorkloadReading;

pub(super) fn wanted(_: &RolloutRestart) -> ActionSpec {
    ActionSpec::RolloutRestart(Restart)
}

pub(super) fn from_record(_: &RolloutRestart) -> Action {
    Action::RolloutRestart(Restart)
}

impl InCluster for Restart {
    fn to_record(&self, _: &str) -> RecordedAction {
        RecordedAction { rollout_restart: Some(RolloutRestart {}), ..RecordedAction::default() }
    }

    fn progress(&self, workload: &WorkloadReading, _: Option<AutoscalerMinimum>, mark: &Uid) -> ActionProgress {
        ActionProgress {
            restored: workload.is_rolled_out,
            field: LiveField::Restarted { by_this: workload.mark.as_deref() == Some(mark.as_str()) },
            version: workload.version.clone(),
            changed_by: workload.template_by.clone(),
        }
    }
}

/// Marks the pod template. The same mark a second time changes nothing. The uid, which
/// cannot be changed, makes the API server refuse another object of the same name.
pub(super) async fn restart(to: Destination<'_>, workload: &Object, mark: &Uid) -> Result<(), ClusterError> {
    let patch = Patch::Merge(json!({
        // A null version removes nothing here: it means that no version is required.
        "metadata": {"uid": workload.uid.as_str(), "resourceVersion": to.version},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_BY_ANNOTATION: mark.as_str()}}}},
    }));
    let (name, params) = (workload.name.as_str(), patch_params());
    match workload.native_kind() {
        "Deployment" => written(to.api::<Deployment>().patch(name, &params, &patch)).await,
        "StatefulSet" => written(to.api::<StatefulSet>().patch(name, &params, &patch)).await,
        "DaemonSet" => written(to.api::<DaemonSet>().patch(name, &params, &patch)).await,
        _ => Err(ClusterError::NoSuchAction(workload.kind.clone())),
    }
}
