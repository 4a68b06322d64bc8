//! Deletes the records of policies that do not exist any more. A policy that exists deletes its
//! own history, and also the records of an earlier policy of the same name.

use kube::api::{DeleteParams, Preconditions};
use kube::runtime::controller::Action as Requeue;
use kube::{Api, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_cluster::{ClusterError, REQUEST_DEADLINE, within};
use prunella_core::time::{after, elapsed};
use tracing::debug;

use super::{Actor, TRY_AGAIN};
use crate::records::{self, KEEP_COUNTED_FOR};
use crate::writes::DEADLINE;

/// Deletes a finished record if no limit can count it any more and its policy does not exist.
/// Otherwise returns when to check again.
pub(super) async fn collect(action: &HealingAction, actor: &Actor) -> Result<Requeue, ClusterError> {
    // A record without an end may still count towards limits, so it is kept.
    let Some(finished) = records::record(action).ok().and_then(|record| record.finished) else {
        return Ok(Requeue::await_change());
    };
    let due = after(finished, KEEP_COUNTED_FOR);
    let left = elapsed(actor.authority.now(), due);
    if left.is_positive() {
        return Ok(Requeue::requeue(left.try_into().unwrap_or(TRY_AGAIN)));
    }
    let (namespace, name) = (action.namespace().unwrap_or_default(), action.name_any());
    let policies: Api<HealingPolicy> = Api::namespaced(actor.clients.reads.clone(), &namespace);
    let policy_exists = within(REQUEST_DEADLINE, policies.get_opt(&action.spec.policy.name)).await?.is_some();
    if policy_exists {
        return Ok(Requeue::requeue(KEEP_COUNTED_FOR.try_into().unwrap_or(TRY_AGAIN)));
    }
    if actor.authority.may_act().is_err() {
        return Ok(Requeue::requeue(TRY_AGAIN));
    }
    let api: Api<HealingAction> = Api::namespaced(actor.clients.writes.clone(), &namespace);
    let only_this_one = DeleteParams {
        preconditions: Some(Preconditions { uid: action.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    match within(DEADLINE, api.delete(&name, &only_this_one)).await {
        Ok(_) => debug!(namespace, action = name, "deleted a record of a policy that does not exist any more"),
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() || status.is_conflict() => {}
        Err(error) => return Err(error),
    }
    Ok(Requeue::await_change())
}
