//! How one action is executed: a pure transition table that gives the next instruction. An
//! instruction is at most one write, and repeating it has no further effect.
//!
//! ```text
//! Pending ─▶ Running ─▶ Settling ─▶ Verifying ─▶ outcome
//!    │          │           │
//!    └──────────┴───────────┴─▶ outcome
//! ```
//!
//! `Running` is recorded *before* the first effect. If the effect is in place after that, the
//! action was executed, even if the answer to the write was lost. `Superseded` is possible
//! only before `Running`.

mod reason;
mod refusal;
mod settling;
mod world;

use jiff::{SignedDuration, Timestamp};

use crate::action::Action;
use crate::ledger::{Outcome, Overlap, State};
use crate::policy::PolicyMode;
use crate::target::{NotHealable, Object, Uid};
use crate::time::{after, elapsed};

pub use reason::OutcomeReason;
pub use refusal::EffectRefusal;
pub use settling::{ends_slowly, progresses_until};
use settling::{is_late, settle_by};
pub use world::{ActionWorld, EffectState, LiveField, LiveSubject, LiveTarget, PolicyStanding};

/// How long an action tries to execute its effect.
pub const EXECUTE_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// How long an action whose eviction was denied waits for somebody else to remove the pod. The operator that the webhook of Strimzi informs restarts pods every two minutes.
pub const DENIED_WITHIN: SignedDuration = SignedDuration::from_mins(3);
/// How long after `verifyBy` the verdict may arrive. A source without usable answers extends
/// a verification by up to 15 minutes. The rest is time for the judge.
const VERDICT_WITHIN: SignedDuration = SignedDuration::from_mins(20);
/// How long after the start of an action a write of it may still arrive that was decided
/// before another action was visible. A read and a write take at most 15 seconds.
const WRITE_ARRIVES_WITHIN: SignedDuration = SignedDuration::from_secs(20);
/// How often to check before the action starts and until its effect is in place.
const CHECK_AGAIN: SignedDuration = SignedDuration::from_millis(500);
/// How often to check while pods are replaced, which takes seconds.
const CHECK_WHILE_SETTLING: SignedDuration = SignedDuration::from_secs(1);
/// How often to check while only the verdict is missing. A new verdict wakes the executor
/// anyway.
const CHECK_WHILE_VERIFYING: SignedDuration = SignedDuration::from_secs(10);
/// How long to wait after a refused effect before the next try.
pub const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// The facts that the record of an action has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The uid of the record. A restart marks the pod template with it.
    pub uid: Uid,
    /// The state.
    pub state: State,
    /// Whether it may be executed.
    pub mode: PolicyMode,
    /// The action, with absolute parameters.
    pub action: Action,
    /// The deadline for the start.
    pub start_by: Timestamp,
    /// When it became `Running`. `None`: it has not started.
    pub began: Option<Timestamp>,
    /// When its effect was last not in place. `None`: it was neither denied nor executed yet.
    pub executed_after: Option<Timestamp>,
    /// Why the API server refused the newest try. `None`: it did not, or the result is not known.
    pub refused: Option<EffectRefusal>,
    /// The deadline for settling. `None` before `Settling`.
    pub settle_by: Option<Timestamp>,
    /// The deadline of the verification. `None` before `Verifying`.
    pub verify_by: Option<Timestamp>,
    /// How long the verification may take.
    pub verify_within: SignedDuration,
    /// How long a replacement may take to become Ready, if the policy asks for it.
    pub ready_within: Option<SignedDuration>,
}

/// The next instruction: at most one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// Do nothing now. Check again after this time.
    Wait(SignedDuration),
    /// Execute an effect. The next pass reads the result from the API server and does not
    /// rely on the answer.
    Do(Effect),
    /// Change the record.
    Record(Transition),
}

/// One write to a pod, a workload or an autoscaler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Evict the pod, by name and with its uid as precondition.
    EvictPod {
        /// Replaces the pod's own grace period.
        grace: Option<SignedDuration>,
    },
    /// Delete the pod, by name and with its uid as precondition.
    DeletePod {
        /// Replaces the pod's own grace period.
        grace: Option<SignedDuration>,
    },
    /// Mark the subject's pod template, so that all its pods are replaced.
    Restart {
        /// The mark: the uid of the action.
        mark: Uid,
    },
    /// Change the number of replicas of the subject if it is still `from`.
    Scale {
        /// The number at the time of the decision.
        from: i32,
        /// The number to write.
        to: i32,
    },
    /// Raise the minimum of an autoscaler if it is still `from`.
    RaiseMinimum {
        /// The autoscaler.
        autoscaler: Object,
        /// The minimum at the time of the decision.
        from: i32,
        /// The minimum to write.
        to: i32,
    },
}

