//! The action reconciler: survey → next step → one write. It is the only writer of
//! an action's status, by compare-and-set, and takes one step a pass.

mod act;
mod orphan;
mod patience;
mod record;
mod survey;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Requeue;
use prunella_api::HealingAction;
use prunella_cluster::ClusterError;
use prunella_core::ledger::State;
use prunella_core::{Step, next_step};
use tracing::{debug, error, warn};

use crate::context::Context;
use crate::ledger;
pub(crate) use patience::Patience;

/// An action as the watch hands it over: one that does not parse stops nobody else.
pub(crate) type GuardedAction = DeserializeGuard<HealingAction>;

/// How soon a pass that failed is tried again: nothing is known, look again.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// How soon to look at what came of an effect.
const SOON: Duration = Duration::from_millis(50);

/// Why a pass could not be finished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    #[error("the action makes no sense: {0}")]
    Record(#[from] ledger::RecordError),
    #[error("cannot read the world: {0}")]
    Survey(#[source] ClusterError),
    #[error("cannot write the action's status: {0}")]
    Write(#[source] ClusterError),
}

/// One pass over one action.
pub(crate) async fn reconcile(action: Arc<GuardedAction>, context: Arc<Context>) -> Result<Requeue, Infallible> {
    let action = match &action.0 {
        Ok(action) => action,
        Err(invalid) => {
            error!(action = invalid.metadata.name, error = %invalid.error, "a HealingAction does not parse, leaving it alone");
            context.metrics.failed("action");
            return Ok(Requeue::await_change());
        }
    };
    Ok(pass(action, &context).await.unwrap_or_else(|error| {
        context.metrics.failed("action");
        warn!(namespace = action.namespace(), action = action.name_any(), %error, "looking again");
        Requeue::requeue(TRY_AGAIN)
    }))
}

async fn pass(action: &HealingAction, context: &Context) -> Result<Requeue, ExecuteError> {
    if matches!(ledger::state(action)?, State::Finished(_)) && !record::is_held(action) {
        return orphan::collect(action, context).await.map_err(ExecuteError::Write);
    }
    // What the watch shows may be old: the record itself is read live as well.
    let Some(action) = survey::action(action, context).await.map_err(ExecuteError::Survey)? else {
        return Ok(Requeue::await_change());
    };
    let facts = ledger::facts(&action)?;
    if matches!(facts.state, State::Finished(_)) {
        let let_go = record::release(&action, context).await.map_err(ExecuteError::Write)?;
        return Ok(if let_go { Requeue::await_change() } else { Requeue::requeue(TRY_AGAIN) });
    }
    let (world, version) = survey::world(&action, &facts, context).await.map_err(ExecuteError::Survey)?;
    let step = next_step(&facts, world, context.now());
    if let (Step::Do(_) | Step::Record(_), Err(why)) = (&step, context.may_act()) {
        debug!(action = action.name_any(), why, "nothing is done");
        return Ok(Requeue::requeue(TRY_AGAIN));
    }
    match step {
        Step::Wait(time) => Ok(Requeue::requeue(time.try_into().unwrap_or(TRY_AGAIN))),
        Step::Do(_) if let Some(left) = context.patience.left(&action.uid().unwrap_or_default(), Instant::now()) => {
            Ok(Requeue::requeue(left))
        }
        Step::Do(effect) => act::act(&action, &effect, version.as_deref(), context).await.map_err(ExecuteError::Write),
        Step::Record(transition) => {
            record::transition(&action, &facts, transition, context).await.map_err(ExecuteError::Write)?;
            // What is on record as begun waits for nothing but its turn.
            Ok(Requeue::requeue(Duration::ZERO))
        }
    }
}
