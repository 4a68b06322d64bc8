//! `HealingPolicy`: when something is sick, what may be healed, and how.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as StatusCondition, LabelSelector, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{ListMerge, Rule};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Action, Duration};

/// When something is sick, what may be healed, and how.
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
    doc = "A rule for healing workloads of its own namespace: when something is sick, what may be healed, and how, under limits.",
    validation = Rule::new("self.metadata.name.size() <= 40").message("the name must have at most 40 characters, for it goes into the names and labels of HealingActions: choose a shorter one"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Healthy", type_ = "string", json_path = ".status.conditions[?(@.type==\"Healthy\")].status"),
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.targets.selected"),
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
    validation = Rule::new("duration(self.interval) >= duration('1s') && duration(self.interval) <= duration('1h')").message("interval must lie between 1s and 1h"),
    validation = Rule::new("self.target.kind == 'Pod' || self.steps.all(step, !has(step.action.deletePod))").message("deletePod is for pods alone: choose rolloutRestart or scale, or make target.kind Pod"),
    validation = Rule::new("self.target.kind != 'DaemonSet' || self.steps.all(step, !has(step.action.scale))").message("a DaemonSet has no number of replicas to scale: choose rolloutRestart"),
    validation = Rule::new("self.steps.all(step, !has(step.verify) || !has(step.verify.within) || !has(self.condition.clearFor) || duration(step.verify.within) >= duration(self.condition.clearFor) + duration(self.interval))").message("verify.within must be at least clearFor + interval, or no action could ever be seen to help: lengthen it or leave it out")
)]
pub struct HealingPolicySpec {
    /// What is done with a decision: DryRun (the default) decides everything and writes nothing but the record of it, Enforce acts.
    #[serde(default)]
    pub mode: Mode,
    /// Whether the policy is suspended: it goes on judging and telling, but begins nothing new; false by default.
    #[serde(default)]
    pub suspend: bool,
    /// The time between two looks at the source, from 1s to 1h, 30s by default. Where in the interval it looks is learned: soon after the samples are new. Policies with the same query and interval look together.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// When a target is sick. Exactly one kind of condition must be given.
    pub condition: Condition,
    /// What may be healed: objects of the policy's own namespace, chosen by label.
    pub target: TargetSpec,
    /// What is done about a sick target: a ladder of 1 to 10 steps. When a step did not help as often as its attempts say, the next one is climbed; after the last the target is left alone until it has been clear for ladderReset.
    #[schemars(length(min = 1, max = 10))]
    pub steps: Vec<Step>,
    /// The brakes: how often and how much at once the policy may act.
    #[serde(default)]
    pub limits: Limits,
    /// How many finished HealingActions of the policy are kept, from 1 to 100, 10 by default. Those that still count towards a limit are kept in any case.
    #[serde(default = "default_history_limit")]
    #[schemars(range(min = 1, max = 100))]
    pub history_limit: i32,
}

fn default_history_limit() -> i32 {
    10
}

fn default_interval() -> Duration {
    Duration::from("30s")
}

/// What is done with a decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Decide everything, write nothing but the record of it.
    #[default]
    DryRun,
    /// Act.
    Enforce,
}

/// When a target is sick.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.promql)").message("exactly one kind of condition must be given: promql"),
    validation = Rule::new("!has(self.__for__) || duration(self.__for__) <= duration('24h')").message("for must be at most 24h"),
    validation = Rule::new("!has(self.clearFor) || duration(self.clearFor) <= duration('24h')").message("clearFor must be at most 24h")
)]
pub struct Condition {
    /// A PromQL expression: a target named by a returned series is breached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<Promql>,
    /// How long a breach must hold, at every look, before the target counts as sick and is acted on; 0s by default, at most 24h.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub breach_for: Option<Duration>,
    /// How long a target must be clear, with evidence, to count as healthy again; by default the larger of the interval and the widest range in the query, at most 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_for: Option<Duration>,
    /// What a target is taken for that has no data at all: Hold (the default) keeps what is known of it and does nothing, Clear takes it for healthy.
    #[serde(default)]
    pub on_no_data: OnNoData,
}

