//! One decision as a status. The whole status is built from the decision and the records, and from
//! nothing else: the same inputs give the same status. This stage needs no client.

mod conditions;
mod healing;
#[cfg(test)]
mod tests;
mod unhealthy;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prunella_api::{ActionSummary, HealingPolicy, HealingPolicyStatus, RefusalCount, StormStatus, TargetCounts};
use prunella_core::decide::Decision;
use prunella_core::ledger::{Ledger, State};
use prunella_core::observation::Observation;
use prunella_core::refusal::Reason;
use prunella_core::target::Uid;
use prunella_core::time::whole_seconds;

use crate::cluster_view::Hold;
use crate::compiled::CompiledPolicy;
use crate::records::DISRUPTION_BUDGET;
use crate::report::action_messages;
pub(in crate::report) use conditions::OTHER_SERIES;

/// What a status is built from.
pub(crate) struct StatusInputs<'a> {
    pub(crate) policy: &'a HealingPolicy,
    pub(crate) compiled: &'a CompiledPolicy,
    pub(crate) observation: &'a Observation,
    pub(crate) decision: &'a Decision,
    pub(crate) ledger: &'a Ledger,
    /// The namespace that holds healing back, if any.
    pub(crate) hold: Option<Hold>,
    /// What the API server says about the disruption budget that an action waits for.
    pub(crate) budget: Option<String>,
    /// A warning if the samples are further apart than the lookback.
    pub(crate) sparse: Option<String>,
}

impl StatusInputs<'_> {
    /// The guardrails that hold back firing targets without an action in flight, and the number of
    /// these targets. No guardrail holds back a pending target, because no action is due yet. A
    /// target that is in the answer and too young to be judged is neither, and counts as well.
    pub(super) fn blocked(&self) -> BTreeMap<Reason, usize> {
        let mut blocked = BTreeMap::new();
        for refused in self.decision.refusals.iter().filter(|refused| refused.due) {
            *blocked.entry(refused.refusal.reason).or_default() += 1;
        }
        let not_judged = self.not_judged().count();
        if not_judged > 0 {
            *blocked.entry(Reason::TooYoung).or_default() += not_judged;
        }
        blocked
    }

    /// The targets in the answer that are too young to be judged, and until when. A target that was
    /// unhealthy before has a refusal.
    fn not_judged(&self) -> impl Iterator<Item = (&Uid, Timestamp)> {
        let young = self.decision.too_young.iter().chain(&self.decision.below_min_age);
        young.filter(|(uid, _)| !self.decision.memory.timers.contains_key(*uid)).map(|(uid, until)| (uid, *until))
    }

    /// The status. `earlier`: the status that it replaces.
    pub(super) fn status(
        &self,
        earlier: Option<&HealingPolicyStatus>,
        blocked: &BTreeMap<Reason, usize>,
        now: &Time,
    ) -> HealingPolicyStatus {
        let counts = self.decision.counts;
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        HealingPolicyStatus {
            observed_generation: self.policy.metadata.generation,
            digest: Some(self.compiled.policy.digest.clone()),
            conditions: self.conditions(earlier, blocked, now),
            targets: Some(TargetCounts {
                selected: number(counts.selected),
                pending: number(counts.pending),
                firing: number(counts.firing),
                verifying: number(counts.verifying),
                exhausted: number(counts.exhausted),
            }),
            unhealthy: self.unhealthy(),
            blocked: self.blocked_counts(blocked),
            storm: self.storm(),
            last_action: self.last_action(),
        }
    }

    /// The current storm, and its newest action.
    fn storm(&self) -> Option<StormStatus> {
        let storm = self.decision.memory.storm?;
        let probe = self
            .ledger
            .of(&self.compiled.policy.key)
            .filter(|record| storm.concerns(record))
            .max_by_key(|record| record.sequence);
        Some(StormStatus { since: whole_seconds(storm.since).into(), probe: probe.map(|probe| probe.name.clone()) })
    }

    fn last_action(&self) -> Option<ActionSummary> {
        let newest = self.ledger.of(&self.compiled.policy.key).max_by_key(|record| record.sequence)?;
        let outcome = match newest.state {
            State::Finished(outcome) => Some(outcome.as_str()),
            _ => None,
        };
        let message = outcome
            .zip(newest.reason)
            .map(|(outcome, reason)| format!("{outcome}: {}", action_messages::outcome(reason, newest.scope)));
        Some(ActionSummary {
            name: newest.name.clone(),
            action: newest.action.clone(),
            target: newest.target.to_string(),
            time: newest.created.into(),
            outcome: outcome.map(str::to_owned),
            outcome_reason: newest.reason.map(|reason| reason.as_str().to_owned()),
            message,
        })
    }
}

impl StatusInputs<'_> {
    /// How many targets each guardrail holds back, and how many actions wait for a disruption
    /// budget.
    fn blocked_counts(&self, blocked: &BTreeMap<Reason, usize>) -> Vec<RefusalCount> {
        let mut counts = by_word(blocked);
        let waiting = i32::try_from(self.waiting_for_budget()).unwrap_or(i32::MAX);
        if waiting > 0 {
            counts.push(RefusalCount { reason: DISRUPTION_BUDGET.to_owned(), count: waiting });
        }
        counts
    }

    /// How many actions wait until a disruption budget allows them.
    fn waiting_for_budget(&self) -> usize {
        self.ledger
            .of(&self.compiled.policy.key)
            .filter(|record| record.state == State::Running && record.waiting)
            .count()
    }
}

/// One entry per word, in the order of the guardrails. The list's key is the word, and some guardrails
/// have several reasons with the same word.
fn by_word(blocked: &BTreeMap<Reason, usize>) -> Vec<RefusalCount> {
    let mut words: Vec<RefusalCount> = Vec::new();
    for (reason, count) in blocked {
        let count = i32::try_from(*count).unwrap_or(i32::MAX);
        match words.last_mut().filter(|last| last.reason == reason.as_str()) {
            Some(last) => last.count = last.count.saturating_add(count),
            None => words.push(RefusalCount { reason: reason.as_str().to_owned(), count }),
        }
    }
    words
}
