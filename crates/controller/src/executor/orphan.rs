//! The history of a policy that is gone. While there is one of its name it looks after
//! its records itself; without one they go when nothing counts them any more.

use kube::api::{DeleteParams, Preconditions};
use kube::runtime::controller::Action as Requeue;
use kube::{Api, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_cluster::{ClusterError, REQUEST_DEADLINE, within};
use prunella_core::time::{after, elapsed};
use tracing::debug;

use super::TRY_AGAIN;
use crate::context::Context;
use crate::judge::COUNTED_AT_MOST;
use crate::ledger;
use crate::writes::DEADLINE;

/// Deletes a finished record that nothing counts and nobody looks after; else says when
/// to see again.
pub(super) async fn collect(action: &HealingAction, context: &Context) -> Result<Requeue, ClusterError> {
    // What does not say when it ended may still count: it stays.
    let Some(finished) = ledger::record(action).ok().and_then(|record| record.finished) else {
        return Ok(Requeue::await_change());
    };
    let due = after(finished, COUNTED_AT_MOST);
    let left = elapsed(context.now(), due);
    if left.is_positive() {
        return Ok(Requeue::requeue(left.try_into().unwrap_or(TRY_AGAIN)));
    }
    let (namespace, name) = (action.namespace().unwrap_or_default(), action.name_any());
    let policies: Api<HealingPolicy> = Api::namespaced(context.reads.clone(), &namespace);
    let looked_after = within(REQUEST_DEADLINE, policies.get_opt(&action.spec.policy.name)).await?.is_some();
    if looked_after {
        return Ok(Requeue::requeue(COUNTED_AT_MOST.try_into().unwrap_or(TRY_AGAIN)));
    }
    if context.may_act().is_err() {
        return Ok(Requeue::requeue(TRY_AGAIN));
    }
    let api: Api<HealingAction> = Api::namespaced(context.writes.clone(), &namespace);
    let this = DeleteParams {
        preconditions: Some(Preconditions { uid: action.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    match within(DEADLINE, api.delete(&name, &this)).await {
        Ok(_) => debug!(namespace, action = name, "the history of a policy that is gone is collected"),
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() || status.is_conflict() => {}
        Err(error) => return Err(error),
    }
    Ok(Requeue::await_change())
}
