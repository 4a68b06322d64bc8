//! The types of `prunella.dev/v1alpha1`, their conditions and reasons. This crate has no
//! client and no async runtime, so that tools can use it cheaply.
//!
//! `kubectl explain` prints the doc comments of fields: full sentences with unit, default
//! and bounds.

#![allow(unreachable_pub, unused_imports, reason = "KubeSchema derives private twins of the public types")]
#![allow(clippy::duplicated_attributes, reason = "several validations are several attributes of one name")]
#![allow(clippy::doc_markdown, reason = "kubectl explain prints the docs of fields as plain text")]

mod action;
mod condition;
mod duration;
mod healing_action;
mod policy;
mod source;

pub use action::{
    AutoscalerRule, DeletePod, Disruption, ProtectedPods, RecordedAction, RecordedScale, RolloutRestart, Scale,
    StepAction, VolumeLossRule,
};
pub use condition::{ConditionType, set_condition};
pub use duration::{Duration, DurationError};
pub use healing_action::{
    ActionEvidence, ActionTarget, HealingAction, HealingActionSpec, HealingActionStatus, PolicyKind, PolicyReference,
    PromqlEvidence, SkippedStep, Write,
};
pub use policy::{
    ActionSummary, Condition, Global, HealingPolicy, HealingPolicySpec, HealingPolicyStatus, Limits, Match, MaxActions,
    Mode, OnNoData, OnStorm, Promql, RefusalCount, SourceKind, SourceReference, Step, StormStatus, TargetCounts,
    TargetKind, TargetSpec, UnhealthyTarget, Verify,
};
pub use source::{
    ClusterPrometheusSource, ClusterPrometheusSourceSpec, ClusterPrometheusSourceStatus, SecretKey, SourceIsolation,
};

use kube::CustomResourceExt;

/// The API group.
pub const GROUP: &str = "prunella.dev";
/// The field manager of everything the controller writes. It must not start with
/// `kubectl`: GitOps tools remove the fields of such managers.
pub const FIELD_MANAGER: &str = "prunella";
/// The name under which the controller reports Events.
pub const REPORTING_CONTROLLER: &str = "prunella.dev/controller";
/// Protects a `HealingAction` from its reservation to its outcome: a deletion in between
/// takes effect when the action has finished.
pub const FINALIZER: &str = "prunella.dev/in-flight";
/// On a `HealingPolicy`: an RFC 3339 time. Actions before it no longer count on the
/// ladder, so an exhausted target is tried again. Cooldown and window are kept.
pub const RESET_ANNOTATION: &str = "prunella.dev/reset";
/// On a `HealingAction`: the name of the policy that reserved it.
pub const POLICY_LABEL: &str = "prunella.dev/policy";
/// On a `HealingAction`: the kind of that policy, because a policy and a cluster policy
/// may have the same name.
pub const POLICY_KIND_LABEL: &str = "prunella.dev/policy-kind";
/// On a workload's pod template: the uid of the `HealingAction` that restarted it last.
pub const RESTARTED_BY_ANNOTATION: &str = "prunella.dev/restarted-by";

/// Every custom resource definition of the project, as `(file name, definition)`.
#[must_use]
pub fn crds()
-> Vec<(&'static str, k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition)> {
    vec![
        ("clusterprometheussources.yaml", ClusterPrometheusSource::crd()),
        ("healingactions.yaml", HealingAction::crd()),
        ("healingpolicies.yaml", HealingPolicy::crd()),
    ]
}
