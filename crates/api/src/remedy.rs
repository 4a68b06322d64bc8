//! What can be done about a sick target: one kind of action a step.

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What can be done.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.deletePod), has(self.rolloutRestart), has(self.scale)].filter(given, given).size() == 1").message("exactly one kind of action must be given: deletePod, rolloutRestart or scale"))]
pub struct Action {
    /// Removes the pod, so that its controller makes another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_pod: Option<DeletePod>,
    /// Replaces all pods of the workload behind the target, as its own update strategy says: a Deployment, StatefulSet or DaemonSet. The step is skipped for others, and for workloads whose rollout is paused or partitioned or whose pods are only replaced when deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_restart: Option<RolloutRestart>,
    /// Changes how many replicas the workload behind the target has: a Deployment or StatefulSet. The step is skipped for others, and where the number is as far as it may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
}

/// Removes a pod.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletePod {
    /// How the pod is removed: Evict (the default) honours PodDisruptionBudgets, Delete does not.
    #[serde(default)]
    pub disruption: Disruption,
    /// How many seconds the pod gets to end by itself, from 1 to 3600; the pod's own grace period when left out. Zero is not taken: it would free the pod's name while its processes may still run.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
}

/// How a pod is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Disruption {
    /// Through the eviction API, which honours `PodDisruptionBudgets`.
    #[default]
    Evict,
    /// By deleting it, whatever a `PodDisruptionBudget` says.
    Delete,
}

/// Replaces all pods of a workload.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRestart {}

/// Changes how many replicas a workload has.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.by) != has(self.to)").message("exactly one of by and to must be given"),
    validation = Rule::new("!has(self.by) || self.by != 0").message("by must not be 0, for that changes nothing"),
    validation = Rule::new("self.min <= self.max").message("min must not be more than max"),
    validation = Rule::new("!has(self.to) || (self.to >= self.min && self.to <= self.max)").message("to must lie between min and max")
)]
pub struct Scale {
    /// By how many replicas the number changes, from -1000 to 1000 and not 0; at most up to max and down to min. Exactly one of by and to must be given.
    #[schemars(range(min = -1000, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<i32>,
    /// The number of replicas that the workload is to have, from 1 to 10000 and between min and max. Exactly one of by and to must be given.
    #[schemars(range(min = 1, max = 10000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i32>,
    /// The fewest replicas that this step may leave, from 1 to 10000, 1 by default. A workload that has no more is not scaled down.
    #[serde(default = "default_min")]
    #[schemars(range(min = 1, max = 10000))]
    pub min: i32,
    /// The most replicas that this step may ask for, from 1 to 10000. A workload that has no fewer is not scaled up.
    #[schemars(range(min = 1, max = 10000))]
    pub max: i32,
    /// What is done where a HorizontalPodAutoscaler owns the number of replicas: Refuse (the default) skips the step, RaiseMinimum raises the autoscaler's minReplicas instead, at most up to its maxReplicas. An autoscaler that something else controls is never changed.
    #[serde(default)]
    pub autoscaler: AutoscalerRule,
}

fn default_min() -> i32 {
    1
}

/// What is done where an autoscaler owns the number of replicas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AutoscalerRule {
    /// The step is skipped.
    #[default]
    Refuse,
    /// The autoscaler's `minReplicas` is raised.
    RaiseMinimum,
}
