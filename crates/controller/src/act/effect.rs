//! Stage 2: one effect on the world. Its result is not stored, because the next pass reads it from
//! the world. A refusal that certainly had no effect is recorded, once. That a change was accepted is
//! remembered, so that one that is taken back at once is not sent again.

use std::time::Duration;
use tokio::time::Instant;

use kube::ResourceExt;
use kube::runtime::controller::Action as Requeue;
use prunella_api::HealingAction;
use prunella_cluster::ClusterError;
use prunella_cluster::action::{object, request};
use prunella_cluster::perform::{Performed, perform};
use prunella_core::execute::{self, Effect};
use tracing::{info, warn};

use super::{Actor, SOON, TRY_AGAIN, transition};
use crate::records::{DENIED, DISRUPTION_BUDGET, FORBIDDEN, SEVERAL_BUDGETS, THROTTLED};
use crate::report::action_messages;

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
            actor.retry_delays.accept(&action.uid().unwrap_or_default(), Instant::now());
            Ok(Requeue::requeue(SOON))
        }
        Performed::NotAsExpected => Ok(Requeue::requeue(TRY_AGAIN)),
        Performed::Throttled(words) => {
            transition::refused(action, THROTTLED, action_messages::throttled(&words), actor).await?;
            Ok(Requeue::requeue(pause(action, actor)))
        }
        Performed::RefusedByBudget(words) => {
            transition::refused(action, DISRUPTION_BUDGET, action_messages::waits_for_budget(&words), actor).await?;
            Ok(Requeue::requeue(pause(action, actor)))
        }
        Performed::SeveralBudgets(words) => {
            let message = action_messages::several_budgets(&object, &words);
            transition::refused(action, SEVERAL_BUDGETS, message, actor).await?;
            Ok(Requeue::requeue(SOON))
        }
        Performed::Forbidden(words) => {
            let message = action_messages::forbidden(&request, &object, &words);
            transition::refused(action, FORBIDDEN, message, actor).await?;
            Ok(Requeue::requeue(SOON))
        }
        Performed::Denied(words) => {
            transition::refused(action, DENIED, action_messages::denied(&request, &object, &words), actor).await?;
            Ok(Requeue::requeue(SOON))
        }
        Performed::Unclear(error) => {
            let words = match &error {
                ClusterError::Kube(kube::Error::Api(status)) => {
                    Some(action_messages::unclear(&request, &status.message))
                }
                // No answer at all says nothing to people.
                _ => None,
            };
            transition::unclear(action, words, actor).await?;
            warn!(namespace, action = name, %object, %error, "the result of `{request}` is unknown, reading the world");
            Ok(Requeue::requeue(TRY_AGAIN))
        }
    }
}

/// Delays the next try, and returns for how long.
fn pause(action: &HealingAction, actor: &Actor) -> Duration {
    let pause = execute::TRY_AGAIN.try_into().unwrap_or(TRY_AGAIN);
    actor.retry_delays.delay(&action.uid().unwrap_or_default(), Instant::now(), pause);
    pause
}
