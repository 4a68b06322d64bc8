//! `HealingPolicy`: when something is unhealthy, what may be healed, and how.

mod condition;
mod limits;
mod status;
mod step;
mod target;

use kube::core::{ListMerge, Rule};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::duration::{between, is_duration};

pub use condition::{Condition, OnNoData, Promql, SourceKind, SourceReference};
pub use limits::{Limits, MaxActions, OnStorm};
pub use status::{ActionSummary, HealingPolicyStatus, RefusalCount, StormStatus, TargetCounts, UnhealthyTarget};
pub use step::{Step, Verify};
pub use target::{Global, Match, TargetKind, TargetSpec};

/// When something is unhealthy, what may be healed, and how.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "prunella.dev",
    version = "v1alpha1",
    kind = "HealingPolicy",
    plural = "healingpolicies",
    shortname = "hpol",
    category = "healing",
    namespaced,
    status = "HealingPolicyStatus",
    derive = "PartialEq",
    doc = "A rule for healing workloads in the policy's own namespace: when something is unhealthy, what may be healed, and how, under limits.",
    validation = Rule::new("self.metadata.name.size() <= 40").message("the name must have at most 40 characters, because it becomes part of the names and labels of HealingActions: choose a shorter name"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Healthy", type_ = "string", json_path = ".status.conditions[?(@.type==\"Healthy\")].status"),
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.targets.selected"),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.targets.pending"),
    printcolumn(name = "Firing", type_ = "integer", json_path = ".status.targets.firing"),
    printcolumn(name = "Blocked", type_ = "string", json_path = ".status.blocked[0].reason"),
    printcolumn(name = "Last-Action", type_ = "string", json_path = ".status.lastAction.action"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.lastAction.outcome"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastAction.time"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Observed", type_ = "string", json_path = ".status.conditions[?(@.type==\"Observed\")].reason", priority = "1"),
    printcolumn(name = "Query", type_ = "string", json_path = ".spec.condition.promql.query", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.target.kind == 'Pod' || self.steps.all(step, !has(step.action.deletePod))").message("deletePod works on pods only: use rolloutRestart or scale, or set target.kind to Pod"),
    validation = Rule::new("self.target.kind != 'DaemonSet' || self.steps.all(step, !has(step.action.scale))").message("a DaemonSet has no replica count to scale: use rolloutRestart"),
    validation = long_enough_to_verify().message("verify.within must be at least clearFor + interval, otherwise no action can ever be verified: make it longer or leave it out")
)]
pub struct HealingPolicySpec {
    /// What the controller does with a decision. DryRun evaluates everything and only records what it would do. Enforce acts. Default: DryRun.
    #[serde(default)]
    pub mode: Mode,
    /// Suspends the policy: it is still evaluated and its status is kept up to date, but it starts no new action. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// The time between two evaluations, from 1s to 1h. Default: 30s. The controller learns when samples arrive and evaluates soon after that. Policies with the same query and interval are evaluated together.
    #[x_kube(validation = between("1s", "1h").message("interval must be between 1s and 1h"))]
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// When a target is unhealthy. Give exactly one kind of condition.
    pub condition: Condition,
    /// What may be healed: objects of the policy's own namespace, selected by label.
    pub target: TargetSpec,
    /// What is done about an unhealthy target: a ladder of 1 to 10 steps, tried in order. When a step has not helped after all its attempts, the next step is tried. After the last one the target is Exhausted: no action starts until it has been clear for ladderReset, you reset the ladder with the annotation prunella.dev/reset, or the condition, the target or the steps change.
    #[schemars(length(min = 1, max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub steps: Vec<Step>,
    /// The limits: how often, and how much at once, the policy may act.
    #[serde(default)]
    pub limits: Limits,
    /// How many finished HealingActions of this policy are kept, from 1 to 100. Default: 10. Actions that still count towards a limit are always kept.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 1, max = 100))]
    pub history_limit: i32,
}

/// Durations that are not well formed break a rule of their own.
fn long_enough_to_verify() -> Rule {
    let fields = ["self.interval", "self.condition.clearFor", "step.verify.within"];
    let [interval, clear_for, within] = fields.map(|field| format!("!{}", is_duration(field)));
    Rule::new(format!(
        "!has(self.condition.clearFor) || {interval} || {clear_for} || self.steps.all(step, !has(step.verify) || !has(step.verify.within) || {within} || duration(step.verify.within) >= duration(self.condition.clearFor) + duration(self.interval))"
    ))
}

fn default_history_limit() -> i32 {
    10
}

fn default_interval() -> Duration {
    Duration::from("30s")
}

/// What the controller does with a decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Evaluate everything and only record what would be done.
    #[default]
    DryRun,
    /// Act.
    Enforce,
}
