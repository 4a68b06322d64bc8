//! What is remembered of each policy from evaluation to evaluation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prunella_api::HealingPolicy;
use prunella_core::decide::Memory;
use prunella_core::observation::Observation;
use prunella_core::policy::{PolicyKey, SubjectCap};

use super::compile::{self, CompileError};
use super::restore;
use crate::compiled::CompiledPolicy;
use crate::observe::{EvaluationSlots, SourceTerms, Sources, Subscription};
use crate::report::policy_events::EventAllowance;
use crate::report::status_writer::StatusMemory;

/// What is remembered of all policies.
#[derive(Debug, Default)]
pub(crate) struct PolicyMemories {
    by_policy: Mutex<HashMap<PolicyKey, Arc<MemorySlot>>>,
}

/// Holds a policy's memory between its passes. One object is never reconciled twice at once.
/// Empty during a pass, and after a pass that panicked.
type MemorySlot = Mutex<Option<Box<PolicyMemory>>>;

/// What is remembered of one policy.
#[derive(Debug, Default)]
pub(super) struct PolicyMemory {
    /// The uid of the policy. Nothing that is remembered outlives it.
    uid: String,
    /// The digest of the condition, target and steps that were evaluated last. `None`: none yet.
    digest: Option<String>,
    /// The generation of the spec that was evaluated last. If it changes, the source is asked
    /// at once, however long the old interval was.
    generation: Option<i64>,
    /// The policy as it was compiled last: parsing costs more than the rest of an evaluation,
    /// and a policy changes seldom.
    compiled: Option<CompiledFrom>,
    /// What the last decision wants to be remembered.
    pub(super) decision: Memory,
    /// The last answers.
    pub(super) observation: Option<Observation>,
    /// When the source is to be asked again.
    pub(super) due: Option<Timestamp>,
    /// What was written to the status.
    pub(super) status: StatusMemory,
    /// How many Events about targets may be written.
    pub(super) events: EventAllowance,
    /// The number of the newest change of the source when it was asked last.
    pub(super) source_change: Option<u64>,
}

/// A compiled policy with its queries.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) compiled: CompiledPolicy,
    pub(super) subscription: Subscription,
}

/// A compiled policy, and everything it was made from that can change.
#[derive(Debug)]
struct CompiledFrom {
    resource_version: Option<String>,
    terms: SourceTerms,
    plan: Arc<Plan>,
}

impl PolicyMemory {
    /// The compiled policy: compiled again if the policy or its source has changed.
    pub(super) fn compile(
        &mut self,
        policy: &HealingPolicy,
        sources: &Sources,
        slots: &EvaluationSlots,
        subject_cap: SubjectCap,
    ) -> Result<Arc<Plan>, CompileError> {
        let source = policy.spec.condition.promql.as_ref().map(|promql| promql.source.name.as_str());
        let terms = source.map(|source| sources.terms(source)).unwrap_or_default();
        let resource_version = &policy.metadata.resource_version;
        let same = |from: &&CompiledFrom| {
            resource_version.is_some() && from.resource_version == *resource_version && from.terms == terms
        };
        if let Some(from) = self.compiled.as_ref().filter(same) {
            return Ok(Arc::clone(&from.plan));
        }
        // Dropped only after the new one is made: the last subscriber of a query keeps its slot.
        let _earlier = self.compiled.take();
        let plan = Arc::new(compile::compile(policy, &terms, slots, subject_cap)?);
        let resource_version = resource_version.clone();
        self.compiled = Some(CompiledFrom { resource_version, terms, plan: Arc::clone(&plan) });
        Ok(plan)
    }

    /// Forgets what belongs to an earlier policy of the same name. It comes before the policy is
    /// compiled: also a policy that cannot work gets a status of its own.
    pub(super) fn meet(&mut self, policy: &HealingPolicy) {
        let uid = policy.metadata.uid.as_deref().unwrap_or_default();
        if self.uid != uid {
            *self = Self { uid: uid.to_owned(), ..Self::default() };
        }
    }