/// One change of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// `Pending → Running`.
    Begin,
    /// `Running → Settling`: the effect is in place.
    Executed {
        /// The deadline for settling.
        settle_by: Timestamp,
    },
    /// `Settling → Verifying`: the replacement is ready.
    Settled {
        /// The deadline of the verification.
        verify_by: Timestamp,
    },
    /// Any state → outcome.
    Finish {
        /// The outcome.
        outcome: Outcome,
        /// The reason for the outcome.
        reason: OutcomeReason,
    },
}

impl Transition {
    /// The state after the transition.
    #[must_use]
    pub fn to(self) -> State {
        match self {
            Self::Begin => State::Running,
            Self::Executed { .. } => State::Settling,
            Self::Settled { .. } => State::Verifying,
            Self::Finish { outcome, .. } => State::Finished(outcome),
        }
    }
}

/// The next instruction for an action at `now`.
#[must_use]
pub fn next_instruction(facts: &Facts, world: ActionWorld, now: Timestamp) -> Instruction {
    match facts.state {
        State::Pending => from_pending(facts, world, now),
        State::Running => from_running(facts, world, now),
        State::Settling => from_settling(facts, world, now),
        State::Verifying => from_verifying(facts, world, now),
        State::Finished(_) => Instruction::Wait(SignedDuration::MAX),
    }
}

fn finish(outcome: Outcome, reason: OutcomeReason) -> Instruction {
    Instruction::Record(Transition::Finish { outcome, reason })
}

/// Nothing was changed yet. Any doubt ends the action, and its budget is given back.
fn from_pending(facts: &Facts, world: ActionWorld, now: Timestamp) -> Instruction {
    if facts.mode == PolicyMode::DryRun {
        return finish(Outcome::DryRun, OutcomeReason::RecordedOnly);
    }
    match world.policy {
        PolicyStanding::Gone => return finish(Outcome::Cancelled, OutcomeReason::PolicyGone),
        PolicyStanding::DryRun => return finish(Outcome::Cancelled, OutcomeReason::ModeChanged),
        PolicyStanding::Suspended => return finish(Outcome::Cancelled, OutcomeReason::Suspended),
        PolicyStanding::Enforces => {}
    }
    if let Some((outcome, reason)) = world.verdict.filter(|(outcome, _)| outcome.without_effect()) {
        return finish(outcome, reason);
    }
    match world.target {
        LiveTarget::Gone | LiveTarget::Terminating => return finish(Outcome::Superseded, OutcomeReason::TargetGone),
        LiveTarget::NotHealable(_) => return finish(Outcome::Cancelled, OutcomeReason::NotHealable),
        LiveTarget::NotSelected => return finish(Outcome::Cancelled, OutcomeReason::NotSelected),
        LiveTarget::OptedOut => return finish(Outcome::Cancelled, OutcomeReason::OptedOut),
        LiveTarget::Present => {}
    }
    match effect_state(facts, &world) {
        EffectState::Gone => return finish(Outcome::Superseded, OutcomeReason::TargetGone),
        EffectState::InPlace | EffectState::Foreign => {
            return finish(Outcome::Superseded, OutcomeReason::ChangedByOthers);
        }
        EffectState::Absent => {}
    }
    if now > facts.start_by {
        return finish(Outcome::Expired, OutcomeReason::StartByPassed);
    }
    if world.overlap == Overlap::Ahead {
        return finish(Outcome::Cancelled, OutcomeReason::TargetBusy);
    }
    if world.too_few_available.is_some() {
        return finish(Outcome::Cancelled, OutcomeReason::TooFewAvailable);
    }
    if world.firing { Instruction::Record(Transition::Begin) } else { Instruction::Wait(CHECK_AGAIN) }
}

