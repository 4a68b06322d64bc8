//! The policy reconciler. It never touches a workload: what it wants done becomes a
//! `HealingAction`, and what it knows of running actions is handed over as verdicts.
//!
//! ```text
//! compile → restore → observe → decide → report → reserve → hand over → write status → collect
//! ```
//!
//! Nearly all passes find no unhealthy target and write nothing. Stages that run seldom are
//! boxed, so that a pass stays small in memory.

mod claims;
mod collect;
mod compile;
mod decide;
mod memory;
mod reserve;
mod restore;
mod rules_digest;
mod turns;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use futures::future::join;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Requeue;
use prunella_api::HealingPolicy;
use prunella_core::decide::{BreachPhase, Decision, Memory};
use prunella_core::ledger::{Ledger, State};
use prunella_core::observation::{Answer, Observation};
use prunella_core::policy::{PolicyKey, PolicyMode, SubjectCap};
use prunella_core::time;
use tracing::{debug, error, warn};

use crate::authority::Authority;
use crate::clients::Clients;
use crate::cluster_view::ClusterView;
use crate::handover::{Findings, Handover};
use crate::observe::Observer;
use crate::records::ActionRecords;
use crate::report::status::StatusInputs;
use crate::report::status_writer::{self, Urgency};
use crate::report::{Reporter, policy_events};
use crate::wakers::ActionWaker;
pub(crate) use claims::Claims;
use decide::{unsigned, without_reservations};
pub(crate) use memory::PolicyMemories;
use memory::{Plan, PolicyMemory};
pub(crate) use turns::EvaluationTurns;

/// A policy as the watch delivers it: an object that does not parse stops no other.
pub(crate) type GuardedPolicy = DeserializeGuard<HealingPolicy>;

/// The shortest time to the next pass, after one that came slightly too early.
const NOT_AT_ONCE: Duration = Duration::from_millis(5);
/// When a failed pass is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// When a policy that cannot work is tried again if nobody changes it.
const STALLED_AGAIN: Duration = Duration::from_mins(10);
/// When a policy is tried again that its source does not allow.
const SOURCE_AGAIN: Duration = Duration::from_secs(30);

/// What the policy reconciler uses.
pub(crate) struct Judge {
    pub(crate) authority: Arc<Authority>,
    pub(crate) clients: Clients,
    pub(crate) view: Arc<ClusterView>,
    pub(crate) records: Arc<ActionRecords>,
    pub(crate) observer: Observer,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) wake_action: ActionWaker,
    pub(crate) memories: PolicyMemories,
    pub(crate) claims: Claims,
    /// How many actions one subject may have, from all policies.
    pub(crate) subject_cap: SubjectCap,
}

impl Judge {
    /// Forgets a policy that is gone.
    pub(crate) fn forget(&self, policy: &PolicyKey) {
        self.memories.forget(policy);
        self.handover.forget(policy);
        self.reporter.metrics.forget(policy);
    }
}

