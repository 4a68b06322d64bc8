//! What there is to see at `/metrics`: name, type, labels and their words. Metrics are
//! registered from this table and `docs/metrics.md` is printed from it.

use prunella_core::ledger::Outcome;
use prunella_core::observation::{Answer, UnknownReason};
use prunella_core::refusal::Reason;

/// The states in which targets are counted.
pub(crate) const STATES: [&str; 5] = ["Selected", "Pending", "Firing", "Verifying", "Exhausted"];
/// The reconcilers.
pub(crate) const CONTROLLERS: [&str; 3] = ["source", "policy", "action"];

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gauge,
    Counter,
    /// In seconds.
    Histogram,
}

/// One metric, as it is registered and told of.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As registered: without prefix, and without the suffixes of counters and units.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// In the exposition, where a full stop is added: see [`Entry::sentence`].
    pub(crate) help: &'static str,
    pub(crate) labels: &'static [Label],
    /// What it is good for, in sentences.
    pub(crate) tells: &'static str,
    /// An alert or a number for a dashboard.
    pub(crate) example: &'static str,
}

/// A label of a metric.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    pub(crate) words: Words,
}

/// What a label may hold.
#[derive(Debug)]
pub(crate) enum Words {
    /// A name that users gave.
    Name(&'static str),
    /// Words of the vocabulary that conditions use.
    Of(fn() -> Vec<&'static str>),
}

impl Entry {
    /// The name as a query writes it.
    pub(crate) fn exposed(&self) -> String {
        let suffix = match self.kind {
            Kind::Gauge => "",
            Kind::Counter => "_total",
            Kind::Histogram => "_seconds",
        };
        format!("prunella_{}{suffix}", self.name)
    }

    /// The help as it is exposed.
    pub(crate) fn sentence(&self) -> String {
        format!("{}.", self.help)
    }
}

const NAMESPACE: Label = Label { name: "namespace", words: Words::Name("the policy's namespace") };
const POLICY: Label = Label { name: "policy", words: Words::Name("the policy's name") };

pub(crate) const UP: Entry = Entry {
    name: "up",
    kind: Kind::Gauge,
    help: "1 while the controller runs",
    labels: &[],
    tells: "Always 1: it is there or it is not.",
    example: "absent(prunella_up)",
};
pub(crate) const LEADER: Entry = Entry {
    name: "leader",
    kind: Kind::Gauge,
    help: "1 while this replica leads",
    labels: &[],
    tells: "Of all replicas exactly one leads. Without one nothing is judged.",
    example: "sum(prunella_leader) < 1",
};
pub(crate) const TARGETS: Entry = Entry {
    name: "targets",
    kind: Kind::Gauge,
    help: "Targets of a policy in a state",
    labels: &[NAMESPACE, POLICY, Label { name: "state", words: Words::Of(|| STATES.to_vec()) }],
    tells: "The numbers of `status.targets`. Exhausted ones need a human.",
    example: r#"prunella_targets{state="Exhausted"} > 0"#,
};
pub(crate) const BLOCKED: Entry = Entry {
    name: "blocked_targets",
    kind: Kind::Gauge,
    help: "Sick targets held back by a brake",
    labels: &[
        NAMESPACE,
        POLICY,
        Label { name: "reason", words: Words::Of(|| Reason::ALL.map(Reason::as_str).to_vec()) },
    ],
    tells: "The numbers of `status.blocked`, by the reason of the condition `Blocked`. A brake that holds nobody back has no \
            series.",
    example: r#"prunella_blocked_targets{reason="MaxActions"} > 0"#,
};
pub(crate) const RESERVATIONS: Entry = Entry {
    name: "reservations",
    kind: Kind::Counter,
    help: "Actions reserved",
    labels: &[NAMESPACE, POLICY],
    tells: "How often a policy has decided to act, in whatever mode.",
    example: "increase(prunella_reservations_total[1d]) > 20",
};
pub(crate) const ACTIONS: Entry = Entry {
    name: "actions",
    kind: Kind::Counter,
    help: "Actions that ended, by outcome",
    labels: &[
        NAMESPACE,
        POLICY,
        Label { name: "action", words: Words::Name("the kind of action, like `DeletePod`") },
        Label { name: "outcome", words: Words::Of(|| Outcome::ALL.map(Outcome::as_str).to_vec()) },
    ],
    tells: "What came of it, in the words of `status.outcome` of the HealingActions.",
    example: r#"increase(prunella_actions_total{outcome="Failed"}[1h]) > 2"#,
};
pub(crate) const RECOVERIES: Entry = Entry {
    name: "recoveries",
    kind: Kind::Counter,
    help: "Targets that were sick and recovered by themselves, without any action",
    labels: &[NAMESPACE, POLICY],
    tells: "What becomes of sickness where nothing is done: more of them than actions that succeeded, and much of what is healed would have healed itself.",
    example: "increase(prunella_recoveries_total[1d]) > 0",
};
pub(crate) const EVALUATIONS: Entry = Entry {
    name: "evaluations",
    kind: Kind::Counter,
    help: "Looks at a source, by result",
    labels: &[Label { name: "result", words: Words::Of(results) }],
    tells: "Anything but `Answered` is the reason of the condition `Observed`: while it lasts nothing is begun.",
    example: r#"sum(rate(prunella_evaluations_total{result!="Answered"}[5m])) / sum(rate(prunella_evaluations_total[5m])) > 0.1"#,
};
pub(crate) const EVALUATION_SECONDS: Entry = Entry {
    name: "evaluation_duration",
    kind: Kind::Histogram,
    help: "How long a source took to answer",
    labels: &[],
    tells: "From asking to the last byte; an answer that several policies share counts once, one that answers several questions for each of them. A question that outlasts the policy's interval or 10 s is given up.",
    example: "histogram_quantile(0.99, sum by (le) (rate(prunella_evaluation_duration_seconds_bucket[5m]))) > 5",
};
pub(crate) const RECONCILE_ERRORS: Entry = Entry {
    name: "reconcile_errors",
    kind: Kind::Counter,
    help: "Passes that failed",
    labels: &[Label { name: "controller", words: Words::Of(|| CONTROLLERS.to_vec()) }],
    tells: "The API server refused, or an object does not parse; the log says which.",
    example: "sum by (controller) (rate(prunella_reconcile_errors_total[15m])) > 0",
};
pub(crate) const LOST_EVENTS: Entry = Entry {
    name: "lost_events",
    kind: Kind::Counter,
    help: "Events that could not be written",
    labels: &[],
    tells: "Events are told beside the work and never hold it up. Conditions and records have what was lost.",
    example: "increase(prunella_lost_events_total[1h]) > 0",
};

/// Every metric, in the order in which they are read.
pub(crate) const ALL: [&Entry; 11] = [
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
