//! The decision. If it needs more data, the source is asked, and the decision is made again
//! from the same memory.

use tokio::time::Instant;

use jiff::SignedDuration;
use prunella_core::decide::{Decision, Inputs, Memory};
use prunella_core::observation::Observation;

use super::Judge;
use super::memory::Plan;

/// How often a decision may ask for more: evidence, then history, then freshness. What is
/// open after that, or after the deadline, stays refused until the next evaluation.
const ROUNDS: usize = 3;

/// Decides, and asks what the decision needs, until `until`. `is_of_now`: the observation was
/// asked for in this pass.
pub(super) async fn decide(
    plan: &Plan,
    memory: &Memory,
    observation: Observation,
    is_of_now: bool,
    until: Instant,
    judge: &Judge,
) -> (Observation, Decision) {
    let first = decide_once(plan, memory, &observation, judge);
    if first.questions.is_empty() {
        return (observation, first);
    }
    // Boxed: most evaluations end above, and a pass is moved about as a whole.
    Box::pin(ask_more(plan, memory, is_of_now.then_some((observation, first)), until, judge)).await
}

/// Asks what a decision needs. All answers must be of the same instant: unless `known` is of
/// now, the condition is asked again first.
async fn ask_more(
    plan: &Plan,
    memory: &Memory,
    known: Option<(Observation, Decision)>,
    until: Instant,
    judge: &Judge,
) -> (Observation, Decision) {
    let (mut observation, mut decision) = if let Some(known) = known {
        known
    } else {
        let observation = plan.subscription.breach(None, &judge.observer).await;
        let decision = decide_once(plan, memory, &observation, judge);
        (observation, decision)
    };
    for _ in 0..ROUNDS {
        if decision.questions.is_empty() {
            break;
        }
        let questions = std::mem::take(&mut decision.questions);
        plan.subscription.answer(questions, &mut observation, until, &judge.observer).await;
        decision = decide_once(plan, memory, &observation, judge);
    }
    (observation, decision)
}

/// One decision from what is known at this instant.
pub(super) fn decide_once(plan: &Plan, memory: &Memory, observation: &Observation, judge: &Judge) -> Decision {
    let policy = &plan.compiled.policy;
    let now = judge.authority.now();
    prunella_core::decide(Inputs {
        policy,
        observation,
        targets: &judge.view.targets(&plan.compiled),
        ledger: &judge.records.ledger(&policy.key.namespace),
        memory,
        held: judge.view.is_held(&policy.key.namespace),
        removals: &judge.handover.removals_of_others(&policy.key, now),
        phase: plan.subscription.slot.phase(),
        now,
    })
}

/// The decision without its reservations.
pub(super) fn without_reservations(decision: Decision) -> Decision {
    Decision { reservations: Vec::new(), ..decision }
}

/// A duration that is never negative.
pub(super) fn unsigned(duration: SignedDuration) -> std::time::Duration {
    duration.try_into().unwrap_or_default()
}
