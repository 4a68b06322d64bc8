//! `HealingAction`: the record of one decision to act. Creating it spends budget. Its
//! spec never changes. Only the action reconciler writes its status.

mod evidence;
mod reference;
mod status;

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{Duration, Mode, RecordedAction};

pub use evidence::{ActionEvidence, PromqlEvidence};
pub(crate) use reference::autoscaler_schema;
pub use reference::{ActionTarget, PolicyKind, PolicyReference};
use reference::{subject_schema, target_schema};
pub use status::{HealingActionStatus, Write};

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
    doc = "The record of one decision to act on an unhealthy target: what is done, why, and with what result. Only the controller creates and changes it. Limits are counted from these objects.",
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policy.name"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.target.name"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.actionName"),
    printcolumn(name = "Step", type_ = "string", json_path = ".spec.step"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.conditions[?(@.type==\"Progressing\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.outcomeReason", priority = "1"),
    selectable = ".spec.policy.kind",
    selectable = ".spec.policy.name",
    selectable = ".spec.subject.uid",
    selectable = ".status.outcome"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("the spec of a HealingAction never changes: it records a decision"))]
pub struct HealingActionSpec {
    /// The policy that decided.
    pub policy: PolicyReference,
    /// The policy's mode: DryRun is only a record, Enforce acts.
    pub mode: Mode,
    /// The number of the action within its policy, from 1.
    #[schemars(range(min = 1))]
    pub sequence: i64,
    /// The unhealthy object. It is acted on, unless the action acts on its workload.
    #[schemars(schema_with = "target_schema")]
    pub target: ActionTarget,
    /// The stable object behind the target: the top controller of a pod, otherwise the target itself. Actions on workloads act on it, and limits per workload are counted by it.
    #[schemars(schema_with = "subject_schema")]
    pub subject: ActionTarget,
    /// The kind of action, for example DeletePod, at most 32 characters.
    #[schemars(length(max = 32))]
    pub action_name: String,
    /// What is done, with absolute parameters.
    pub action: RecordedAction,
    /// The step of the policy's ladder that this action belongs to, at most 32 characters.
    #[schemars(length(max = 32))]
    pub step: String,
    /// The position of that step on the ladder, from 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub step_number: i32,
    /// Which attempt of that step this is, from 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub attempt: i32,
    /// The steps that were skipped because they do not apply to the target, at most 10.
    #[schemars(length(max = 10))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedStep>,
    /// How long the target may take to become clear after its replacement is ready: the policy's value or its default.
    pub verify_within: Duration,
    /// How long pods may take to become Ready after the action. Absent for policies that do not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_within: Option<Duration>,
    /// What was observed that led to the decision.
    pub evidence: ActionEvidence,
    /// The action does not start after this time: two intervals after it was reserved, at
    /// least 10 seconds.
    pub start_by: Time,
}

/// A step that does not apply to a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkippedStep {
    /// The name of the step, at most 32 characters.
    #[schemars(length(max = 32))]
    pub step: String,
    /// The position of the step on the ladder, from 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub step_number: i32,
    /// The kind of action, for example Scale, at most 32 characters.
    #[schemars(length(max = 32))]
    pub action_name: String,
    /// Why the step does not apply, in one word, for example AtMaximum, at most 64 characters.
    #[schemars(length(max = 64))]
    pub reason: String,
}
