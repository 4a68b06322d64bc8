//! Metrics. Their label sets are bounded: the namespace and name of a policy, and fixed words. No
//! label has the name of a target.

pub(crate) mod catalogue;
mod document;
mod gauges;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};
use prunella_core::decide::Counts;
use prunella_core::policy::PolicyKey;
use prunella_core::refusal::Reason;

use catalogue::{MetricEntry, MetricKind};
pub use document::page;
use gauges::PolicyGauges;

/// The labels of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PolicyLabels {
    namespace: String,
    policy: String,
}

impl From<&PolicyKey> for PolicyLabels {
    fn from(key: &PolicyKey) -> Self {
        Self { namespace: key.namespace.clone(), policy: key.name.clone() }
    }
}

/// The labels of a finished action.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ActionLabels {
    namespace: String,
    policy: String,
    action: String,
    outcome: &'static str,
}

/// The result of a query: `Answered`, or the reason why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ResultLabels {
    pub(crate) result: &'static str,
}

/// A reconciler.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ControllerLabels {
    pub(crate) controller: &'static str,
}

/// Every metric of the controller.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    gauges: PolicyGauges,
    actions: Family<ActionLabels, Counter>,
    reserved: Family<PolicyLabels, Counter>,
    recovered: Family<PolicyLabels, Counter>,
    /// Queries of evaluations.
    pub(crate) evaluations: Family<ResultLabels, Counter>,
    /// How long sources took to answer, in seconds.
    pub(crate) evaluation_seconds: Histogram,
    /// Reconciles that failed.
    pub(crate) errors: Family<ControllerLabels, Counter>,
    /// Events that could not be written.
    pub(crate) lost_events: Counter,
    /// Whether this replica leads.
    pub(crate) leader: Gauge,
    up: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("prunella"),
            gauges: PolicyGauges::default(),
            actions: Family::default(),
            reserved: Family::default(),
            recovered: Family::default(),
            evaluations: Family::default(),
            evaluation_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            errors: Family::default(),
            lost_events: Counter::default(),
            leader: Gauge::default(),
            up: Gauge::default(),
        };
        metrics.up.set(1.0);
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let Self {
            registry,
            gauges,
            actions,
            reserved,
            recovered,
            evaluations,
            evaluation_seconds,
            errors,
            lost_events,
            leader,
            up,
        } = self;
        add(registry, &catalogue::UP, up.clone());
        add(registry, &catalogue::LEADER, leader.clone());
        registry.register_collector(Box::new(gauges.clone()));
        add(registry, &catalogue::ACTIONS, actions.clone());
        add(registry, &catalogue::RESERVATIONS, reserved.clone());
        add(registry, &catalogue::RECOVERIES, recovered.clone());
        add(registry, &catalogue::EVALUATIONS, evaluations.clone());
        add(registry, &catalogue::EVALUATION_SECONDS, evaluation_seconds.clone());
        add(registry, &catalogue::RECONCILE_ERRORS, errors.clone());
        add(registry, &catalogue::LOST_EVENTS, lost_events.clone());
    }

    /// The metrics in the `OpenMetrics` text format.
    pub(crate) fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Sets how many targets of a policy are in each state, and how many each guardrail holds back.
    pub(crate) fn count(&self, policy: &PolicyKey, targets: Counts, blocked: &BTreeMap<Reason, usize>) {
        let mut words = BTreeMap::new();
        for (reason, count) in blocked.iter().filter(|(_, count)| **count > 0) {
            *words.entry(reason.as_str()).or_default() += count;
        }
        self.gauges.set(policy, targets, words);
    }

    /// Counts a reserved action.
    pub(crate) fn reserved(&self, policy: &PolicyKey) {
        self.reserved.get_or_create_owned(&policy.into()).inc();
    }

    /// Counts a target that recovered without an action.
    pub(crate) fn recovered(&self, policy: &PolicyKey) {
        self.recovered.get_or_create_owned(&policy.into()).inc();
    }

    /// Counts a finished action.
    pub(crate) fn finished(&self, policy: &PolicyKey, action: &str, outcome: &'static str) {
        let PolicyLabels { namespace, policy } = policy.into();
        let action = action.to_owned();
        self.actions.get_or_create_owned(&ActionLabels { namespace, policy, action, outcome }).inc();
    }

    /// Counts a reconcile that failed.
    pub(crate) fn failed(&self, controller: &'static str) {
        self.errors.get_or_create_owned(&ControllerLabels { controller }).inc();
    }

    /// Removes the gauges of all policies: this process does not evaluate them any more.
    pub(crate) fn forget_all(&self) {
        self.gauges.forget_all();
    }

    /// Removes the gauges of a policy that is gone.
    pub(crate) fn forget(&self, policy: &PolicyKey) {
        self.gauges.forget(policy);
    }
}

