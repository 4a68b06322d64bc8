//! The action reconciler: survey → next step → one write, until there is something to
//! wait for. It is the only writer of an action's status, by compare-and-set.

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
use survey::Survey;
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

/// Steps until there is something to wait for: what is on record as begun waits for
/// nothing but its turn.
async fn pass(action: &HealingAction, context: &Context) -> Result<Requeue, ExecuteError> {
    if matches!(ledger::state(action)?, State::Finished(_)) && !record::is_held(action) {
        return orphan::collect(action, context).await.map_err(ExecuteError::Write);
    }
    let mut next = step(action, context).await?;
    loop {
        match next {
            Next::Pass(requeue) => return Ok(requeue),
            Next::Step(written) => next = step(&written, context).await?,
        }
    }
}

/// What follows a step.
enum Next {
    /// Another step, from the record as it was written.
    Step(Box<HealingAction>),
    /// Another pass.
    Pass(Requeue),
}

/// One step, one write at most.
async fn step(seen: &HealingAction, context: &Context) -> Result<Next, ExecuteError> {
    // What the watch shows may be old: the record itself is read live as well.
    let Some(Survey { action, facts, world, version }) = survey::survey(seen, context).await? else {
        return Ok(Next::Pass(Requeue::await_change()));
    };
    let Some(world) = world else {
        let let_go = record::release(&action, context).await.map_err(ExecuteError::Write)?;
        return Ok(Next::Pass(if let_go { Requeue::await_change() } else { Requeue::requeue(TRY_AGAIN) }));
    };
    let step = next_step(&facts, world, context.now());
    if let (Step::Do(_) | Step::Record(_), Err(why)) = (&step, context.may_act()) {
        debug!(action = action.name_any(), why, "nothing is done");
        return Ok(Next::Pass(Requeue::requeue(TRY_AGAIN)));
    }
    let requeue = match step {
        Step::Wait(time) => Requeue::requeue(time.try_into().unwrap_or(TRY_AGAIN)),
        Step::Do(_) if let Some(left) = context.patience.left(&action.uid().unwrap_or_default(), Instant::now()) => {
            Requeue::requeue(left)
        }
        Step::Do(effect) => {
            act::act(&action, &effect, version.as_deref(), context).await.map_err(ExecuteError::Write)?
        }
        Step::Record(transition) => {
            let written =
                record::transition(&action, &facts, transition, context).await.map_err(ExecuteError::Write)?;
            return Ok(match written {
                Some(written) => Next::Step(Box::new(written)),
                // Somebody else has written it: the next pass looks at what.
                None => Next::Pass(Requeue::requeue(Duration::ZERO)),
            });
        }
    };
    Ok(Next::Pass(requeue))
}
