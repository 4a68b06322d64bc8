//! What the audit has told so far: policies, actions, pods and workloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Sickness, Violation};
use crate::api_server::AuditEntry;

/// What a policy allows.
#[derive(Debug, Clone, Default)]
pub(super) struct PolicyFacts {
    pub(super) max_actions: usize,
    pub(super) window: SignedDuration,
    pub(super) max_concurrent: usize,
    pub(super) cooldown: SignedDuration,
    pub(super) breach_for: SignedDuration,
    pub(super) min_available: Value,
    /// Since when its condition is as it is.
    pub(super) edited: Timestamp,
    pub(super) condition: Value,
    /// Since when it is suspended.
    pub(super) suspended: Option<Timestamp>,
}

/// A record.
#[derive(Debug, Clone)]
pub(super) struct ActionFacts {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) policy: String,
    pub(super) kind: String,
    pub(super) target: String,
    pub(super) subject: String,
    pub(super) sequence: i64,
    pub(super) created: Timestamp,
    pub(super) state: String,
    pub(super) is_blocked: bool,
    /// The objects that it changed, and when.
    pub(super) effects: Vec<(Timestamp, String)>,
}

impl ActionFacts {
    pub(super) fn is_finished(&self) -> bool {
        !matches!(self.state.as_str(), "Pending" | "Running" | "Settling" | "Verifying")
    }

    /// Whether it says that it had no effect, so that its budget is given back.
    pub(super) fn is_without_effect(&self) -> bool {
        matches!(self.state.as_str(), "Superseded" | "Cancelled" | "Expired" | "DryRun")
    }

    pub(super) fn is_on_whole(&self) -> bool {
        self.kind != "DeletePod"
    }
}

/// A pod, also one that is gone.
#[derive(Debug, Clone)]
pub(super) struct PodFacts {
    pub(super) app: String,
    pub(super) created: Timestamp,
    pub(super) is_ready: bool,
    pub(super) was_ready: bool,
    /// Terminating, or gone.
    pub(super) is_leaving: bool,
    /// When Prunella removed it while it was Ready.
    pub(super) removed: Option<Timestamp>,
}

/// Everything so far.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) violations: Vec<Violation>,
    pub(super) sicknesses: Vec<Sickness>,
    pub(super) policies: BTreeMap<String, PolicyFacts>,
    pub(super) actions: BTreeMap<String, ActionFacts>,
    pub(super) pods: BTreeMap<String, PodFacts>,
    /// The wanted replicas of each app.
    pub(super) wanted: BTreeMap<String, usize>,
    /// The highest number that each policy ever used.
    pub(super) highest: BTreeMap<String, i64>,
    /// Who has held the Lease, and since when.
    pub(super) holders: Vec<(Timestamp, String)>,
}

impl Ledger {
    pub(super) fn new(sicknesses: Vec<Sickness>) -> Self {
        Self {
            violations: Vec::new(),
            sicknesses,
            policies: BTreeMap::new(),
            actions: BTreeMap::new(),
            pods: BTreeMap::new(),
            wanted: BTreeMap::new(),
            highest: BTreeMap::new(),
            holders: Vec::new(),
        }
    }

    pub(super) fn require(&mut self, holds: bool, at: Timestamp, promise: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(Violation { at, promise, what: what() });
        }
    }

    /// Takes over one change, and checks it.
    pub(super) fn take(&mut self, entry: &AuditEntry) {
        if entry.by.is_some() {
            self.check_allowed(entry);
            self.check_leads(entry);
        }
        match entry.kind.as_str() {
            "HealingAction" => self.check_record(entry),
            "Pod" => {
                self.check_pod(entry);
                self.note_pod(entry);
            }
            "Deployment" => {
                self.check_workload(entry);
                if let Some(after) = &entry.after {
                    let wanted = after.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
                    self.wanted.insert(entry.name.clone(), usize::try_from(wanted).unwrap_or(0));
                }
            }
            "HealingPolicy" => self.note_policy(entry),
            "Lease" => self.note_lease(entry),
            _ => {}
        }
    }

    /// A controller writes to few kinds only.
    fn check_allowed(&mut self, entry: &AuditEntry) {
        let kinds = [
            "HealingAction",
            "HealingPolicy",
            "ClusterPrometheusSource",
            "Event",
            "Lease",
            "Pod",
            "Deployment",
            "PodDisruptionBudget",
        ];
        let is_creation = entry.before.is_none() && matches!(entry.kind.as_str(), "Pod" | "Deployment");
        let allowed = kinds.contains(&entry.kind.as_str()) && !is_creation;
        self.require(allowed, entry.at, "writes nothing else", || format!("{} {}", entry.kind, entry.name));
        // An eviction charges the status of a disruption budget.
        let status_only =
            ["HealingPolicy", "ClusterPrometheusSource", "PodDisruptionBudget"].contains(&entry.kind.as_str());
        let same = |pointer: &str| {
            let at = |object: &Option<Arc<Value>>| object.as_ref().and_then(|object| object.pointer(pointer)).cloned();
            at(&entry.before) == at(&entry.after)
        };
        self.require(!status_only || same("/spec"), entry.at, "writes nothing else", || {
            format!("the spec of {} {}", entry.kind, entry.name)
        });
    }

    fn note_policy(&mut self, entry: &AuditEntry) {
        let Some(after) = &entry.after else { return };
        let number = |pointer: &str| after.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let time = |pointer: &str| {
            let text = after.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            text.parse().unwrap_or_default()
        };
        let before = self.policies.get(&entry.name);
        let was = before.and_then(|facts| facts.suspended);
        let condition = after.pointer("/spec/condition").cloned().unwrap_or_default();
        let edited = before.filter(|before| before.condition == condition).map_or(entry.at, |before| before.edited);
        let is = after.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or(false);
        let facts = PolicyFacts {
            max_actions: usize::try_from(number("/spec/limits/maxActions/count")).unwrap_or(0),
            window: time("/spec/limits/maxActions/per"),
            max_concurrent: usize::try_from(number("/spec/limits/maxConcurrent")).unwrap_or(0),
            cooldown: time("/spec/limits/cooldown"),
            breach_for: time("/spec/condition/for"),
            min_available: after.pointer("/spec/limits/minAvailable").cloned().unwrap_or_default(),
            edited,
            condition,
            suspended: if is { was.or(Some(entry.at)) } else { None },
        };
        self.policies.insert(entry.name.clone(), facts);
    }

    fn note_pod(&mut self, entry: &AuditEntry) {
        let uid = uid(entry);
        let Some(after) = &entry.after else {
            if let Some(pod) = self.pods.get_mut(&uid) {
                (pod.is_leaving, pod.is_ready) = (true, false);
            }
            return;
        };
        let conditions = after.pointer("/status/conditions").and_then(Value::as_array);
        let is_ready = conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True");
        let app = after.pointer("/metadata/labels/app").and_then(Value::as_str).unwrap_or_default().to_owned();
        let pod = self.pods.entry(uid).or_insert_with(|| PodFacts {
            app,
            created: entry.at,
            is_ready: false,
            was_ready: false,
            is_leaving: false,
            removed: None,
        });
        pod.is_ready = is_ready;
        pod.was_ready |= is_ready;
        pod.is_leaving = after.pointer("/metadata/deletionTimestamp").is_some();
    }
}

/// The uid of the object that was changed.
pub(super) fn uid(entry: &AuditEntry) -> String {
    let object = entry.after.as_ref().or(entry.before.as_ref());
    object.and_then(|object| object.pointer("/metadata/uid")).and_then(Value::as_str).unwrap_or_default().to_owned()
}
