//! The action reconciler: survey → next instruction → one write, until there is something to
//! wait for. It is the only writer of an action's status, by compare-and-set.

mod effect;
mod orphan;
mod retry_delays;
mod survey;
mod transition;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Requeue;
use prunella_api::HealingAction;
use prunella_cluster::ClusterError;
use prunella_core::action::ActionScope;
use prunella_core::execute::{OutcomeReason, Transition, ends_slowly};
use prunella_core::ledger::{Outcome, State};
use prunella_core::{Instruction, next_instruction};
use tracing::{debug, error, warn};

use crate::authority::Authority;
use crate::clients::Clients;
use crate::cluster_view::ClusterView;
use crate::handover::Handover;
use crate::records::{self, ActionRecords, RecordError};
use crate::report::Reporter;
use crate::wakers::PolicyWaker;
pub(crate) use retry_delays::RetryDelays;
use survey::Survey;

/// An action as the watch delivers it: an object that does not parse stops no other.
pub(crate) type GuardedAction = DeserializeGuard<HealingAction>;

/// When a failed pass is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// When to check the result of an effect.
const SOON: Duration = Duration::from_millis(50);

/// What the action reconciler uses.
pub(crate) struct Actor {
    pub(crate) authority: Arc<Authority>,
    pub(crate) clients: Clients,
    pub(crate) view: Arc<ClusterView>,
    pub(crate) records: Arc<ActionRecords>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) wake_policy: PolicyWaker,
    pub(crate) retry_delays: RetryDelays,
}

/// Why a pass could not finish.
#[derive(Debug, thiserror::Error)]
enum ActError {
    #[error("the record is invalid: {0}")]
    Record(#[from] RecordError),
    #[error("cannot read the world: {0}")]
    Survey(#[source] ClusterError),
    #[error("cannot write the action's status: {0}")]
    Write(#[source] ClusterError),
}

/// One pass over one action.
pub(crate) async fn reconcile(action: Arc<GuardedAction>, actor: Arc<Actor>) -> Result<Requeue, Infallible> {
    let action = match &action.0 {
        Ok(action) => action,
        Err(invalid) => {
            error!(action = invalid.metadata.name, error = %invalid.error, "a HealingAction does not parse; it is ignored");
            actor.reporter.metrics.failed("action");
            return Ok(Requeue::await_change());
        }
    };
    Ok(pass(action, &actor).await.unwrap_or_else(|error| {
        actor.reporter.metrics.failed("action");
        warn!(namespace = action.namespace(), action = action.name_any(), %error, "trying again");
        Requeue::requeue(TRY_AGAIN)
    }))
}

/// Follows instructions until there is something to wait for. A transition that was just
/// written is followed up at once.
async fn pass(action: &HealingAction, actor: &Actor) -> Result<Requeue, ActError> {
    if matches!(records::state(action)?, State::Finished(_)) && !transition::is_held(action) {
        return orphan::collect(action, actor).await.map_err(ActError::Write);
    }
    let mut next = follow(action, actor).await?;
    loop {
        match next {
            Next::Requeue(requeue) => return Ok(requeue),
            Next::Again(written) => next = follow(&written, actor).await?,
        }
    }
}

/// What follows an instruction.
enum Next {
    /// Another instruction, for the record as it was written.
    Again(Box<HealingAction>),
    /// Another pass.
    Requeue(Requeue),
}

/// A change of a workload that was accepted and is not there was taken back between two reads.
/// Sent again, it would roll the workload out each time.
fn unless_taken_back(instruction: Instruction, scope: ActionScope, accepted: bool) -> Instruction {
    match instruction {
        Instruction::Do(_) if accepted && scope.is_workload() => Instruction::Record(Transition::Finish {
            outcome: Outcome::Inconclusive,
            reason: OutcomeReason::ChangedByOthers,
        }),
        other => other,
    }
}

/// Follows one instruction: at most one write.
async fn follow(seen: &HealingAction, actor: &Actor) -> Result<Next, ActError> {
    let surveyed_at = actor.authority.now();
    // The watch may lag behind, so the record is read live as well.
    let Some(Survey { action, facts, world, version, findings }) = survey::survey(seen, actor).await? else {
        return Ok(Next::Requeue(Requeue::await_change()));
    };
    let Some(world) = world else {
        let released = transition::release(&action, actor).await.map_err(ActError::Write)?;
        return Ok(Next::Requeue(if released { Requeue::await_change() } else { Requeue::requeue(TRY_AGAIN) }));
    };
    let now = actor.authority.now();
    let accepted = actor.retry_delays.is_accepted(&action.uid().unwrap_or_default());
    let instruction = unless_taken_back(next_instruction(&facts, world, now), facts.action.scope(), accepted);
    if let (State::Running, Instruction::Do(_) | Instruction::Wait(_)) = (facts.state, &instruction) {
        actor.retry_delays.saw_absent(&action.uid().unwrap_or_default(), surveyed_at);
    }
    if let (Instruction::Do(_) | Instruction::Record(_), Err(why)) = (&instruction, actor.authority.may_act()) {
        debug!(action = action.name_any(), why, "nothing is written");
        return Ok(Next::Requeue(Requeue::requeue(TRY_AGAIN)));
    }
    let requeue = match instruction {
        Instruction::Wait(time) => {
            if let Some(until) = world.terminating_until.filter(|until| {
                facts.state == State::Settling && ends_slowly(*until, now) && actor.authority.may_act().is_ok()
            }) {
                transition::ends_slowly(&action, until, actor).await.map_err(ActError::Write)?;
            }
            Requeue::requeue(time.try_into().unwrap_or(TRY_AGAIN))
        }
        Instruction::Do(_)
            if let Some(left) = actor.retry_delays.left(&action.uid().unwrap_or_default(), Instant::now()) =>
        {
            Requeue::requeue(left)
        }
        Instruction::Do(effect) => {
            effect::execute(&action, &effect, version.as_deref(), actor).await.map_err(ActError::Write)?
        }
        Instruction::Record(transition) => {
            let written =
                transition::transition(&action, &facts, transition, findings, actor).await.map_err(ActError::Write)?;
            return Ok(match written {
                Some(written) => Next::Again(Box::new(written)),
                // The record has changed: the next pass reads it.
                None => Next::Requeue(Requeue::requeue(Duration::ZERO)),
            });
        }
    };
    Ok(Next::Requeue(requeue))
}

#[cfg(test)]
mod tests {
    use prunella_core::execute::Effect;

    use super::*;

    #[test]
    fn a_change_that_was_taken_back_between_two_reads_is_not_sent_again() {
        let send = || Instruction::Do(Effect::Restart { mark: "uid".into() });
        assert_eq!(unless_taken_back(send(), ActionScope::NewPods, false), send());
        let ended = Instruction::Record(Transition::Finish {
            outcome: Outcome::Inconclusive,
            reason: OutcomeReason::ChangedByOthers,
        });
        assert_eq!(unless_taken_back(send(), ActionScope::NewPods, true), ended);
        // Repeated, the removal of a pod does nothing.
        assert_eq!(unless_taken_back(send(), ActionScope::Replacement, true), send());
    }
}