    /// Forgets what belongs to other rules. A process that evaluates the policy for the first
    /// time restores the timers from its status.
    pub(super) fn adopt(&mut self, policy: &HealingPolicy, digest: &str) {
        if self.digest.as_deref() != Some(digest) {
            let first = self.digest.is_none();
            *self = Self {
                uid: std::mem::take(&mut self.uid),
                digest: Some(digest.to_owned()),
                compiled: self.compiled.take(),
                decision: if first { restore::memory(policy, digest) } else { Memory::default() },
                status: std::mem::take(&mut self.status),
                events: std::mem::take(&mut self.events),
                ..Self::default()
            };
        }
        if self.generation != policy.metadata.generation {
            self.generation = policy.metadata.generation;
            self.due = None;
        }
    }
}

impl PolicyMemories {
    /// Takes the memory of a policy for one pass.
    pub(super) fn take(&self, key: &PolicyKey) -> (Arc<MemorySlot>, Box<PolicyMemory>) {
        let slot = {
            let mut by_policy = lock(&self.by_policy);
            match by_policy.get(key) {
                Some(slot) => Arc::clone(slot),
                None => Arc::clone(by_policy.entry(key.clone()).or_default()),
            }
        };
        let memory = lock(&slot).take().unwrap_or_default();
        (slot, memory)
    }

    /// Forgets a policy that is gone.
    pub(crate) fn forget(&self, key: &PolicyKey) {
        lock(&self.by_policy).remove(key);
    }
}

/// Puts the memory of a policy back after a pass.
pub(super) fn put_back(slot: &MemorySlot, memory: Box<PolicyMemory>) {
    *lock(slot) = Some(memory);
}

// Every write under these locks replaces a whole value: a panic cannot leave half of one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn the_slot_that_was_learned_outlives_a_write_of_the_status() {
        let policy = |version: &str| {
            serde_json::from_value::<HealingPolicy>(serde_json::json!({
                "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
                "metadata": {"name": "web", "namespace": "shop", "resourceVersion": version},
                "spec": {
                    "condition": {"promql": {"query": "up{namespace=\"shop\"} > 5"}},
                    "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
                    "steps": [{"name": "evict", "action": {"deletePod": {}}}],
                },
            }))
            .unwrap()
        };
        let (sources, slots) = (Sources::new(), EvaluationSlots::default());
        let cap = SubjectCap { count: 5, window: SignedDuration::from_hours(1) };
        let mut memory = PolicyMemory::default();
        let first = memory.compile(&policy("1"), &sources, &slots, cap).unwrap();
        let before = Arc::downgrade(&first.subscription.slot);
        drop(first);
        let after = memory.compile(&policy("2"), &sources, &slots, cap).unwrap();
        assert!(before.upgrade().is_some_and(|before| Arc::ptr_eq(&before, &after.subscription.slot)));
    }

    /// A policy that is refused, deleted and created with the same mistake gets a status again.
    #[test]
    fn what_is_remembered_of_a_policy_ends_with_its_uid() {
        let policy = |uid: &str| {
            serde_json::from_value::<HealingPolicy>(serde_json::json!({
                "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
                "metadata": {"name": "web", "namespace": "shop", "uid": uid},
                "spec": {
                    "condition": {"promql": {"query": "up"}},
                    "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
                    "steps": [{"name": "evict", "action": {"deletePod": {}}}],
                },
            }))
            .unwrap()
        };
        let mut memory = PolicyMemory::default();
        memory.meet(&policy("first"));
        memory.status.note_written(prunella_api::HealingPolicyStatus::default());
        memory.meet(&policy("first"));
        assert!(memory.status.has_written(), "the same policy");
        memory.meet(&policy("second"));
        assert!(!memory.status.has_written(), "another policy of the same name");
    }
}
