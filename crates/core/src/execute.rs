//! How one action is done: a pure transition table and the choice of the next
//! step. One step is one write at most, and each is a no-op when repeated.
//!
//! ```text
//! Pending ─▶ Running ─▶ Settling ─▶ Verifying ─▶ outcome
//!    │          │           │
//!    └──────────┴───────────┴─▶ outcome
//! ```
//!
//! `Running` is recorded *before* the first effect. Whoever finds the effect in
//! place from there on knows that the action was executed, even when the answer
//! to the write was lost; `Superseded` exists only before it.

mod reason;

use jiff::{SignedDuration, Timestamp};

use crate::action::{Action, Disruption};
use crate::ledger::{Outcome, Overlap, State};
use crate::policy::Mode;
use crate::target::{NotHealable, Object, Uid};
use crate::time::{after, elapsed};

pub use reason::OutcomeReason;

/// How long an effect may be refused or fail before the action gives up.
pub const EXECUTE_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// How long after `verifyBy` a verdict is waited for: a silent source extends a
/// verification by up to 15 minutes, and the judge needs time to say so.
const VERDICT_WITHIN: SignedDuration = SignedDuration::from_mins(20);
/// How long after an action was begun a write of it may still arrive that was decided on
/// before another was seen: a read and a write take 15 seconds at most.
const ARRIVED_WITHIN: SignedDuration = SignedDuration::from_secs(20);
/// How often the world is looked at while it is about to change.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_millis(500);
/// How often while pods are replaced, which takes them seconds.
const LOOK_WHILE_SETTLING: SignedDuration = SignedDuration::from_secs(1);
/// How often while only a verdict is waited for: that one wakes whoever waits.
const LOOK_WHILE_VERIFYING: SignedDuration = SignedDuration::from_secs(10);
/// How often an eviction that a disruption budget refuses is tried again.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// An action as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The record's own uid: a restart is known by it.
    pub uid: Uid,
    /// Where it stands.
    pub state: State,
    /// Whether it may be carried out.
    pub mode: Mode,
    /// What is to be done.
    pub action: Action,
    /// Until when it may begin.
    pub start_by: Timestamp,
    /// When it became `Running`.
    pub began: Option<Timestamp>,
    /// Whether the newest try was refused by a disruption budget.
    pub blocked_by_budget: bool,
    /// Whether the newest try was forbidden: the controller lacks the right.
    pub forbidden: bool,
    /// Until when it may settle; known from `Settling` on.
    pub settle_by: Option<Timestamp>,
    /// Until when it is verified; known from `Verifying` on.
    pub verify_by: Option<Timestamp>,
    /// How long verification may take.
    pub verify_within: SignedDuration,
}

/// The world around the action, read live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    /// The policy that reserved it.
    pub policy: PolicyStanding,
    /// The target, by uid.
    pub target: LiveTarget,
    /// The workload behind it.
    pub subject: LiveSubject,
    /// What a change of the workload would write, as it is now.
    pub field: LiveField,
    /// The time without progress after which the workload's own controller gives up.
    pub progress_deadline: Option<SignedDuration>,
    /// How other actions stand in its way.
    pub overlap: Overlap,
    /// Whether the judge of this process holds the target for firing, by news no
    /// older than two intervals.
    pub firing: bool,
    /// What the judge says of the running action.
    pub verdict: Option<(Outcome, OutcomeReason)>,
}

/// The policy that reserved an action, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyStanding {
    /// It exists with the recorded uid and enforces.
    Enforces,
    /// It exists with the recorded uid, and is suspended or held back.
    Suspended,
    /// It exists with the recorded uid and only records.
    DryRun,
    /// It does not exist, is being deleted, or is a namesake.
    Gone,
}

/// The target as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveTarget {
    /// It is there, with the recorded uid, and selected.
    Present,
    /// It is there and the policy's selector no longer chooses it.
    NotSelected,
    /// It is there and its owner wants it left alone.
    OptedOut,
    /// It is there and may not be healed.
    NotHealable(NotHealable),
    /// It is being deleted.
    Terminating,
    /// No object has that uid any more.
    Gone,
}

/// The workload behind the target as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveSubject {
    /// As many replicas are ready as it asks for; of a restart, all of them new. Of a pod's
    /// removal, with one that was made since, but for pods that were not ready before.
    Restored,
    /// Fewer are.
    NotRestored,
    /// It is gone, or scaled to zero.
    Gone,
}

/// What a change of the workload would write, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveField {
    /// The action writes nothing but removes its target.
    None,
    /// The mark on the pod template: by this very action, or not.
    Restarted {
        /// Whether it is this action's.
        by_this: bool,
    },
    /// The number of replicas, or the autoscaler's minimum.
    Count(i32),
    /// The number is not what it was when that was decided: its autoscaler is gone, or
    /// one has taken it over.
    Disowned,
}