/// An effect may have happened. Only the state of the objects counts, not the answer to a
/// write.
fn from_running(facts: &Facts, world: ActionWorld, now: Timestamp) -> Instruction {
    match effect_state(facts, &world) {
        // It was denied and not sent again, so somebody else has removed the pod.
        EffectState::InPlace if facts.refused == Some(EffectRefusal::Denied) => {
            return finish(Outcome::Inconclusive, OutcomeReason::Denied);
        }
        EffectState::InPlace => {
            return Instruction::Record(Transition::Executed { settle_by: settle_by(facts, &world, now) });
        }
        EffectState::Foreign => return finish(Outcome::Inconclusive, OutcomeReason::ChangedByOthers),
        EffectState::Gone => return finish(Outcome::Inconclusive, OutcomeReason::TargetGone),
        EffectState::Absent => {}
    }
    match facts.refused {
        // Nobody grants a permission while an action waits for it. The outcome is `Failed`, which
        // counts as an attempt: otherwise the same action would be repeated without end.
        Some(EffectRefusal::Forbidden) => return finish(Outcome::Failed, OutcomeReason::Forbidden),
        // Nobody deletes a disruption budget within minutes, either.
        Some(EffectRefusal::SeveralDisruptionBudgets) => {
            return finish(Outcome::Expired, OutcomeReason::SeveralDisruptionBudgets);
        }
        // It is not sent again, so nothing else is waited for.
        Some(EffectRefusal::Denied) => return wait_after_denial(facts, now),
        _ => {}
    }
    match world.target {
        // The workload was not changed yet, and the reason to change it is gone.
        LiveTarget::Gone | LiveTarget::Terminating => {
            return finish(Outcome::Inconclusive, OutcomeReason::TargetGone);
        }
        // A write that was sent may still arrive. So the outcomes below are `Inconclusive`, and
        // the budget stays spent. A node may become ready again, and so may a pod that starts, so
        // the action waits for it as it does for a disruption budget.
        LiveTarget::NotHealable(NotHealable::NodeNotReady | NotHealable::Starting) => return wait(facts, now),
        LiveTarget::NotHealable(_) => return finish(Outcome::Inconclusive, OutcomeReason::NotHealable),
        LiveTarget::NotSelected => return finish(Outcome::Inconclusive, OutcomeReason::NotSelected),
        LiveTarget::OptedOut | LiveTarget::Present => {}
    }
    match world.policy {
        PolicyStanding::Gone => return finish(Outcome::Inconclusive, OutcomeReason::PolicyGone),
        PolicyStanding::DryRun => return finish(Outcome::Inconclusive, OutcomeReason::ModeChanged),
        PolicyStanding::Suspended | PolicyStanding::Enforces => {}
    }
    // Two leaders may each have started an action before they saw the other one. The leader
    // whose start was recorded last sees both. The later action gives up. The earlier one
    // waits until the later one has given up, or has acted because it did not see this one.
    match world.overlap {
        // The other leader also drives this action. It may have sent a write before it saw the
        // other action.
        Overlap::Ahead if time_since_start(facts, now) >= WRITE_ARRIVES_WITHIN => {
            return finish(Outcome::Inconclusive, OutcomeReason::TargetBusy);
        }
        Overlap::Ahead | Overlap::Beside => return wait(facts, now),
        Overlap::None => {}
    }
    if let Some(conflict) = world.too_few_available {
        return wait_for_availability(facts, conflict, now);
    }
    // Checked before each try: a disruption budget may allow an eviction minutes after the
    // pod has recovered or its owner has opted out.
    if world.policy == PolicyStanding::Suspended || world.target == LiveTarget::OptedOut || !world.firing {
        return wait(facts, now);
    }
    if time_since_start(facts, now) < EXECUTE_WITHIN {
        return Instruction::Do(effect_of(facts));
    }
    // Only here is the refusal what is in the way.
    match facts.refused {
        Some(EffectRefusal::DisruptionBudget) => finish(Outcome::Expired, OutcomeReason::BlockedByDisruptionBudget),
        _ => finish(ends_without_effect(facts, Outcome::Failed), OutcomeReason::NotExecuted),
    }
}

/// A webhook that denies an eviction may tell the owner of the pod to replace it, and the owner does
/// so minutes later. So the action waits, but not for long: the denial is an answer, and the action
/// takes a slot of its policy. Nobody else makes a change of a workload.
fn wait_after_denial(facts: &Facts, now: Timestamp) -> Instruction {
    let waited = facts.executed_after.or(facts.began).map_or(SignedDuration::ZERO, |denied| elapsed(denied, now));
    if facts.action.scope().is_workload() || waited >= DENIED_WITHIN {
        return finish(Outcome::Failed, OutcomeReason::Denied);
    }
    Instruction::Wait(pause(facts, now))
}

/// The outcome of a started action that ends before its effect is in place: `Expired` if every try
/// was certainly refused, so that the budget is given back.
fn ends_without_effect(facts: &Facts, otherwise: Outcome) -> Outcome {
    if facts.refused.is_some_and(EffectRefusal::gives_budget_back) { Outcome::Expired } else { otherwise }
}

