//! What the policy reconciler hands to the action reconciler: which targets are firing, and
//! the verdicts on running actions. These are values, not writes: only the action reconciler
//! writes an action's status.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use prunella_core::decide::{PlannedRemoval, Verdict};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::Outcome;
use prunella_core::policy::PolicyKey;
use prunella_core::target::Uid;
use prunella_core::time::{elapsed, times};

/// The newest findings of every policy.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    policies: Mutex<HashMap<PolicyKey, Findings>>,
}

/// The newest findings of one policy.
#[derive(Debug, Clone)]
pub(crate) struct Findings {
    /// The uid of the policy that was evaluated.
    pub(crate) policy_uid: String,
    /// When the newest answer was received.
    pub(crate) observed_at: Timestamp,
    /// The policy's interval.
    pub(crate) interval: SignedDuration,
    /// The targets that are firing by that answer.
    pub(crate) firing: HashSet<Uid>,
    /// The verdicts on running actions.
    pub(crate) verdicts: Vec<Verdict>,
    /// The workloads from which the policy is about to remove a single pod, and when.
    pub(crate) removals: BTreeMap<Uid, Timestamp>,
}

impl Findings {
    /// Whether they are no older than two intervals.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let age = elapsed(self.observed_at, now);
        // An age below zero means that the clock was set back.
        !age.is_negative() && age <= times(self.interval, 2)
    }
}

impl Handover {
    /// Replaces the findings of a policy. Empty findings are not kept.
    pub(crate) fn put(&self, policy: &PolicyKey, findings: Findings) {
        let mut policies = self.policies();
        if findings.firing.is_empty() && findings.verdicts.is_empty() && findings.removals.is_empty() {
            policies.remove(policy);
        } else {
            policies.insert(policy.clone(), findings);
        }
    }

    /// Forgets a policy that is gone or that can no longer be evaluated.
    pub(crate) fn forget(&self, policy: &PolicyKey) {
        self.policies().remove(policy);
    }

    /// Whether the target is firing by an answer that is no older than two intervals.
    pub(crate) fn is_firing(&self, policy: &PolicyKey, policy_uid: &str, target: &Uid, now: Timestamp) -> bool {
        self.policies().get(policy).is_some_and(|findings| {
            findings.policy_uid == policy_uid && findings.firing.contains(target) && findings.is_fresh(now)
        })
    }

    /// The workloads from which policies of the namespace, other than `policy`, are about to
    /// remove a single pod.
    pub(crate) fn removals_of_others(&self, policy: &PolicyKey, now: Timestamp) -> BTreeMap<Uid, PlannedRemoval> {
        let mut removals: BTreeMap<Uid, PlannedRemoval> = BTreeMap::new();
        for (other, findings) in self.policies().iter() {
            if other.namespace != policy.namespace || other == policy || !findings.is_fresh(now) {
                continue;
            }
            for (workload, at) in &findings.removals {
                let one = PlannedRemoval { policy: other.name.clone(), at: *at };
                let first = removals.entry(workload.clone()).or_insert_with(|| one.clone());
                // The map has no order, and the status must not change with it.
                if (one.at, &one.policy) < (first.at, &first.policy) {
                    *first = one;
                }
            }
        }
        removals
    }

    /// The verdict on an action.
    pub(crate) fn verdict(&self, policy: &PolicyKey, action: &str) -> Option<(Outcome, OutcomeReason)> {
        let policies = self.policies();
        let verdict = policies.get(policy)?.verdicts.iter().find(|verdict| verdict.action == action)?;
        Some((verdict.outcome, verdict.reason))
    }

    // Every write replaces a whole value: a panic cannot leave half of one.
    fn policies(&self) -> MutexGuard<'_, HashMap<PolicyKey, Findings>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_known_to_the_other_policies_of_its_namespace_while_it_is_fresh() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let key = |namespace: &str, name: &str| PolicyKey { namespace: namespace.into(), name: name.into() };
        let findings = |removes: i64| Findings {
            policy_uid: String::new(),
            observed_at: at(100),
            interval: SignedDuration::from_secs(30),
            firing: HashSet::new(),
            verdicts: Vec::new(),
            removals: [("web".into(), at(removes))].into(),
        };
        let handover = Handover::default();
        handover.put(&key("shop", "pods"), findings(120));
        handover.put(&key("shop", "earlier"), findings(110));
        handover.put(&key("other", "elsewhere"), findings(101));
        let seen = |by: &str, now| {
            let removals = handover.removals_of_others(&key("shop", by), at(now));
            removals.into_values().map(|removal| removal.policy).collect::<Vec<_>>()
        };
        assert_eq!(seen("web", 110), ["earlier"]);
        assert_eq!(seen("earlier", 110), ["pods"], "not its own");
        assert_eq!(seen("web", 161), [""; 0], "older than two intervals");
        handover.forget(&key("shop", "pods"));
        handover.forget(&key("shop", "earlier"));
        assert_eq!(seen("web", 110), [""; 0]);
    }
}
