//! Stage 2: one effect on the world. Its result is not stored, because the next pass reads it from
//! the world. Only a refusal that certainly had no effect is recorded, once.

use std::time::Instant;

use kube::ResourceExt;
use kube::runtime::controller::Action as Requeue;
use prunella_api::HealingAction;
use prunella_cluster::ClusterError;
use prunella_cluster::action::{object, request};
use prunella_cluster::perform::{Performed, perform};
use prunella_core::execute::{self, Effect};
use tracing::{info, warn};

use super::{Actor, SOON, TRY_AGAIN, transition};

/// Executes the effect on the version of the world that it was chosen for.
pub(super) async fn execute(
    action: &HealingAction,
    effect: &Effect,
    version: Option<&str>,
    actor: &Actor,
) -> Result<Requeue, ClusterError> {
    let namespace = action.namespace().unwrap_or_default();
    let target = object(&action.spec.target);
    let subject = object(&action.spec.subject);
    let name = action.name_any();
    let (request, object) = request(&target, &subject, effect);
    match perform(&actor.clients.writes, &namespace, &target, &subject, effect, version).await {
        Performed::Accepted => {
            info!(namespace, action = name, %object, request, "executed");
            Ok(Requeue::requeue(SOON))
        }
        Performed::NotAsExpected => Ok(Requeue::requeue(TRY_AGAIN)),
        Performed::Throttled => {
            let pause = execute::TRY_AGAIN.try_into().unwrap_or(TRY_AGAIN);
            actor.retry_delays.delay(&action.uid().unwrap_or_default(), Instant::now(), pause);
            Ok(Requeue::requeue(pause))
        }
        Performed::RefusedByBudget(words) => {
            let pause = execute::TRY_AGAIN.try_into().unwrap_or(TRY_AGAIN);
            actor.retry_delays.delay(&action.uid().unwrap_or_default(), Instant::now(), pause);
            transition::blocked(action, &words, actor).await?;
            Ok(Requeue::requeue(pause))
        }
        Performed::Forbidden(words) => {
            transition::forbidden(action, &request, &object, &words, actor).await?;
            Ok(Requeue::requeue(SOON))
        }
        Performed::Unclear(error) => {
            transition::unclear(action, actor).await?;
            warn!(namespace, action = name, %object, %error, "the result of `{request}` is unknown, reading the world");
            Ok(Requeue::requeue(TRY_AGAIN))
        }
    }
}
