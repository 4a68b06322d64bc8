//! `deletePod`: removes a pod.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Removes a pod.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletePod {
    /// How the pod is removed. Evict honours PodDisruptionBudgets, Delete does not. Default: Evict.
    #[serde(default)]
    pub disruption: Disruption,
    /// How many seconds the pod gets to end by itself, from 1 to 3600. Default: the pod's own grace period. Zero is not allowed: it frees the pod's name while its processes may still run.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    /// What to do to a pod with the annotation cluster-autoscaler.kubernetes.io/safe-to-evict: "false" or karpenter.sh/do-not-disrupt: "true", with which its owner asks not to evict it. Skip skips the step. Remove removes the pod like any other. Default: Skip.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub protected_pods: ProtectedPods,
}

/// What to do to a pod whose owner asks not to evict it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProtectedPods {
    /// Skip the step.
    #[default]
    Skip,
    /// Remove the pod like any other.
    Remove,
}

/// How a pod is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Disruption {
    /// Through the eviction API, which honours `PodDisruptionBudget`s.
    #[default]
    Evict,
    /// By deleting it, regardless of any `PodDisruptionBudget`.
    Delete,
}