fn add(registry: &mut Registry, entry: &MetricEntry, metric: impl Metric) {
    match entry.kind {
        MetricKind::Gauge | MetricKind::Counter => registry.register(entry.name, entry.help, metric),
        MetricKind::Histogram => registry.register_with_unit(entry.name, entry.help, Unit::Seconds, metric),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use catalogue::{Label, LabelValues};
    use prunella_signals::Query;

    use super::*;

    /// All metrics, with all values that their labels may have.
    fn full() -> Metrics {
        let metrics = Metrics::new();
        let policy = PolicyKey { namespace: "shop".into(), name: "web".into() };
        let blocked = Reason::ALL.map(|reason| (reason, 1)).into();
        for entry in catalogue::ALL {
            for word in entry.labels.iter().flat_map(words) {
                match entry.name {
                    "targets" | "blocked_targets" => metrics.count(&policy, Counts::default(), &blocked),
                    "actions" => metrics.finished(&policy, "DeletePod", word),
                    "evaluations" => drop(metrics.evaluations.get_or_create_owned(&ResultLabels { result: word })),
                    "reconcile_errors" => metrics.failed(word),
                    name => panic!("{name} has a label with fixed values: count it here"),
                }
            }
        }
        metrics.reserved(&policy);
        metrics.recovered(&policy);
        metrics
    }

    fn words(label: &Label) -> Vec<&'static str> {
        match label.values {
            LabelValues::Name(_) => Vec::new(),
            LabelValues::OneOf(words) => words(),
        }
    }

    #[test]
    fn types_and_labels_are_as_in_the_catalogue() {
        let text = full().render().unwrap();
        let types: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let expected = catalogue::ALL.map(|entry| match entry.kind {
            MetricKind::Gauge => format!("{} gauge", entry.exposed()),
            MetricKind::Counter => format!("{} counter", entry.exposed().trim_end_matches("_total")),
            MetricKind::Histogram => format!("{} histogram", entry.exposed()),
        });
        assert_eq!(types, expected.iter().map(String::as_str).collect());
        for entry in catalogue::ALL {
            let series = text.lines().find(|line| line.starts_with(&entry.exposed())).unwrap();
            let labels = series.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap());
            let labels: Vec<_> = labels.split(',').filter_map(|pair| pair.split('=').next()).collect();
            let expected: Vec<_> = entry.labels.iter().map(|label| label.name).collect();
            assert!(
                labels == expected || (labels == [""] && expected.is_empty()) || entry.kind == MetricKind::Histogram,
                "{series}"
            );
        }
    }

    /// Each example must also be valid as the condition of a policy.
    #[test]
    fn examples_are_valid_queries_with_known_label_values() {
        for entry in catalogue::ALL {
            Query::compile(entry.example, None).unwrap_or_else(|error| panic!("{}: {error}", entry.example));
            assert!(entry.example.contains(&entry.exposed()), "{}", entry.example);
            let known: BTreeMap<_, _> = entry.labels.iter().map(|label| (label.name, words(label))).collect();
            for (before, after) in entry.example.match_indices("=\"").map(|(at, _)| entry.example.split_at(at)) {
                let label = before.rsplit(['{', ',', ' ']).next().unwrap().trim_end_matches('!');
                let word = after.split('"').nth(1).unwrap();
                assert!(known[label].contains(&word), "{}: {label} is never {word}", entry.example);
            }
        }
    }

    #[test]
    fn the_committed_page_is_up_to_date() {
        let committed = include_str!("../../../../docs/reference/metrics.md").split_once("\n\n").unwrap().1;
        assert_eq!(committed, page(), "run `make docs` and commit docs/reference/metrics.md");
    }

    #[test]
    fn help_texts_are_as_in_the_catalogue() {
        let text = full().render().unwrap();
        for entry in catalogue::ALL {
            let name = entry.exposed();
            let line = format!("# HELP {} {}", name.trim_end_matches("_total"), entry.sentence());
            assert!(text.lines().any(|exposed| exposed == line), "{line}");
        }
    }

    #[test]
    fn every_number_has_its_own_label_value() {
        let metrics = Metrics::new();
        let policy = PolicyKey { namespace: "shop".into(), name: "web".into() };
        let counts = Counts { selected: 5, pending: 4, firing: 3, verifying: 2, exhausted: 1 };
        metrics.count(&policy, counts, &[(Reason::ALL[0], 7), (Reason::ALL[1], 0)].into());
        let text = metrics.render().unwrap();
        let exposed = |name: &str, label: &str, word: &str| {
            let series = format!("prunella_{name}{{namespace=\"shop\",policy=\"web\",{label}=\"{word}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned)
        };
        for (state, count) in [("Selected", 5), ("Pending", 4), ("Firing", 3), ("Verifying", 2), ("Exhausted", 1)] {
            assert_eq!(exposed("targets", "state", state), Some(count.to_string()), "{state}");
        }
        assert_eq!(exposed("blocked_targets", "reason", Reason::ALL[0].as_str()), Some("7".to_owned()));
        assert_eq!(exposed("blocked_targets", "reason", Reason::ALL[1].as_str()), None);
    }

    #[test]
    fn a_policy_that_is_gone_leaves_no_gauge() {
        let metrics = full();
        metrics.forget(&PolicyKey { namespace: "shop".into(), name: "web".into() });
        let left = |metrics: &Metrics| metrics.render().unwrap().matches("targets{").count();
        assert_eq!(left(&metrics), 0);
    }

    #[test]
    fn a_process_that_does_not_lead_any_more_shows_no_policy() {
        let metrics = full();
        metrics.forget_all();
        assert_eq!(metrics.render().unwrap().matches("targets{").count(), 0);
    }
}