/// What is to be done next, one write at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing now; look again after this time.
    Wait(SignedDuration),
    /// Change the world. What came of it is seen, not remembered, by the next pass.
    Do(Effect),
    /// Change the record.
    Record(Transition),
}

/// One write to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Evict the pod, by name and with its uid as precondition.
    EvictPod {
        /// Overrides the pod's own grace period.
        grace: Option<SignedDuration>,
    },
    /// Delete the pod, by name and with its uid as precondition.
    DeletePod {
        /// Overrides the pod's own grace period.
        grace: Option<SignedDuration>,
    },
    /// Mark the subject's pod template, so that all its pods are replaced.
    Restart {
        /// The mark: the uid of the action.
        mark: Uid,
    },
    /// Change how many replicas the subject has, if the number is still `from`.
    Scale {
        /// What it is.
        from: i32,
        /// What it is to be.
        to: i32,
    },
    /// Raise an autoscaler's minimum, if it is still `from`.
    RaiseMinimum {
        /// The autoscaler.
        autoscaler: Object,
        /// What it is.
        from: i32,
        /// What it is to be.
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
        /// Until when it may settle.
        settle_by: Timestamp,
    },
    /// `Settling → Verifying`: the replacement stands.
    Settled {
        /// Until when it is verified.
        verify_by: Timestamp,
    },
    /// Any state → outcome.
    Finish {
        /// How it ended.
        outcome: Outcome,
        /// Why.
        reason: OutcomeReason,
    },
}

