//! `status` of a `HealingAction`: how far it has come.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use kube::core::ListMerge;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the action has come.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealingActionStatus {
    /// Progressing. Its reason is the state: Pending, Running, Settling, Verifying, or the outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::condition::conditions_schema")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// When the action started, before its first effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the controller last saw that the change was not made yet. Pods that were created before this time do not count as a result of the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed_after: Option<Time>,
    /// When the controller saw that the change was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed_at: Option<Time>,
    /// The deadline for the workload to be ready again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_by: Option<Time>,
    /// When the workload was seen ready again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Time>,
    /// Until when the target must be clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_by: Option<Time>,
    /// When the action finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What delays the action at the moment, for example DisruptionBudget.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// How the action ended: Succeeded, Failed, Inconclusive, Superseded, Cancelled, Expired or DryRun.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why it ended that way, in one word.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome_reason: Option<String>,
    /// What happened, in one sentence.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was written to the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub writes: Vec<Write>,
}

/// One write to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// The request, for example create pods/eviction.
    #[schemars(length(max = 128))]
    pub request: String,
    /// The object that it was sent to, as Kind/name.
    #[schemars(length(max = 320))]
    pub object: String,
}