/// What a target without data is taken for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    /// Keep what is known of it and do nothing.
    #[default]
    Hold,
    /// Take it for healthy.
    Clear,
}

/// A condition in PromQL.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.signalWindow) || duration(self.signalWindow) <= duration('24h')").message("signalWindow must be at most 24h: give how far back the query looks")
)]
pub struct Promql {
    /// The expression, written like that of an alert: it must filter by a comparison, so that a returned series means breached. At most 4096 characters.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// A query that returns a series for every target there is data about, breached or not. Derived from the query when left out; needed where that is not possible. At most 4096 characters.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// How far back the query looks, at most 24h: so long a cured target may still seem sick, and verify waits. Read from the ranges in the query when left out, and never shorter than those. Needed, together with evidence, for a query that only the server understands; useful where a recording rule hides its range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_window: Option<Duration>,
    /// The server that is asked: by default the ClusterPrometheusSource named default.
    #[serde(default)]
    pub source: SourceReference,
}

/// Names a source.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReference {
    /// The kind of the source; ClusterPrometheusSource is the only one and the default.
    #[serde(default)]
    pub kind: SourceKind,
    /// The name of the source, default by default, at most 253 characters.
    #[serde(default = "default_source")]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn default_source() -> String {
    "default".to_owned()
}

impl Default for SourceReference {
    fn default() -> Self {
        Self { kind: SourceKind::default(), name: default_source() }
    }
}

/// The kinds of sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SourceKind {
    /// A Prometheus that every namespace may ask.
    #[default]
    ClusterPrometheusSource,
}

/// What may be healed.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)").message("selector must not be empty: an empty one would choose every object of the namespace"),
    validation = Rule::new("!has(self.match) || !has(self.match.global) || self.kind != 'Pod'").message("match.global is for workloads alone, for it names no pod: make target.kind Deployment, StatefulSet or DaemonSet"),
    validation = Rule::new("duration(self.minAge) <= duration('24h')").message("minAge must be at most 24h")
)]
pub struct TargetSpec {
    /// The kind of object that is healed: Pod, or a whole Deployment, StatefulSet or DaemonSet. A workload is named by a series with its own label, or with the label pod of one of its pods.
    pub kind: TargetKind,
    /// Which objects may be healed, by their labels. It must not be empty.
    #[schemars(schema_with = "selector_schema")]
    pub selector: LabelSelector,
    /// How a series names its target; by default its label pod holds the pod's name.
    #[serde(rename = "match", default)]
    pub series: Match,
    /// The label of a series that holds the namespace of its object, namespace by default. With kube-state-metrics scraped without honorLabels it is exported_namespace. At most 128 characters.
    #[serde(default = "default_namespace_label")]
    #[schemars(regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"), length(min = 1, max = 128))]
    pub namespace_label: String,
    /// How old a target must be to be judged, for what is starting up is seldom calm; 30s by default, at most 24h.
    #[serde(default = "default_min_age")]
    pub min_age: Duration,
    /// Whether pods with the priority class system-cluster-critical or system-node-critical may be healed, too; false by default.
    #[serde(default)]
    pub system_critical: bool,
}

fn default_namespace_label() -> String {
    "namespace".to_owned()
}

fn default_min_age() -> Duration {
    Duration::from("30s")
}

/// The kinds of objects that can be healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A pod with a controller that makes another one.
    Pod,
    /// A Deployment with all its pods.
    Deployment,
    /// A StatefulSet with all its pods.
    StatefulSet,
    /// A DaemonSet with all its pods.
    DaemonSet,
}

impl TargetKind {
    /// The kind as the Kubernetes API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// How a series names its target.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.label) || !has(self.global)").message("match takes one of label and global, not both")
)]
pub struct Match {
    /// The label of a series that holds the target's name: by default the target's kind in lower case, as in pod. At most 128 characters.
    #[schemars(regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"), length(min = 1, max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Given instead of label for a query that names no target: any series it returns means that every selected target is breached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<Global>,
}

/// A query that speaks of all selected targets at once; it has no fields.
#[derive(KubeSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Global {}

