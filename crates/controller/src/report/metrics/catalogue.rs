//! All metrics: name, type, labels and their values. The metrics are registered from this table,
//! and `docs/reference/metrics.md` is generated from it.

use prunella_core::ledger::Outcome;
use prunella_core::observation::{Answer, UnknownReason};
use prunella_core::refusal::Reason;

/// The states in which targets are counted.
pub(crate) const STATES: [&str; 5] = ["Selected", "Pending", "Firing", "Verifying", "Exhausted"];
/// The reconcilers.
pub(crate) const CONTROLLERS: [&str; 3] = ["source", "policy", "action"];

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Gauge,
    Counter,
    /// In seconds.
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub(crate) struct MetricEntry {
    /// As registered: without the prefix, and without the suffixes of counters and units.
    pub(crate) name: &'static str,
    pub(crate) kind: MetricKind,
    /// The HELP text, without the full stop: see [`MetricEntry::sentence`].
    pub(crate) help: &'static str,
    pub(crate) labels: &'static [Label],
    /// Details, in sentences.
    pub(crate) meaning: &'static str,
    /// A query for an alert or a dashboard.
    pub(crate) example: &'static str,
}

/// A label of a metric.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    pub(crate) values: LabelValues,
}

/// The values of a label.
#[derive(Debug)]
pub(crate) enum LabelValues {
    /// A name that users choose.
    Name(&'static str),
    /// One of a fixed set of words, the same as in conditions and Events.
    OneOf(fn() -> Vec<&'static str>),
}

impl MetricEntry {
    /// The name as queries use it.
    pub(crate) fn exposed(&self) -> String {
        let suffix = match self.kind {
            MetricKind::Gauge => "",
            MetricKind::Counter => "_total",
            MetricKind::Histogram => "_seconds",
        };
        format!("prunella_{}{suffix}", self.name)
    }

    /// The HELP text as it is exposed.
    pub(crate) fn sentence(&self) -> String {
        format!("{}.", self.help)
    }
}

const NAMESPACE: Label = Label { name: "namespace", values: LabelValues::Name("the policy's namespace") };
const POLICY: Label = Label { name: "policy", values: LabelValues::Name("the policy's name") };

pub(crate) const UP: MetricEntry = MetricEntry {
    name: "up",
    kind: MetricKind::Gauge,
    help: "1 while the controller runs",
    labels: &[],
    meaning: "Always 1. If it is missing, no controller is running.",
    example: "absent(prunella_up)",
};
pub(crate) const LEADER: MetricEntry = MetricEntry {
    name: "leader",
    kind: MetricKind::Gauge,
    help: "1 while this replica leads, otherwise 0",
    labels: &[],
    meaning: "Exactly one replica leads. While no replica leads, no policy is evaluated.",
    example: "sum(prunella_leader) < 1",
};
pub(crate) const TARGETS: MetricEntry = MetricEntry {
    name: "targets",
    kind: MetricKind::Gauge,
    help: "Targets of a policy, by state",
    labels: &[NAMESPACE, POLICY, Label { name: "state", values: LabelValues::OneOf(|| STATES.to_vec()) }],
    meaning: "The same numbers as `status.targets`. A target in state `Exhausted` needs a person: every step was tried or does not apply.",
    example: r#"prunella_targets{state="Exhausted"} > 0"#,
};
pub(crate) const BLOCKED: MetricEntry = MetricEntry {
    name: "blocked_targets",
    kind: MetricKind::Gauge,
    help: "Targets that a guardrail holds back, by reason: firing ones, and breached ones that are too young to be judged",
    labels: &[
        NAMESPACE,
        POLICY,
        Label { name: "reason", values: LabelValues::OneOf(|| Reason::ALL.map(Reason::as_str).to_vec()) },
    ],
    meaning: "The same numbers as `status.blocked`, without `DisruptionBudget`. A guardrail that holds back no target has no series.",
    example: r#"prunella_blocked_targets{reason="MaxActions"} > 0"#,
};
pub(crate) const RESERVATIONS: MetricEntry = MetricEntry {
    name: "reservations",
    kind: MetricKind::Counter,
    help: "HealingActions created",
    labels: &[NAMESPACE, POLICY],
    meaning: "How often the policy decided to act, including dry runs.",
    example: "increase(prunella_reservations_total[1d]) > 20",
};
pub(crate) const ACTIONS: MetricEntry = MetricEntry {
    name: "actions",
    kind: MetricKind::Counter,
    help: "HealingActions that ended, by outcome",
    labels: &[
        NAMESPACE,
        POLICY,
        Label { name: "action", values: LabelValues::Name("the kind of action, for example `DeletePod`") },
        Label { name: "outcome", values: LabelValues::OneOf(|| Outcome::ALL.map(Outcome::as_str).to_vec()) },
    ],
    meaning: "The label `outcome` has the value of `status.outcome`.",
    example: r#"increase(prunella_actions_total{outcome="Failed"}[1h]) > 2"#,
};
pub(crate) const RECOVERIES: MetricEntry = MetricEntry {
    name: "recoveries",
    kind: MetricKind::Counter,
    help: "Firing targets that recovered without an action",
    labels: &[NAMESPACE, POLICY],
    meaning: "Compare it with successful actions. If there are more recoveries than successful actions, many targets recover without help, and a longer `for` may save actions.",
    example: "increase(prunella_recoveries_total[1d]) > 0",
};
pub(crate) const EVALUATIONS: MetricEntry = MetricEntry {
    name: "evaluations",
    kind: MetricKind::Counter,
    help: "Queries of evaluations, by result",
    labels: &[Label { name: "result", values: LabelValues::OneOf(results) }],
    meaning: "Counts the query of the condition, and the queries for evidence and freshness. If the query of the condition has another result than `Answered`, that result is also the reason of the condition `Observed`, and no action starts.",
    example: r#"sum(rate(prunella_evaluations_total{result!="Answered"}[5m])) / sum(rate(prunella_evaluations_total[5m])) > 0.1"#,
};
pub(crate) const EVALUATION_SECONDS: MetricEntry = MetricEntry {
    name: "evaluation_duration",
    kind: MetricKind::Histogram,
    help: "Time a source took to answer",
    labels: &[],
    meaning: "From the request to the last byte of the answer. An answer that several policies share counts once. A request that takes longer than the policy's interval, or 10 s, is cancelled.",
    example: "histogram_quantile(0.99, sum by (le) (rate(prunella_evaluation_duration_seconds_bucket[5m]))) > 5",
};
pub(crate) const RECONCILE_ERRORS: MetricEntry = MetricEntry {
    name: "reconcile_errors",
    kind: MetricKind::Counter,
    help: "Reconciles that failed",
    labels: &[Label { name: "controller", values: LabelValues::OneOf(|| CONTROLLERS.to_vec()) }],
    meaning: "The API server refused a request, an object could not be parsed, or the controller has a bug. The log has the details.",
    example: "sum by (controller) (rate(prunella_reconcile_errors_total[15m])) > 0",
};
pub(crate) const LOST_EVENTS: MetricEntry = MetricEntry {
    name: "lost_events",
    kind: MetricKind::Counter,
    help: "Events that could not be written",
    labels: &[],
    meaning: "Events are written in the background and never delay an action. Conditions and HealingActions hold the same information.",
    example: "increase(prunella_lost_events_total[1h]) > 0",
};

/// All metrics, in the order of the documentation.
pub(crate) const ALL: [&MetricEntry; 11] = [
    &UP,
    &LEADER,
    &TARGETS,
    &BLOCKED,
    &RESERVATIONS,
    &ACTIONS,
    &RECOVERIES,
    &EVALUATIONS,
    &EVALUATION_SECONDS,
    &RECONCILE_ERRORS,
    &LOST_EVENTS,
];

fn results() -> Vec<&'static str> {
    [Answer::ANSWERED].into_iter().chain(UnknownReason::ALL.map(UnknownReason::as_str)).collect()
}