/// Why a pass could not finish.
#[derive(Debug, thiserror::Error)]
enum JudgeError {
    #[error("cannot reserve an action: {0}")]
    Reserve(#[source] prunella_cluster::ClusterError),
    #[error("cannot write the status: {0}")]
    Status(#[source] prunella_cluster::ClusterError),
}

/// One pass over one policy.
pub(crate) async fn reconcile(policy: Arc<GuardedPolicy>, judge: Arc<Judge>) -> Result<Requeue, Infallible> {
    let policy = match &policy.0 {
        Ok(policy) => policy,
        Err(invalid) => {
            let name = invalid.metadata.name.as_deref().unwrap_or_default();
            let namespace = invalid.metadata.namespace.as_deref().unwrap_or_default();
            error!(namespace, policy = name, error = %invalid.error, "a HealingPolicy does not parse; it is ignored");
            judge.reporter.metrics.failed("policy");
            judge.reporter.metrics.forget(&PolicyKey { namespace: namespace.to_owned(), name: name.to_owned() });
            return Ok(Requeue::requeue(STALLED_AGAIN));
        }
    };
    let key = PolicyKey { namespace: policy.namespace().unwrap_or_default(), name: policy.name_any() };
    if policy.metadata.deletion_timestamp.is_some() {
        judge.forget(&key);
        return Ok(Requeue::await_change());
    }
    let (slot, mut memory) = judge.memories.take(&key);
    let next = evaluate(policy, &key, &mut memory, &judge).await;
    memory::put_back(&slot, memory);
    Ok(next.unwrap_or_else(|error| {
        judge.reporter.metrics.failed("policy");
        warn!(policy = %key, %error, "trying again");
        Requeue::requeue(TRY_AGAIN)
    }))
}

/// One evaluation of one policy, stage by stage.
async fn evaluate(
    policy: &HealingPolicy,
    key: &PolicyKey,
    memory: &mut PolicyMemory,
    judge: &Judge,
) -> Result<Requeue, JudgeError> {
    let observer = &judge.observer;
    memory.meet(policy);
    let plan = match memory.compile(policy, &observer.sources, &observer.slots, judge.subject_cap) {
        Ok(plan) => plan,
        Err(error) => return stalled(policy, key, memory, &error, judge).await,
    };
    memory.adopt(policy, &plan.compiled.policy.digest);
    let until = Instant::now() + plan.subscription.deadline();
    let seen = observe(&plan, memory, judge).await;
    let (observation, decision) =
        decide::decide(&plan, &memory.decision, seen.observation, seen.is_of_now, until, judge).await;
    let hold = judge.view.hold(&key.namespace);
    let allowance = &mut memory.events;
    policy_events::transitions(policy, &plan.compiled, &decision, hold.as_ref(), allowance, &judge.reporter);

    let decision = match start_reservations(policy, &plan, &observation, decision, memory, judge).await {
        Ok(decision) => decision,
        Err(Unreserved { due, error }) => {
            memory.observation = Some(observation);
            memory.due = Some(due);
            return Err(JudgeError::Reserve(error));
        }
    };
    judge.handover.put(key, findings(&plan, policy, &observation, &decision));
    let ledger = judge.records.ledger(&key.namespace);
    wake_actions(key, &ledger, &decision, judge);

    memory.decision = decision.memory.clone();
    let due = next_due(seen.asked, memory.due, time::after(decision.at, decision.next_check));
    memory.due = Some(due);
    write_status(policy, &plan, &observation, &decision, &ledger, Urgency::Paced, memory, judge)
        .await
        .map_err(JudgeError::Status)?;
    collect::collect(policy, &plan.compiled, &memory.decision, &ledger, judge).await;
    drop(ledger);

    let is_quiet = seen.asked && matches!(observation.breach, Answer::Answered(_)) && decision.reservations.is_empty();
    memory.observation = Some(remembered(observation, &memory.decision));
    if is_quiet && plan.subscription.slot.is_due(Instant::now()) {
        Box::pin(plan.subscription.learn_ages(observer)).await;
    }
    let next = unsigned(time::elapsed(judge.authority.now(), due)).max(NOT_AT_ONCE);
    Ok(Requeue::requeue(memory.status.waiting().map_or(next, |waiting| next.min(waiting))))
}

/// The policy cannot work until somebody changes it.
async fn stalled(
    policy: &HealingPolicy,
    key: &PolicyKey,
    memory: &mut PolicyMemory,
    error: &compile::CompileError,
    judge: &Judge,
) -> Result<Requeue, JudgeError> {
    judge.handover.forget(key);
    judge.reporter.metrics.forget(key);
    let (reason, message) = (error.reason(), error.to_string());
    let written = status_writer::write_stalled(policy, &mut memory.status, reason, &message, &judge.reporter);
    Box::pin(written).await.map_err(JudgeError::Status)?;
    // A change of the source wakes the policy. This is for a change that was missed.
    Ok(Requeue::requeue(if error.is_of_source() { SOURCE_AGAIN } else { STALLED_AGAIN }))
}

/// What stage 2 found.
struct Seen {
    observation: Observation,
    /// Whether the evaluation was due, so that the source was asked.
    asked: bool,
    /// Whether the observation is of this pass.
    is_of_now: bool,
}

/// Asks the source if that is due. A pass between two evaluations uses the last answer.
async fn observe(plan: &Plan, memory: &mut PolicyMemory, judge: &Judge) -> Seen {
    let now = judge.authority.now();
    // An answer of a source that has changed since says nothing about what it answers now.
    let source_change = judge.observer.sources.newest_change(&plan.subscription.source);
    let is_changed = source_change != memory.source_change;
    memory.source_change = source_change;
    let asked = is_changed || memory.observation.is_none() || memory.due.is_none_or(|due| now >= due);
    let observation = match memory.observation.take() {
        Some(observation) if !asked => observation,
        _ => plan.subscription.breach(memory.due, &judge.observer).await,
    };
    Seen { is_of_now: asked && observation.at >= now, observation, asked }
}

/// Why nothing was reserved, and when to evaluate again.
struct Unreserved {
    due: Timestamp,
    error: prunella_cluster::ClusterError,
}

/// Reserves what the decision wants, and writes the status beside it. Returns the decision
/// with the reservations that were recorded.
async fn start_reservations(
    policy: &HealingPolicy,
    plan: &Plan,
    observation: &Observation,
    decision: Decision,
    memory: &mut PolicyMemory,
    judge: &Judge,
) -> Result<Decision, Unreserved> {
    let key = &plan.compiled.policy.key;
    if decision.reservations.is_empty() {
        return Ok(decision);
    }
    if let Err(why) = judge.authority.may_act() {
        debug!(policy = %key, why, "nothing is reserved");
        return Ok(without_reservations(decision));
    }
    // Handed over even if nothing can be reserved: running actions wait for their verdicts.
    judge.handover.put(key, findings(plan, policy, observation, &decision));
    memory.decision = decision.memory.clone();
    let ledger = judge.records.ledger(&key.namespace);
    // The status is written beside the reservation, not before it: that saves the time of one
    // request. Nothing is lost if the process ends here, because no action starts whose target
    // this process does not see firing.
    let status = write_status(policy, plan, observation, &decision, &ledger, Urgency::Now, memory, judge);
    let reserved = reserve::reserve(policy, plan, &decision, observation, judge);
    let (written, reserved) = Box::pin(join(status, reserved)).await;
    // A status that cannot be written must not prevent healing.
    if let Err(error) = written {
        warn!(policy = %key, %error, "cannot write the status beside a reservation");
    }
    reserved.map_err(|error| Unreserved { due: time::after(decision.at, decision.next_check), error })
}

#[expect(clippy::too_many_arguments, reason = "everything that a status is built from")]
async fn write_status(
    policy: &HealingPolicy,
    plan: &Plan,
    observation: &Observation,
    decision: &Decision,
    ledger: &Ledger,
    urgency: Urgency,
    memory: &mut PolicyMemory,
    judge: &Judge,
) -> Result<(), prunella_cluster::ClusterError> {
    let compiled = &plan.compiled;
    let hold = judge.view.hold(&compiled.policy.key.namespace);
    let sparse = plan.subscription.too_sparse(&judge.observer);
    let budget = judge.records.budget(&compiled.policy.key);
    let inputs = StatusInputs { policy, compiled, observation, decision, ledger, hold, budget, sparse };
    status_writer::write_status(&inputs, urgency, &mut memory.status, &judge.reporter).await
}

/// Wakes the action reconciler for every action that the decision is about.
fn wake_actions(policy: &PolicyKey, ledger: &Ledger, decision: &Decision, judge: &Judge) {
    for record in ledger.of(policy).filter(|record| record.in_flight()) {
        let verdict = decision.verdicts.iter().any(|verdict| verdict.action == record.name);
        if verdict || record.state == State::Pending {
            judge.wake_action.wake(&policy.namespace, &record.name);
        }
    }
}

/// What is kept of an observation until the next evaluation. If all targets are healthy, the
/// evidence is not: it has all labels of as many series as there are pods.
fn remembered(observation: Observation, memory: &Memory) -> Observation {
    if memory.timers.is_empty() && memory.verifications.is_empty() {
        return Observation {
            evidence: None,
            history: None,
            freshness: BTreeMap::new(),
            operands: None,
            ..observation
        };
    }
    observation
}

/// When the source is to be asked next. A pass that did not ask can only bring that forward:
/// one that comes slightly too early, because the server's clock lags behind the timer, would
/// otherwise put it off by a whole interval.
fn next_due(asked: bool, due: Option<Timestamp>, next: Timestamp) -> Timestamp {
    match due {
        Some(due) if !asked => due.min(next),
        _ => next,
    }
}

fn findings(plan: &Plan, policy: &HealingPolicy, observation: &Observation, decision: &Decision) -> Findings {
    let firing = decision.memory.timers.iter().filter(|(uid, timer)| {
        timer.phase == BreachPhase::Firing
            && timer.breach.is_some_and(|breach| breach.last == observation.at)
            && !decision.waiting.contains(*uid)
    });
    Findings {
        policy_uid: policy.uid().unwrap_or_default(),
        observed_at: observation.at,
        interval: plan.compiled.policy.interval,
        firing: firing.map(|(uid, _)| uid.clone()).collect(),
        verdicts: decision.verdicts.clone(),
        // Nobody waits for a dry run.
        removals: match plan.compiled.policy.mode {
            PolicyMode::Enforce => decision.removals.clone(),
            PolicyMode::DryRun => BTreeMap::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use prunella_core::decide::Verification;

    use super::*;

    #[test]
    fn evidence_is_kept_while_a_target_is_unhealthy_and_no_longer() {
        let observation = || Observation {
            at: Timestamp::UNIX_EPOCH,
            breach: Answer::Answered(Vec::new()),
            evidence: Some(Answer::Answered(Vec::new())),
            history: None,
            freshness: BTreeMap::new(),
            operands: None,
        };
        assert!(remembered(observation(), &Memory::default()).evidence.is_none());
        let verification = Verification { clear: None, frozen: false };
        let verifying = Memory { verifications: [("web-1".to_owned(), verification)].into(), ..Memory::default() };
        assert_eq!(remembered(observation(), &verifying), observation());
    }

    #[test]
    fn a_pass_that_did_not_ask_never_delays_the_next_evaluation() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        for (asked, due, next, expected) in [
            (true, Some(10), 20, 20),
            (false, Some(10), 20, 10),
            (false, Some(20), 10, 10),
            (true, None, 20, 20),
            (false, None, 20, 20),
        ] {
            assert_eq!(next_due(asked, due.map(at), at(next)), at(expected), "{asked} {due:?} {next}");
        }
    }
}
