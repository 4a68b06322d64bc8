//! `scale` in the cluster: one JSON patch that tests uid, version and the earlier number
//! before it replaces the number, of the workload or of its autoscaler.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::Patch;
use prunella_api::{AutoscalerRule, RecordedAction, RecordedScale, Scale, VolumeLossRule};
use prunella_core::action::{Action, ActionSpec, ReplicaChange, ScaleSpec, Towards};
use prunella_core::execute::LiveField;
use prunella_core::target::{Object, Uid};
use serde_json::json;

use super::{ActionError, ActionProgress, Destination, InCluster, object, patch_params, reference, written};
use crate::ClusterError;
use crate::live::WorkloadReading;
use crate::managers::{FieldWriter, MIN_REPLICAS, changed_by};

pub(super) fn wanted(action: &Scale) -> Result<ActionSpec, ActionError> {
    let Scale { by, to, min, max, autoscaler, volume_loss } = action;
    let towards = match (*by, *to) {
        (Some(by), None) => Towards::By(by),
        (None, Some(to)) => Towards::To(to),
        _ => return Err(ActionError::NotOneNumber),
    };
    let raise_minimum = *autoscaler == AutoscalerRule::RaiseMinimum;
    let allow_volume_loss = *volume_loss == VolumeLossRule::Allow;
    Ok(ActionSpec::Scale(ScaleSpec { towards, min: *min, max: *max, raise_minimum, allow_volume_loss }))
}

pub(super) fn from_record(action: &RecordedScale) -> Action {
    let RecordedScale { from, to, autoscaler } = action;
    Action::Scale(ReplicaChange { from: *from, to: *to, autoscaler: autoscaler.as_ref().map(object) })
}

/// The minimum of an autoscaler, and the version that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AutoscalerMinimum {
    field: LiveField,
    version: Option<String>,
    changed_by: Option<FieldWriter>,
}

impl AutoscalerMinimum {
    /// The minimum of an autoscaler. `None`: it is gone, so its number is nobody's.
    pub(crate) fn of(autoscaler: Option<HorizontalPodAutoscaler>) -> Self {
        match autoscaler {
            None => Self { field: LiveField::Disowned, version: None, changed_by: None },
            // An absent minimum means 1.
            Some(autoscaler) => Self {
                field: LiveField::Count(autoscaler.spec.min_replicas.unwrap_or(1)),
                changed_by: changed_by(&autoscaler.metadata, &MIN_REPLICAS),
                version: autoscaler.metadata.resource_version,
            },
        }
    }
}

impl InCluster for ReplicaChange {
    fn to_record(&self, namespace: &str) -> RecordedAction {
        let autoscaler = self.autoscaler.as_ref().map(|autoscaler| reference(autoscaler, namespace));
        RecordedAction {
            scale: Some(RecordedScale { from: self.from, to: self.to, autoscaler }),
            ..RecordedAction::default()
        }
    }

    fn autoscaler(&self) -> Option<&Object> {
        self.autoscaler.as_ref()
    }

    fn progress(&self, workload: &WorkloadReading, minimum: Option<AutoscalerMinimum>, _: &Uid) -> ActionProgress {
        match minimum {
            None => ActionProgress {
                restored: workload.is_observed && workload.ready == workload.wanted,
                field: LiveField::Count(workload.wanted),
                version: workload.version.clone(),
                changed_by: workload.replicas_by.clone(),
            },
            Some(AutoscalerMinimum { field, version, changed_by }) => ActionProgress {
                restored: workload.is_observed && workload.wanted >= self.to && workload.ready >= workload.wanted,
                field,
                version,
                changed_by,
            },
        }
    }
}

pub(super) async fn set_replicas(
    to: Destination<'_>,
    workload: &Object,
    from: i32,
    wanted: i32,
) -> Result<(), ClusterError> {
    let patch = test_and_set(workload, to.version, "/spec/replicas", from, wanted)?;
    let (name, params) = (workload.name.as_str(), patch_params());
    match workload.native_kind() {
        "Deployment" => written(to.api::<Deployment>().patch_scale(name, &params, &patch)).await,
        "StatefulSet" => written(to.api::<StatefulSet>().patch_scale(name, &params, &patch)).await,
        _ => Err(ClusterError::NoSuchAction(workload.kind.clone())),
    }
}

pub(super) async fn raise_minimum(
    to: Destination<'_>,
    autoscaler: &Object,
    from: i32,
    wanted: i32,
) -> Result<(), ClusterError> {
    let patch = test_and_set(autoscaler, to.version, "/spec/minReplicas", from, wanted)?;
    written(to.api::<HorizontalPodAutoscaler>().patch(&autoscaler.name, &patch_params(), &patch)).await
}

/// Changes one number of one object. It changes nothing if the uid, the version or the
/// number is another one by then.
fn test_and_set(
    object: &Object,
    version: Option<&str>,
    path: &str,
    from: i32,
    to: i32,
) -> Result<Patch<()>, ClusterError> {
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": object.uid.as_str()}),
        json!({"op": "test", "path": path, "value": from}),
        json!({"op": "replace", "path": path, "value": to}),
    ];
    operations.extend(version.map(|it| json!({"op": "test", "path": "/metadata/resourceVersion", "value": it})));
    Ok(Patch::Json(serde_json::from_value(operations.into()).map_err(kube::Error::SerdeError)?))
}
