//! `HealingAction`: the record of one decision to act. Creating it spends budget;
//! its spec never changes; its status is written by the executor alone.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::core::{ListMerge, Rule};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{DeletePod, Duration, Mode, RolloutRestart};

/// The record of one decision to act.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "prunella.dev",
    version = "v1alpha1",
    kind = "HealingAction",
    plural = "healingactions",
    shortname = "hact",
    category = "healing",
    namespaced,
    status = "HealingActionStatus",
    derive = "PartialEq",
    doc = "The record of one decision to act on a sick target: what is done, why, and what came of it. Only the controller creates and changes it; limits are counted from these objects.",
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policy.name"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.target.name"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.actionName"),
    printcolumn(name = "Rung", type_ = "integer", json_path = ".spec.rung"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.conditions[?(@.type==\"Progressing\")].reason"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.policy.name",
    selectable = ".spec.subject.uid",
    selectable = ".status.outcome"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("the spec of a HealingAction never changes: it is the record of a decision"))]
pub struct HealingActionSpec {
    /// The policy that decided.
    pub policy: PolicyReference,
    /// Whether the action may be carried out: DryRun is a record only, Enforce acts.
    pub mode: Mode,
    /// The number of the action within its policy, at least 1.
    #[schemars(range(min = 1))]
    pub sequence: i64,
    /// The object that is sick, and that is acted on unless the action is one on its workload.
    #[schemars(schema_with = "target_schema")]
    pub target: ActionTarget,
    /// The stable object behind the target, to which histories are laid and on which actions on workloads act: the top controller of a pod, else the target itself.
    #[schemars(schema_with = "subject_schema")]
    pub subject: ActionTarget,
    /// The kind of action, like DeletePod, at most 32 characters.
    #[schemars(length(max = 32))]
    pub action_name: String,
    /// What is done, with absolute parameters.
    pub action: RecordedAction,
    /// The steps of the ladder that were passed over because they do not apply to the target, at most 10.
    #[schemars(length(max = 10))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedStep>,
    /// How long, after its replacement stands, the target may take to be clear, as the policy says or by default.
    pub verify_within: Duration,
    /// Which step of the ladder this is, from 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub rung: i32,
    /// Which attempt on that step this is, from 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub attempt: i32,
    /// What was seen that led to the decision.
    pub evidence: ActionEvidence,
    /// After this time the action does not begin any more: two intervals after it was reserved,
    /// at least 10 seconds.
    pub start_by: Time,
}

/// The policy that decided, so that a namesake cannot be taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReference {
    /// The name of the policy, which lies in the same namespace, at most 40 characters.
    #[schemars(length(max = 40))]
    pub name: String,
    /// The uid of the policy, at most 64 characters.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The generation of the policy's spec at the time of the decision.
    pub generation: i64,
    /// A digest of the policy's condition, target and steps at the time of the decision, at most 64 characters.
    #[schemars(length(max = 64))]
    pub hash: String,
}

/// What is done, with absolute parameters: nothing that could mean something else when
/// it is done twice.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.deletePod), has(self.rolloutRestart), has(self.scale)].filter(given, given).size() == 1").message("exactly one kind of action must be given: deletePod, rolloutRestart or scale"))]
pub struct RecordedAction {
    /// Removes the target, so that its controller makes another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_pod: Option<DeletePod>,
    /// Replaces all pods of the subject. It is done when its pod template bears this action's uid in the annotation prunella.dev/restarted-by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_restart: Option<RolloutRestart>,
    /// Changes how many replicas the subject has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<RecordedScale>,
}

/// A change of a number from one value to another; with a third value somebody else
/// has changed it, and it is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedScale {
    /// The number when it was decided, from 0 to 100000: the subject's spec.replicas, or the autoscaler's spec.minReplicas.
    #[schemars(range(min = 0, max = 100_000))]
    pub from: i32,
    /// The number to be written, from 1 to 100000.
    #[schemars(range(min = 1, max = 100_000))]
    pub to: i32,
    /// The HorizontalPodAutoscaler whose minimum is raised; absent when the subject itself is scaled.
    #[schemars(schema_with = "autoscaler_schema")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<ActionTarget>,
}

/// A step that does not apply to a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkippedStep {
    /// Which step of the ladder was passed over, from 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub rung: i32,
    /// The kind of action, like Scale, at most 32 characters.
    #[schemars(length(max = 32))]
    pub action_name: String,
    /// Why it does not apply, in one word like AtMaximum, at most 64 characters.
    #[schemars(length(max = 64))]
    pub reason: String,
}

/// An object, so that a namesake cannot be taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTarget {
    /// The kind of the object.
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// The uid of the object.
    pub uid: String,
}

fn target_schema(_: &mut SchemaGenerator) -> Schema {
    object_schema("target")
}

fn subject_schema(_: &mut SchemaGenerator) -> Schema {
    object_schema("subject")
}

fn autoscaler_schema(_: &mut SchemaGenerator) -> Schema {
    object_schema("autoscaler")
}

/// The schema of an [`ActionTarget`]. Written out, because a derived one tells of target
/// and subject in the same words.
fn object_schema(whose: &str) -> Schema {
    let text = |what: &str, longest: u16| {
        let description = format!("The {what} of the {whose}, at most {longest} characters.");
        json!({"type": "string", "maxLength": longest, "description": description})
    };
    json_schema!({
        "type": "object",
        "required": ["kind", "name", "uid"],
        "properties": {"kind": text("kind", 63), "name": text("name", 253), "uid": text("uid", 64)},
    })
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionEvidence {
    /// The query that was asked, at most 4096 characters.
    #[schemars(length(max = 4096))]
    pub query: String,
    /// The value of the worst series that named the target, as a decimal number of at most 32 characters.
    #[schemars(length(max = 32))]
    pub value: String,
    /// The labels of that series, at most 64.
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Since when the target had been sick.
    pub since: Time,
    /// When the newest answer came.
    pub observed_at: Time,
}

/// How far the action has come.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealingActionStatus {
    /// Progressing, whose reason is the state: Pending, Running, Settling, Verifying, or the outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::condition::conditions_schema")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// When the action was begun, before the first effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the effect was seen in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed_at: Option<Time>,
    /// Until when the replacement must stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_by: Option<Time>,
    /// When the replacement was seen standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Time>,
    /// Until when the target must be clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_by: Option<Time>,
    /// When the action was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What holds the action up at this moment, like DisruptionBudget.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// How it ended: Succeeded, Failed, Inconclusive, Superseded, Cancelled, Expired or DryRun.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why it ended so, in one word.
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
    /// The request, like create pods/eviction.
    #[schemars(length(max = 128))]
    pub request: String,
    /// The object it went to, as Kind/name.
    #[schemars(length(max = 320))]
    pub object: String,
}
