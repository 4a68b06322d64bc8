//! What the policy reconciler hands to the action reconciler: which targets are firing, and
//! the verdicts on running actions. These are values, not writes: only the action reconciler
//! writes an action's status.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use prunella_core::decide::Verdict;
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
}

impl Handover {
    /// Replaces the findings of a policy. Empty findings are not kept.
    pub(crate) fn put(&self, policy: &PolicyKey, findings: Findings) {
        let mut policies = self.policies();
        if findings.firing.is_empty() && findings.verdicts.is_empty() {
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
            let age = elapsed(findings.observed_at, now);
            // An age below zero means that the clock was set back.
            let is_fresh = !age.is_negative() && age <= times(findings.interval, 2);
            findings.policy_uid == policy_uid && findings.firing.contains(target) && is_fresh
        })
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