/// What is done about a sick target.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The action of this step. Exactly one kind of action must be given.
    pub action: Action,
    /// How often the action is tried on a target before the next step is climbed, from 1 to 10, 1 by default.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 10))]
    pub attempts: i32,
    /// How it is found out whether the action helped.
    #[serde(default)]
    pub verify: Verify,
}

fn default_attempts() -> i32 {
    1
}

/// How it is found out whether an action helped.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.within) || (duration(self.within) >= duration('1s') && duration(self.within) <= duration('24h'))").message("verify.within must lie between 1s and 24h")
)]
pub struct Verify {
    /// How long, after its replacement stands, a target may take to be clear; from 1s to 24h. By default the larger of 2m and clearFor + 2 × interval + the widest range in the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
}

/// The brakes.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("type(self.maxUnhealthy) == int ? self.maxUnhealthy >= 1 && self.maxUnhealthy <= 10000 : self.maxUnhealthy.matches('^([1-9][0-9]?|100)%$')").message("maxUnhealthy must be a number from 1 to 10000 or a percentage from 1% to 100%"),
    validation = Rule::new("duration(self.stormCooldown) <= duration('24h')").message("stormCooldown must be at most 24h"),
    validation = Rule::new("duration(self.cooldown) <= duration('24h')").message("cooldown must be at most 24h"),
    validation = Rule::new("duration(self.ladderReset) >= duration('1m') && duration(self.ladderReset) <= duration('24h')").message("ladderReset must lie between 1m and 24h")
)]
pub struct Limits {
    /// The least time between two actions that count against the same target, whatever policy began them; 5m by default, at most 24h.
    #[serde(default = "default_cooldown")]
    pub cooldown: Duration,
    /// How many actions the policy may begin in a sliding window; 3 per 1h by default.
    #[serde(default)]
    pub max_actions: MaxActions,
    /// How many actions of the policy may be in flight at once, from 1 to 100, 1 by default.
    #[serde(default = "default_max_concurrent")]
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: i32,
    /// How long a target must have been clear after an action for that action to be forgotten, so that the ladder begins anew; 1h by default, from 1m to 24h.
    #[serde(default = "default_ladder_reset")]
    pub ladder_reset: Duration,
    /// How many of the targets may be breached at once, as a number from 1 to 10000 or as a percentage that is rounded down to no fewer than one; 50% by default. When more are, it is a storm, and the observer is as suspect as the targets.
    #[serde(default = "default_max_unhealthy")]
    pub max_unhealthy: IntOrString,
    /// What is still done in a storm: Probe (the default) tries one action, and the next only after one has succeeded; Hold does nothing.
    #[serde(default)]
    pub on_storm: OnStorm,
    /// How long no more targets than maxUnhealthy must be breached for a storm to be over; 5m by default, at most 24h.
    #[serde(default = "default_storm_cooldown")]
    pub storm_cooldown: Duration,
}

/// What is still done in a storm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnStorm {
    /// One action at a time, the next only after one has succeeded.
    #[default]
    Probe,
    /// Nothing.
    Hold,
}

fn default_max_unhealthy() -> IntOrString {
    IntOrString::String("50%".to_owned())
}

fn default_storm_cooldown() -> Duration {
    Duration::from("5m")
}

fn default_ladder_reset() -> Duration {
    Duration::from("1h")
}

fn default_cooldown() -> Duration {
    Duration::from("5m")
}

fn default_max_concurrent() -> i32 {
    1
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cooldown: default_cooldown(),
            max_actions: MaxActions::default(),
            max_concurrent: default_max_concurrent(),
            ladder_reset: default_ladder_reset(),
            max_unhealthy: default_max_unhealthy(),
            on_storm: OnStorm::default(),
            storm_cooldown: default_storm_cooldown(),
        }
    }
}

/// A budget of actions over a sliding window.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.per) >= duration('1m') && duration(self.per) <= duration('24h')").message("maxActions.per must lie between 1m and 24h")
)]
pub struct MaxActions {
    /// How many actions may begin within the window, from 1 to 1000, 3 by default.
    #[serde(default = "default_max_actions_count")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: i32,
    /// The length of the sliding window, from 1m to 24h, 1h by default.
    #[serde(default = "default_max_actions_per")]
    pub per: Duration,
}

