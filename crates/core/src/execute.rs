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

use jiff::{SignedDuration, Timestamp};

use crate::ledger::{Outcome, State};
use crate::policy::{Action, Disruption, Mode};
use crate::target::NotHealable;
use crate::time::{after, elapsed};

/// How long an effect may be refused or fail before the action gives up.
pub const EXECUTE_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// How long after `verifyBy` a verdict is waited for: a silent source extends a
/// verification by up to 15 minutes, and the judge needs time to say so.
const VERDICT_WITHIN: SignedDuration = SignedDuration::from_mins(20);
/// How often the world is looked at while it is about to change.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_millis(500);
/// How often an eviction that a disruption budget refuses is tried again.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// Why an action ended the way it did: one vocabulary for verdicts and endings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomeReason {
    /// The scope was clear with evidence for `clearFor`.
    Cleared,
    /// The scope is breached past the deadline.
    StillBreached,
    /// The scope's pods are not ready past the deadline.
    NotReady,
    /// There is no data about the scope past the deadline.
    NoData,
    /// The source is silent past the deadline.
    SourceUnknown,
    /// The breach ended before the action was begun.
    Recovered,
    /// The policy was deleted, or is another one of the same name.
    PolicyGone,
    /// The policy's condition, target or steps are others now.
    PolicyChanged,
    /// The policy no longer enforces.
    ModeChanged,
    /// The policy is suspended, or healing is held back.
    Suspended,
    /// It could not be begun before its evidence was stale.
    StartByPassed,
    /// The target, or the workload behind it, is gone or scaled to zero.
    TargetGone,
    /// An earlier action on the target or its owners is in flight.
    TargetBusy,
    /// The policy's selector no longer chooses the target.
    NotSelected,
    /// The target's owner wants it left alone.
    OptedOut,
    /// The target may no longer be healed.
    NotHealable,
    /// More targets are breached than may be, and this action is not the probe.
    Storm,
    /// A `PodDisruptionBudget` allowed no eviction in time.
    BlockedByDisruptionBudget,
    /// The write did not take effect in time.
    NotExecuted,
    /// The replacement did not come up in time.
    NotSettled,
    /// Recorded only.
    RecordedOnly,
}

impl OutcomeReason {
    /// Every reason.
    pub const ALL: [Self; 21] = [
        Self::Cleared,
        Self::StillBreached,
        Self::NotReady,
        Self::NoData,
        Self::SourceUnknown,
        Self::Recovered,
        Self::PolicyGone,
        Self::PolicyChanged,
        Self::ModeChanged,
        Self::Suspended,
        Self::StartByPassed,
        Self::TargetGone,
        Self::TargetBusy,
        Self::NotSelected,
        Self::OptedOut,
        Self::NotHealable,
        Self::Storm,
        Self::BlockedByDisruptionBudget,
        Self::NotExecuted,
        Self::NotSettled,
        Self::RecordedOnly,
    ];

    /// The word used in status, Events, metrics and logs alike.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cleared => "Cleared",
            Self::StillBreached => "StillBreached",
            Self::NotReady => "NotReady",
            Self::NoData => "NoData",
            Self::SourceUnknown => "SourceUnknown",
            Self::Recovered => "Recovered",
            Self::PolicyGone => "PolicyGone",
            Self::PolicyChanged => "PolicyChanged",
            Self::ModeChanged => "ModeChanged",
            Self::Suspended => "Suspended",
            Self::StartByPassed => "StartByPassed",
            Self::TargetGone => "TargetGone",
            Self::TargetBusy => "TargetBusy",
            Self::NotSelected => "NotSelected",
            Self::OptedOut => "OptedOut",
            Self::NotHealable => "NotHealable",
            Self::Storm => "Storm",
            Self::BlockedByDisruptionBudget => "BlockedByDisruptionBudget",
            Self::NotExecuted => "NotExecuted",
            Self::NotSettled => "NotSettled",
            Self::RecordedOnly => "RecordedOnly",
        }
    }
}

/// An action as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
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
    /// Whether an earlier action overlaps with this one.
    pub earlier_overlaps: bool,
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
    /// As many replicas are ready as it asks for.
    Restored,
    /// Fewer are.
    NotRestored,
    /// It is gone, or scaled to zero.
    Gone,
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
    if now > facts.start_by {
        return finish(Outcome::Expired, OutcomeReason::StartByPassed);
    }
    if world.earlier_overlaps {
        return finish(Outcome::Cancelled, OutcomeReason::TargetBusy);
    }
    if world.firing { Step::Record(Transition::Begin) } else { Step::Wait(LOOK_AGAIN) }
}

/// An effect may have happened. The world tells, never the memory of a write.
fn from_running(facts: &Facts, world: World, now: Timestamp) -> Step {
    match world.target {
        LiveTarget::Gone | LiveTarget::Terminating => {
            let settle_by = after(now, facts.action.settle_within());
            return Step::Record(Transition::Executed { settle_by });
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
    // What held before the first try holds before each: a budget may let an eviction
    // through minutes after the pod is well again, or its owner has spoken.
    if world.policy == PolicyStanding::Suspended || world.target == LiveTarget::OptedOut || !world.firing {
        return give_up_or(facts, now, Step::Wait(LOOK_AGAIN));
    }
    give_up_or(facts, now, Step::Do(effect_of(&facts.action)))
}

/// `step`, unless the action has been trying for too long.
fn give_up_or(facts: &Facts, now: Timestamp, step: Step) -> Step {
    let trying_for = facts.began.map_or(SignedDuration::ZERO, |began| elapsed(began, now));
    if trying_for < EXECUTE_WITHIN {
        step
    } else if facts.blocked_by_budget {
        finish(Outcome::Expired, OutcomeReason::BlockedByDisruptionBudget)
    } else {
        finish(Outcome::Failed, OutcomeReason::NotExecuted)
    }
}

/// The write that carries an action out.
#[must_use]
pub fn effect_of(action: &Action) -> Effect {
    match *action {
        Action::DeletePod { disruption: Disruption::Evict, grace } => Effect::EvictPod { grace },
        Action::DeletePod { disruption: Disruption::Delete, grace } => Effect::DeletePod { grace },
    }
}

fn from_settling(facts: &Facts, world: World, now: Timestamp) -> Step {
    match (world.subject, world.target) {
        (LiveSubject::Gone, _) => finish(Outcome::Inconclusive, OutcomeReason::TargetGone),
        (LiveSubject::Restored, LiveTarget::Gone) => {
            Step::Record(Transition::Settled { verify_by: after(now, facts.verify_within) })
        }
        _ if facts.settle_by.is_some_and(|settle_by| now >= settle_by) => {
            finish(Outcome::Failed, OutcomeReason::NotSettled)
        }
        _ => Step::Wait(LOOK_AGAIN),
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
    Step::Wait(LOOK_AGAIN)
}

/// How long to wait before an effect that was refused or failed is tried again.
#[must_use]
pub fn retry_after(effect: &Effect) -> SignedDuration {
    match effect {
        Effect::EvictPod { .. } | Effect::DeletePod { .. } => TRY_AGAIN,
    }
}