/// Too few pods of the workload would stay Ready.
///
/// Two actions may each have started to remove another pod of it. Then the later action gives
/// up and the earlier one waits, as for the same target. Otherwise the action waits, as it does
/// for a disruption budget: another pod may become Ready.
fn wait_for_availability(facts: &Facts, conflict: Overlap, now: Timestamp) -> Instruction {
    let waited = time_since_start(facts, now);
    let gives_up = conflict == Overlap::Ahead && waited >= WRITE_ARRIVES_WITHIN;
    if waited < EXECUTE_WITHIN && !gives_up {
        return Instruction::Wait(pause(facts, now));
    }
    // It could not be tried to the end, so it is no attempt.
    finish(ends_without_effect(facts, Outcome::Inconclusive), OutcomeReason::TooFewAvailable)
}

/// Something other than a disruption budget is in the way of an action that has started.
fn wait(facts: &Facts, now: Timestamp) -> Instruction {
    if time_since_start(facts, now) < EXECUTE_WITHIN {
        return Instruction::Wait(pause(facts, now));
    }
    // It could not be tried to the end, so it is no attempt: a hold must not make the ladder climb.
    finish(ends_without_effect(facts, Outcome::Inconclusive), OutcomeReason::NotExecuted)
}

/// How long to wait before the next check of a started action. What lasts is checked rarely,
/// because each check costs several requests.
fn pause(facts: &Facts, now: Timestamp) -> SignedDuration {
    if time_since_start(facts, now) < WRITE_ARRIVES_WITHIN { CHECK_AGAIN } else { TRY_AGAIN }
}

fn time_since_start(facts: &Facts, now: Timestamp) -> SignedDuration {
    facts.began.map_or(SignedDuration::ZERO, |began| elapsed(began, now))
}

/// The write that executes an action.
#[must_use]
pub fn effect_of(facts: &Facts) -> Effect {
    facts.action.behaviour().effect(&facts.uid)
}

fn effect_state(facts: &Facts, world: &ActionWorld) -> EffectState {
    if facts.action.scope().is_workload() && world.subject == LiveSubject::Gone {
        return EffectState::Gone;
    }
    facts.action.behaviour().effect_state(world)
}

fn from_settling(facts: &Facts, world: ActionWorld, now: Timestamp) -> Instruction {
    let whole = facts.action.scope().is_workload();
    match (world.subject, effect_state(facts, &world)) {
        (LiveSubject::Gone, _) => finish(Outcome::Inconclusive, OutcomeReason::TargetGone),
        // Somebody has reverted the change, so its result will never be known.
        (_, EffectState::Absent | EffectState::Foreign) if whole => {
            finish(Outcome::Inconclusive, OutcomeReason::ChangedByOthers)
        }
        // A removed pod that hangs while it ends holds nothing up: the workload is whole without it.
        (LiveSubject::Restored, _) if whole || matches!(world.target, LiveTarget::Gone | LiveTarget::Terminating) => {
            Instruction::Record(Transition::Settled { verify_by: after(now, facts.verify_within) })
        }
        _ if is_late(facts, &world, now) => finish(Outcome::Failed, OutcomeReason::NotSettled),
        _ => Instruction::Wait(CHECK_WHILE_SETTLING),
    }
}

fn from_verifying(facts: &Facts, world: ActionWorld, now: Timestamp) -> Instruction {
    // Somebody has reverted the change. Even if the pods are clear now, nobody knows why.
    let is_reverted = matches!(effect_state(facts, &world), EffectState::Absent | EffectState::Foreign);
    if facts.action.scope().is_workload() && is_reverted {
        return finish(Outcome::Inconclusive, OutcomeReason::ChangedByOthers);
    }
    if let Some((outcome, reason)) = world.verdict.filter(|(outcome, _)| !outcome.without_effect()) {
        return finish(outcome, reason);
    }
    if world.subject == LiveSubject::Gone {
        return finish(Outcome::Inconclusive, OutcomeReason::TargetGone);
    }
    if world.policy == PolicyStanding::Gone {
        return finish(Outcome::Inconclusive, OutcomeReason::PolicyGone);
    }
    let deadline = facts.verify_by.map(|verify_by| after(verify_by, VERDICT_WITHIN));
    if deadline.is_some_and(|deadline| now >= deadline) {
        return finish(Outcome::Inconclusive, OutcomeReason::SourceUnknown);
    }
    Instruction::Wait(CHECK_WHILE_VERIFYING)
}
