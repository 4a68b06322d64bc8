//! What a policy may ask for ([`StepAction`]), and what a record says is done
//! ([`RecordedAction`]). Each kind of action has a file here, and a file of the same
//! name in `crates/core/src/action` and `crates/cluster/src/action`.

mod delete_pod;
mod rollout_restart;
mod scale;

use kube::KubeSchema;
use kube::core::Rule;
use serde::{Deserialize, Serialize};

pub use delete_pod::{DeletePod, Disruption, ProtectedPods};
pub use rollout_restart::RolloutRestart;
pub use scale::{AutoscalerRule, RecordedScale, Scale, VolumeLossRule};

/// Whether a value is the default of its type, which is not written out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a step does.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.deletePod), has(self.rolloutRestart), has(self.scale)].filter(given, given).size() == 1").message("give exactly one kind of action: deletePod, rolloutRestart or scale"))]
pub struct StepAction {
    /// Removes the pod, so that its controller replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_pod: Option<DeletePod>,
    /// Replaces all pods of the target's workload, following the workload's own update strategy: a Deployment, StatefulSet or DaemonSet. The step is skipped for other kinds, for a paused or partitioned rollout, where pods are replaced only when they are deleted, and where a restart would hang.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_restart: Option<RolloutRestart>,
    /// Changes the number of replicas of the target's workload: a Deployment or StatefulSet. The step is skipped for other kinds, where the number is already at its limit or another tool owns it, and where scaling down deletes volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
}

/// What is done, with absolute parameters: doing it twice has the same effect as doing
/// it once.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.deletePod), has(self.rolloutRestart), has(self.scale)].filter(given, given).size() == 1").message("give exactly one kind of action: deletePod, rolloutRestart or scale"))]
pub struct RecordedAction {
    /// Removes the target, so that its controller replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_pod: Option<DeletePod>,
    /// Replaces all pods of the subject. The change is made when the subject's pod template has this action's uid in the annotation prunella.dev/restarted-by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_restart: Option<RolloutRestart>,
    /// Changes the number of replicas of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<RecordedScale>,
}
