//! Stage 2a: one effect on the world. What came of it is not remembered but seen by
//! the next pass; only a refusal that provably had no effect is noted, once.

use std::time::Instant;

use kube::ResourceExt;
use kube::runtime::controller::Action as Requeue;
use prunella_api::HealingAction;
use prunella_cluster::ClusterError;
use prunella_cluster::perform::{Performed, perform, request};
use prunella_core::execute::{Effect, retry_after};
use tracing::{info, warn};

use super::{SOON, TRY_AGAIN, record};
use crate::context::Context;
use crate::ledger;

/// Carries the effect out, on the version of the world that it was chosen for.
pub(super) async fn act(
    action: &HealingAction,
    effect: &Effect,
    version: Option<&str>,
    context: &Context,
) -> Result<Requeue, ClusterError> {
    let namespace = action.namespace().unwrap_or_default();
    let target = ledger::object(&action.spec.target);
    let subject = ledger::object(&action.spec.subject);
    let name = action.name_any();
    let (request, object) = request(&target, &subject, effect);
    match perform(&context.writes, &namespace, &target, &subject, effect, version).await {
        Performed::Accepted => {
            info!(namespace, action = name, %object, request, "done");
            Ok(Requeue::requeue(SOON))
        }
        Performed::NotAsExpected => Ok(Requeue::requeue(TRY_AGAIN)),
        Performed::RefusedByBudget => {
            let pause = retry_after(effect).try_into().unwrap_or(TRY_AGAIN);
            context.patience.wait(&action.uid().unwrap_or_default(), Instant::now(), pause);
            record::blocked(action, context).await?;
            Ok(Requeue::requeue(pause))
        }
        Performed::Forbidden(words) => {
            record::forbidden(action, &request, &object, &words, context).await?;
            Ok(Requeue::requeue(SOON))
        }
        Performed::Unclear(error) => {
            record::unclear(action, context).await?;
            warn!(namespace, action = name, %object, %error, "nobody knows what became of {request}, looking");
            Ok(Requeue::requeue(TRY_AGAIN))
        }
    }
}
