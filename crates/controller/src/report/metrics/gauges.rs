//! The gauges of all policies: the numbers of the newest decision of each, encoded at each scrape.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prunella_core::decide::Counts;
use prunella_core::policy::PolicyKey;

use super::catalogue::{BLOCKED, STATES, TARGETS};

/// The gauges of all policies.
#[derive(Debug, Clone, Default)]
pub(super) struct PolicyGauges(Arc<Mutex<HashMap<PolicyKey, GaugeValues>>>);

/// The numbers of one policy.
#[derive(Debug)]
struct GaugeValues {
    targets: Counts,
    /// By the reason that holds them back. No number is zero.
    blocked: BTreeMap<&'static str, usize>,
}

impl PolicyGauges {
    pub(super) fn set(&self, policy: &PolicyKey, targets: Counts, blocked: BTreeMap<&'static str, usize>) {
        let values = GaugeValues { targets, blocked };
        let mut all = self.all();
        match all.get_mut(policy) {
            Some(kept) => *kept = values,
            None => drop(all.insert(policy.clone(), values)),
        }
    }

    pub(super) fn forget_all(&self) {
        self.all().clear();
    }

    pub(super) fn forget(&self, policy: &PolicyKey) {
        self.all().remove(policy);
    }

    // Every write replaces a whole value: a panic cannot leave half of one.
    fn all(&self) -> MutexGuard<'_, HashMap<PolicyKey, GaugeValues>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for PolicyGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.all();
        if all.is_empty() {
            return Ok(());
        }
        let mut targets = encoder.encode_descriptor(TARGETS.name, &TARGETS.sentence(), None, MetricType::Gauge)?;
        for (policy, values) in all.iter() {
            let Counts { selected, pending, firing, verifying, exhausted } = values.targets;
            for (state, count) in STATES.into_iter().zip([selected, pending, firing, verifying, exhausted]) {
                let labels = labels(policy, "state", state);
                targets.encode_family(&labels)?.encode_gauge(&(count as u64))?;
            }
        }
        if all.values().all(|values| values.blocked.is_empty()) {
            return Ok(());
        }
        let mut blocked = encoder.encode_descriptor(BLOCKED.name, &BLOCKED.sentence(), None, MetricType::Gauge)?;
        for (policy, values) in all.iter() {
            for (reason, count) in &values.blocked {
                let labels = labels(policy, "reason", reason);
                blocked.encode_family(&labels)?.encode_gauge(&(*count as u64))?;
            }
        }
        Ok(())
    }
}

fn labels<'a>(policy: &'a PolicyKey, name: &'static str, word: &'static str) -> [(&'static str, &'a str); 3] {
    [("namespace", &policy.namespace), ("policy", &policy.name), (name, word)]
}
