//! Metrics, with bounded label sets: a policy's namespace and name, and words of
//! the vocabulary; never a target's name.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use prunella_core::policy::PolicyKey;
use prunella_core::refusal::Reason;

/// A policy.
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

/// A policy and the state of a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TargetLabels {
    namespace: String,
    policy: String,
    state: &'static str,
}

/// A policy and a word of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabels {
    namespace: String,
    policy: String,
    reason: &'static str,
}

/// A policy, an action and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ActionLabels {
    namespace: String,
    policy: String,
    action: String,
    outcome: &'static str,
}

/// How a look at the source ended: `Answered` or the reason why not.
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
    targets: Family<TargetLabels, Gauge>,
    blocked: Family<ReasonLabels, Gauge>,
    actions: Family<ActionLabels, Counter>,
    reserved: Family<PolicyLabels, Counter>,
    recovered: Family<PolicyLabels, Counter>,
    /// Looks at the source.
    pub(crate) evaluations: Family<ResultLabels, Counter>,
    /// How long they took, in seconds.
    pub(crate) evaluation_seconds: Histogram,
    /// Failed passes.
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
            targets: Family::default(),
            blocked: Family::default(),
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
        let registry = &mut metrics.registry;
        registry.register("up", "1 while the controller runs", metrics.up.clone());
        registry.register("leader", "1 while this replica leads", metrics.leader.clone());
        registry.register("targets", "Targets of a policy in a state", metrics.targets.clone());
        registry.register("blocked_targets", "Sick targets held back by a brake", metrics.blocked.clone());
        registry.register("actions", "Actions that ended, by outcome", metrics.actions.clone());
        registry.register("reservations", "Actions reserved", metrics.reserved.clone());
        registry.register(
            "recoveries",
            "Targets that recovered, by themselves or by an action",
            metrics.recovered.clone(),
        );
        registry.register("evaluations", "Looks at a source, by result", metrics.evaluations.clone());
        registry.register_with_unit(
            "evaluation_duration",
            "How long a look at a source took",
            Unit::Seconds,
            metrics.evaluation_seconds.clone(),
        );
        registry.register("reconcile_errors", "Passes that failed", metrics.errors.clone());
        registry.register("lost_events", "Events that could not be written", metrics.lost_events.clone());
        metrics
    }

    /// The metrics in the `OpenMetrics` text format.
    pub(crate) fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// How many targets of a policy are in a state.
    pub(crate) fn set_targets(&self, policy: &PolicyKey, state: &'static str, count: usize) {
        let PolicyLabels { namespace, policy } = policy.into();
        let gauge = self.targets.get_or_create_owned(&TargetLabels { namespace, policy, state });
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many targets of a policy a brake holds back.
    pub(crate) fn set_blocked(&self, policy: &PolicyKey, reason: &'static str, count: usize) {
        let PolicyLabels { namespace, policy } = policy.into();
        let labels = ReasonLabels { namespace, policy, reason };
        if count == 0 {
            self.blocked.remove(&labels);
        } else {
            self.blocked.get_or_create_owned(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// One more action reserved.
    pub(crate) fn reserved(&self, policy: &PolicyKey) {
        self.reserved.get_or_create_owned(&policy.into()).inc();
    }

    /// One more target recovered.
    pub(crate) fn recovered(&self, policy: &PolicyKey) {
        self.recovered.get_or_create_owned(&policy.into()).inc();
    }

    /// One more action over.
    pub(crate) fn finished(&self, policy: &PolicyKey, action: &str, outcome: &'static str) {
        let PolicyLabels { namespace, policy } = policy.into();
        let action = action.to_owned();
        self.actions.get_or_create_owned(&ActionLabels { namespace, policy, action, outcome }).inc();
    }

    /// One more pass that failed.
    pub(crate) fn failed(&self, controller: &'static str) {
        self.errors.get_or_create_owned(&ControllerLabels { controller }).inc();
    }

    /// Drops the series of a policy that is gone.
    pub(crate) fn forget(&self, policy: &PolicyKey) {
        let PolicyLabels { namespace, policy } = policy.into();
        for state in STATES {
            self.targets.remove(&TargetLabels { namespace: namespace.clone(), policy: policy.clone(), state });
        }
        for reason in Reason::ALL.map(Reason::as_str) {
            self.blocked.remove(&ReasonLabels { namespace: namespace.clone(), policy: policy.clone(), reason });
        }
    }
}

/// The states in which targets are counted.
pub(crate) const STATES: [&str; 5] = ["Selected", "Pending", "Firing", "Verifying", "Exhausted"];
