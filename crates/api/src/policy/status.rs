//! `status` of a `HealingPolicy`: what the controller sees, does and does not do, and why.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as StatusCondition, Time};
use kube::KubeSchema;
use kube::core::ListMerge;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the controller sees, does, and does not do, and why.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealingPolicyStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A digest of condition, target and steps. If it changes, the timers in this status no longer apply.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Ready, Stalled, Observed, Healthy, Healing and Blocked, each with a reason and a message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::condition::conditions_schema")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<StatusCondition>,
    /// How many targets are in which state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetCounts>,
    /// The targets that are unhealthy or pending, at most 100: first those that are being acted on, then the ones that have been breached longest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["uid".into()]))]
    pub unhealthy: Vec<UnhealthyTarget>,
    /// How many unhealthy targets each guardrail holds back. TooYoung also counts breached targets that are not judged yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["reason".into()]))]
    pub blocked: Vec<RefusalCount>,
    /// The current storm: more targets are breached than maxUnhealthy allows, or were within the last stormCooldown. Absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<StormStatus>,
    /// The newest action of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_action: Option<ActionSummary>,
}

/// The current storm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StormStatus {
    /// Since when more targets have been breached than maxUnhealthy allows.
    pub since: Time,
    /// The newest HealingAction of this storm: the probe that shows whether acting helps.
    #[schemars(length(max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
}

/// How many targets are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCounts {
    /// How many objects the selector selects.
    pub selected: i32,
    /// How many targets are breached, but not yet for condition.for.
    pub pending: i32,
    /// How many targets have been breached for at least condition.for, whether an action runs or not.
    pub firing: i32,
    /// How many actions have been executed and are being verified.
    pub verifying: i32,
    /// How many unhealthy targets have used up every step of the ladder.
    #[serde(default)]
    pub exhausted: i32,
}

/// A target that is unhealthy or pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnhealthyTarget {
    /// The uid of the object.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The name of the object.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Pending, Firing, Acting, Settling, Verifying or Exhausted.
    #[schemars(length(max = 32))]
    pub state: String,
    /// Since when the target has been breached. Time without an answer does not count: it moves this time forward.
    pub since: Time,
    /// The value of the query when the target entered this state, as a decimal number.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_at_transition: Option<String>,
    /// The step of the action in flight.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Which attempt of that step it is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// The HealingAction in flight for this target.
    #[schemars(length(max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The first guardrail that holds a firing target back. Absent for a pending target: no action is due.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// When that guardrail ends, if that is known. Another guardrail may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_until: Option<Time>,
}

/// How many targets one guardrail holds back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalCount {
    /// The guardrail that holds them back.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// How many unhealthy targets it holds back as the first guardrail.
    pub count: i32,
}

/// The newest action in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionSummary {
    /// The name of the HealingAction, which has all details.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The kind of action, for example DeletePod.
    #[schemars(length(max = 32))]
    pub action: String,
    /// The target, as Kind/name.
    #[schemars(length(max = 320))]
    pub target: String,
    /// When the action was reserved.
    pub time: Time,
    /// How it ended. Absent while it is in flight.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why it ended that way, in one word. Absent while it is in flight.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome_reason: Option<String>,
    /// How and why it ended, in one sentence. The HealingAction's status.message may say more.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
