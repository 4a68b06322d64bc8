//! What the judge hands to the executor: who is firing right now, and what is
//! known of running actions. Values, not writes: the executor alone writes an
//! action's status.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use prunella_core::decide::Verdict;
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::Outcome;
use prunella_core::policy::PolicyKey;
use prunella_core::target::Uid;
use prunella_core::time::{elapsed, times};

/// The table between judge and executor.
#[derive(Debug, Default)]
pub(crate) struct Board {
    policies: Mutex<HashMap<PolicyKey, Posting>>,
}

/// What the judge knows of one policy.
#[derive(Debug, Clone)]
pub(crate) struct Posting {
    /// The uid of the policy that was judged.
    pub(crate) policy_uid: String,
    /// When the newest answer came.
    pub(crate) observed_at: Timestamp,
    /// The policy's interval.
    pub(crate) interval: SignedDuration,
    /// Who is firing by that answer.
    pub(crate) firing: HashSet<Uid>,
    /// What is known of running actions.
    pub(crate) verdicts: Vec<Verdict>,
}

impl Board {
    /// Replaces what is known of a policy. That there is nothing to know is not kept.
    pub(crate) fn post(&self, policy: &PolicyKey, posting: Posting) {
        let mut policies = self.policies();
        if posting.firing.is_empty() && posting.verdicts.is_empty() {
            policies.remove(policy);
        } else {
            policies.insert(policy.clone(), posting);
        }
    }

    /// Forgets a policy that is gone or that can no longer be judged.
    pub(crate) fn forget(&self, policy: &PolicyKey) {
        self.policies().remove(policy);
    }

    /// Whether the target is firing by news no older than two intervals.
    pub(crate) fn is_firing(&self, policy: &PolicyKey, policy_uid: &str, target: &Uid, now: Timestamp) -> bool {
        self.policies().get(policy).is_some_and(|posting| {
            let age = elapsed(posting.observed_at, now);
            // News of the future: the clock was set back.
            let is_news = !age.is_negative() && age <= times(posting.interval, 2);
            posting.policy_uid == policy_uid && posting.firing.contains(target) && is_news
        })
    }

    /// What the judge says of an action.
    pub(crate) fn verdict(&self, policy: &PolicyKey, action: &str) -> Option<(Outcome, OutcomeReason)> {
        let policies = self.policies();
        let verdict = policies.get(policy)?.verdicts.iter().find(|verdict| verdict.action == action)?;
        Some((verdict.outcome, verdict.reason))
    }

    // Every write replaces a whole value: a panic cannot leave half of one.
    fn policies(&self) -> MutexGuard<'_, HashMap<PolicyKey, Posting>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
