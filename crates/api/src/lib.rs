//! The words: the types of `prunella.dev/v1alpha1`, their conditions and
//! reasons. No client and no async runtime, so that tools can use them cheaply.
//!
//! Doc comments on fields are what `kubectl explain` prints: full sentences with
//! unit, default and bounds.

#![allow(unreachable_pub, unused_imports, reason = "KubeSchema derives private twins of the public types")]
#![allow(clippy::duplicated_attributes, reason = "several validations are several attributes of one name")]
#![allow(clippy::doc_markdown, reason = "kubectl explain prints the docs of fields as plain text")]

mod action;
mod condition;
mod duration;
mod policy;
mod remedy;
mod source;

pub use action::{
    ActionEvidence, ActionTarget, HealingAction, HealingActionSpec, HealingActionStatus, PolicyReference,
    RecordedAction, RecordedScale, SkippedStep, Write,
};
pub use condition::{ConditionType, set_condition};
pub use duration::{Duration, DurationError};
pub use policy::{
    ActionSummary, Condition, Global, HealingPolicy, HealingPolicySpec, HealingPolicyStatus, Limits, Match, MaxActions,
    Mode, OnNoData, OnStorm, Promql, RefusalCount, SickTarget, SourceReference, Step, StormStatus, TargetCounts,
    TargetKind, TargetSpec, Verify,
};
pub use remedy::{Action, AutoscalerRule, DeletePod, Disruption, RolloutRestart, Scale};
pub use source::{ClusterPrometheusSource, ClusterPrometheusSourceSpec, ClusterPrometheusSourceStatus, SecretKey};

use kube::CustomResourceExt;

/// The API group.
pub const GROUP: &str = "prunella.dev";
/// The field manager of everything the controller writes. Never a name that
/// begins with `kubectl`: GitOps tools take such managers' fields away.
pub const FIELD_MANAGER: &str = "prunella";
/// The name under which the controller reports Events.
pub const REPORTING_CONTROLLER: &str = "prunella.dev/controller";
/// Holds a `HealingAction` from its reservation to its outcome: a deletion meanwhile
/// takes effect when it is over.
pub const FINALIZER: &str = "prunella.dev/in-flight";
/// On a `HealingPolicy`: an RFC 3339 time. What was done before it counts on no step of
/// the ladder, so that what was exhausted is tried anew; cooldown and window stay.
pub const RESET_ANNOTATION: &str = "prunella.dev/reset";
/// On a `HealingAction`: the policy that reserved it.
pub const POLICY_LABEL: &str = "prunella.dev/policy";
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
