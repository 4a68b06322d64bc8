//! `scale`: changes the number of replicas of a workload.

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::healing_action::{ActionTarget, autoscaler_schema};

/// Changes the number of replicas of a workload.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.by) != has(self.to)").message("give exactly one of by and to"),
    validation = Rule::new("!has(self.by) || self.by != 0").message("by must not be 0: that changes nothing"),
    validation = Rule::new("self.min <= self.max").message("min must not be greater than max"),
    validation = Rule::new("!has(self.to) || (self.to >= self.min && self.to <= self.max)").message("to must be between min and max")
)]
pub struct Scale {
    /// How many replicas to add, or to remove if negative, from -1000 to 1000 and not 0. The result stays between min and max. Give exactly one of by and to.
    #[schemars(range(min = -1000, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<i32>,
    /// The number of replicas to set, from 1 to 10000 and between min and max. Give exactly one of by and to.
    #[schemars(range(min = 1, max = 10000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i32>,
    /// The smallest number of replicas that this step may set, from 1 to 10000. Default: 1. A workload that has this many replicas or fewer is not scaled down.
    #[serde(default = "default_min")]
    #[schemars(range(min = 1, max = 10000))]
    pub min: i32,
    /// The largest number of replicas that this step may set, from 1 to 10000. A workload that has this many replicas or more is not scaled up.
    #[schemars(range(min = 1, max = 10000))]
    pub max: i32,
    /// What to do where a HorizontalPodAutoscaler owns the number of replicas. Refuse skips the step. RaiseMinimum raises the autoscaler's minReplicas instead, up to its maxReplicas. An autoscaler that something else controls is never changed. Default: Refuse.
    #[serde(default)]
    pub autoscaler: AutoscalerRule,
    /// What to do where scaling down deletes volumes, because the StatefulSet has persistentVolumeClaimRetentionPolicy.whenScaled: Delete. Refuse skips the step. Allow scales down, and the data is lost. Default: Refuse.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub volume_loss: VolumeLossRule,
}

fn default_min() -> i32 {
    1
}

/// What to do where an autoscaler owns the number of replicas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AutoscalerRule {
    /// Skip the step.
    #[default]
    Refuse,
    /// Raise the autoscaler's `minReplicas`.
    RaiseMinimum,
}

/// What to do where scaling down deletes volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VolumeLossRule {
    /// Skip the step.
    #[default]
    Refuse,
    /// Scale down, and lose the data.
    Allow,
}

/// A change of a number from one value to another. If the number has a third value,
/// somebody else has changed it, and it is not overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedScale {
    /// The number at the time of the decision, from 0 to 100000: the subject's spec.replicas, or the autoscaler's spec.minReplicas.
    #[schemars(range(min = 0, max = 100_000))]
    pub from: i32,
    /// The number to write, from 1 to 100000.
    #[schemars(range(min = 1, max = 100_000))]
    pub to: i32,
    /// The HorizontalPodAutoscaler whose minimum is raised. Absent when the subject itself is scaled.
    #[schemars(schema_with = "autoscaler_schema")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<ActionTarget>,
}