impl Transition {
    /// The state after it.
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

/// The next step of an action at `now`.
#[must_use]
pub fn next_step(facts: &Facts, world: World, now: Timestamp) -> Step {
    match facts.state {
        State::Pending => from_pending(facts, world, now),
        State::Running => from_running(facts, world, now),
        State::Settling => from_settling(facts, world, now),
        State::Verifying => from_verifying(facts, world, now),
        State::Finished(_) => Step::Wait(SignedDuration::MAX),
    }
}

fn finish(outcome: Outcome, reason: OutcomeReason) -> Step {
    Step::Record(Transition::Finish { outcome, reason })
}

/// Nothing was touched yet: every doubt ends it, and its budget is given back.
fn from_pending(facts: &Facts, world: World, now: Timestamp) -> Step {
    if facts.mode == Mode::DryRun {
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
    match standing(facts, world) {
        Standing::Gone => return finish(Outcome::Superseded, OutcomeReason::TargetGone),
        Standing::InPlace | Standing::Foreign => {
            return finish(Outcome::Superseded, OutcomeReason::ChangedByOthers);
        }
        Standing::Absent => {}
    }
    if now > facts.start_by {
        return finish(Outcome::Expired, OutcomeReason::StartByPassed);
    }
    if world.overlap == Overlap::Ahead {
        return finish(Outcome::Cancelled, OutcomeReason::TargetBusy);
    }
    if world.firing { Step::Record(Transition::Begin) } else { Step::Wait(LOOK_AGAIN) }
}

/// An effect may have happened. The world tells, never the memory of a write.
fn from_running(facts: &Facts, world: World, now: Timestamp) -> Step {
    match standing(facts, world) {
        Standing::InPlace => {
            let settle_by = after(now, facts.action.settle_within(world.progress_deadline));
            return Step::Record(Transition::Executed { settle_by });
        }
        Standing::Foreign => return finish(Outcome::Inconclusive, OutcomeReason::ChangedByOthers),
        Standing::Gone => return finish(Outcome::Inconclusive, OutcomeReason::TargetGone),
        Standing::Absent => {}
    }
    // Nobody gives a right while an action waits for it. It counts as an attempt: were its
    // budget given back, the same would be tried for ever.
    if facts.forbidden {
        return finish(Outcome::Failed, OutcomeReason::Forbidden);
    }
    match world.target {
        // Its workload is still to be changed, and no longer for its sake.
        LiveTarget::Gone | LiveTarget::Terminating => {
            return finish(Outcome::Inconclusive, OutcomeReason::TargetGone);
        }
        // From here on a write that was sent may still arrive: the budget stays spent.
        // A node may come back: it is waited for like a disruption budget.
        LiveTarget::NotHealable(NotHealable::NodeNotReady) => return give_up_or(facts, now, Step::Wait(LOOK_AGAIN)),
        LiveTarget::NotHealable(_) => return finish(Outcome::Inconclusive, OutcomeReason::NotHealable),
        LiveTarget::NotSelected => return finish(Outcome::Inconclusive, OutcomeReason::NotSelected),
        LiveTarget::OptedOut | LiveTarget::Present => {}
    }
    match world.policy {
        PolicyStanding::Gone => return finish(Outcome::Inconclusive, OutcomeReason::PolicyGone),
        PolicyStanding::DryRun => return finish(Outcome::Inconclusive, OutcomeReason::ModeChanged),
        PolicyStanding::Suspended | PolicyStanding::Enforces => {}
    }
    // Two leaders may each have begun one before either saw the other's. Whoever is on
    // record as begun last sees both: the later lets go, and the earlier waits until it has,
    // or is seen to have acted before it could see this one.
    match world.overlap {
        // Whoever drives it too may not have seen the other yet, and its write be on its way.
        Overlap::Ahead if trying_for(facts, now) >= ARRIVED_WITHIN => {
            return finish(Outcome::Inconclusive, OutcomeReason::TargetBusy);
        }
        Overlap::Ahead | Overlap::Beside => return give_up_or(facts, now, Step::Wait(LOOK_AGAIN)),
        Overlap::None => {}
    }
    // What held before the first try holds before each: a budget may let an eviction
    // through minutes after the pod is well again, or its owner has spoken.
    if world.policy == PolicyStanding::Suspended || world.target == LiveTarget::OptedOut || !world.firing {
        return give_up_or(facts, now, Step::Wait(LOOK_AGAIN));
    }
    give_up_or(facts, now, Step::Do(effect_of(facts)))
}

/// `step`, unless the action has been trying for too long.
fn give_up_or(facts: &Facts, now: Timestamp, step: Step) -> Step {
    if trying_for(facts, now) < EXECUTE_WITHIN {
        step
    } else if facts.blocked_by_budget {
        finish(Outcome::Expired, OutcomeReason::BlockedByDisruptionBudget)
    } else {
        finish(Outcome::Failed, OutcomeReason::NotExecuted)
    }
}

fn trying_for(facts: &Facts, now: Timestamp) -> SignedDuration {
    facts.began.map_or(SignedDuration::ZERO, |began| elapsed(began, now))
}

/// The write that carries an action out.
#[must_use]
pub fn effect_of(facts: &Facts) -> Effect {
    match &facts.action {
        Action::DeletePod { disruption: Disruption::Evict, grace } => Effect::EvictPod { grace: *grace },
        Action::DeletePod { disruption: Disruption::Delete, grace } => Effect::DeletePod { grace: *grace },
        Action::RolloutRestart => Effect::Restart { mark: facts.uid.clone() },
        Action::Scale { from, to, autoscaler: None } => Effect::Scale { from: *from, to: *to },
        Action::Scale { from, to, autoscaler: Some(autoscaler) } => {
            Effect::RaiseMinimum { autoscaler: autoscaler.clone(), from: *from, to: *to }
        }
    }
}

/// How the world stands to the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is not there, and nothing stands in its way.
    Absent,
    /// It is there.
    InPlace,
    /// Somebody else has written something else there: it is never overwritten.
    Foreign,
    /// The workload to be changed is gone, or scaled to zero.
    Gone,
}

fn standing(facts: &Facts, world: World) -> Standing {
    match (&facts.action, world.field) {
        (Action::DeletePod { .. }, _) => match world.target {
            LiveTarget::Gone | LiveTarget::Terminating => Standing::InPlace,
            _ => Standing::Absent,
        },
        _ if world.subject == LiveSubject::Gone => Standing::Gone,
        (Action::RolloutRestart, LiveField::Restarted { by_this: true }) => Standing::InPlace,
        (Action::RolloutRestart, LiveField::Restarted { by_this: false }) => Standing::Absent,
        (Action::Scale { to, .. }, LiveField::Count(count)) if count == *to => Standing::InPlace,
        (Action::Scale { from, .. }, LiveField::Count(count)) if count == *from => Standing::Absent,
        (Action::RolloutRestart | Action::Scale { .. }, _) => Standing::Foreign,
    }
}

fn from_settling(facts: &Facts, world: World, now: Timestamp) -> Step {
    let whole = facts.action.scope().is_workload();
    match (world.subject, standing(facts, world)) {
        (LiveSubject::Gone, _) => finish(Outcome::Inconclusive, OutcomeReason::TargetGone),
        // What was written was taken back: nobody will learn whether it would have helped.
        (_, Standing::Absent | Standing::Foreign) if whole => {
            finish(Outcome::Inconclusive, OutcomeReason::ChangedByOthers)
        }
        (LiveSubject::Restored, _) if whole || world.target == LiveTarget::Gone => {
            Step::Record(Transition::Settled { verify_by: after(now, facts.verify_within) })
        }
        _ if facts.settle_by.is_some_and(|settle_by| now >= settle_by) => {
            finish(Outcome::Failed, OutcomeReason::NotSettled)
        }
        _ => Step::Wait(LOOK_WHILE_SETTLING),
    }
}

fn from_verifying(facts: &Facts, world: World, now: Timestamp) -> Step {
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
    Step::Wait(LOOK_WHILE_VERIFYING)
}

/// How long to wait before an effect that was refused or failed is tried again.
#[must_use]
pub fn retry_after(effect: &Effect) -> SignedDuration {
    match effect {
        Effect::EvictPod { .. }
        | Effect::DeletePod { .. }
        | Effect::Restart { .. }
        | Effect::Scale { .. }
        | Effect::RaiseMinimum { .. } => TRY_AGAIN,
    }
}