fn default_max_actions_count() -> i32 {
    3
}

fn default_max_actions_per() -> Duration {
    Duration::from("1h")
}

impl Default for MaxActions {
    fn default() -> Self {
        Self { count: default_max_actions_count(), per: default_max_actions_per() }
    }
}

/// What the controller sees, does, and does not do, and why.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealingPolicyStatus {
    /// The generation of the spec that this status was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A digest of the condition, the target and the steps that this status was made from. With another one no timer is taken over after a restart.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Ready, Stalled, Observed, Healthy, Healing and Blocked, each with a reason and a message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::condition::conditions_schema")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<StatusCondition>,
    /// How many targets are in which state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetCounts>,
    /// The targets that are not healthy, at most 100, those acted on first, then the longest sick.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["uid".into()]))]
    pub sick: Vec<SickTarget>,
    /// How many sick targets each brake holds back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["reason".into()]))]
    pub blocked: Vec<RefusalCount>,
    /// The storm under way: more targets are breached than maxUnhealthy allows. Absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<StormStatus>,
    /// The newest action of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_action: Option<ActionSummary>,
}

/// A storm under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StormStatus {
    /// Since when more targets have been breached than may be.
    pub since: Time,
    /// The name of the newest HealingAction of this storm, the probe by which it is told whether acting helps.
    #[schemars(length(max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
}

/// How many targets are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCounts {
    /// The number of objects that the selector chooses.
    pub selected: i32,
    /// The number of targets that are breached, but not for long enough yet.
    pub pending: i32,
    /// The number of targets that were breached for long enough, whether acted on or not.
    pub firing: i32,
    /// The number of actions that were executed and whose effect is being watched.
    pub verifying: i32,
    /// The number of sick targets for which every step of the ladder was tried.
    #[serde(default)]
    pub exhausted: i32,
}

/// A target that is not healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SickTarget {
    /// The uid of the object.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The name of the object.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Pending, Firing, Acting, Settling, Verifying or Exhausted.
    #[schemars(length(max = 32))]
    pub state: String,
    /// Since when the target has been sick; moved forward by gaps in which nobody could look.
    pub since: Time,
    /// The value of the query when the target entered this state, as a decimal number.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_at_transition: Option<String>,
    /// Which step of the ladder the action in flight is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<i32>,
    /// Which attempt on that step it is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// The name of the HealingAction in flight for this target.
    #[schemars(length(max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The first brake that holds the target back, if any.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// Until when that brake will hold, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_until: Option<Time>,
}

/// How many targets one brake holds back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalCount {
    /// The brake, by the word used everywhere.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The number of sick targets for which it was the first to refuse.
    pub count: i32,
}

/// The newest action in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionSummary {
    /// The name of the HealingAction, which tells the whole story.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The kind of action, like DeletePod.
    #[schemars(length(max = 32))]
    pub action: String,
    /// What it was done to, as Kind/name.
    #[schemars(length(max = 320))]
    pub target: String,
    /// When the action was reserved.
    pub time: Time,
    /// How it ended; absent while it is in flight.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// The schema of a label selector with bounds on every list and string, which the
/// type of the Kubernetes API leaves out and without which CEL rules cost too much.
fn selector_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "Which objects may be healed, by their labels. It must not be empty.",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that an object must carry with exactly these values, at most 32.",
                "maxProperties": 32,
                "additionalProperties": {"type": "string", "maxLength": 63}
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements on labels that must all hold, at most 32.",
                "maxItems": 32,
                "items": {
                    "type": "object",
                    "description": "A requirement on one label.",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string", "maxLength": 317, "description": "The label that the requirement is about, at most 317 characters."},
                        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"], "description": "How the label's value relates to the given values."},
                        "values": {
                            "type": "array",
                            "maxItems": 64,
                            "items": {"type": "string", "maxLength": 63},
                            "description": "The values, for In and NotIn only, at most 64."
                        }
                    }
                }
            }
        }
    })
}
