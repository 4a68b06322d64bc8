//! Stage 6: history goes after a time. What still counts towards a limit stays, and
//! so does the newest record: the next one takes its number from it. Needs the client
//! for writes; what fails is tried again after the next look.

use jiff::SignedDuration;
use kube::Api;
use kube::api::DeleteParams;
use prunella_api::{HealingAction, HealingPolicy};
use prunella_cluster::{ClusterError, within};
use prunella_core::ledger::{Ledger, Record};
use prunella_core::time::elapsed;
use tracing::{debug, warn};

use super::Compiled;
use crate::context::Context;
use crate::writes::DEADLINE;

/// How long a record is kept at least, whatever the policy says: another policy's
/// brakes may count it.
const KEPT_AT_LEAST: SignedDuration = SignedDuration::from_hours(1);

/// Deletes what neither the history limit nor a brake wants kept.
pub(super) async fn collect(policy: &HealingPolicy, compiled: &Compiled, context: &Context) {
    let key = &compiled.policy.key;
    let ledger = context.book.ledger(&key.namespace);
    let limit = usize::try_from(policy.spec.history_limit).unwrap_or(usize::MAX);
    let surplus = surplus(&ledger, compiled, limit, context);
    if surplus.is_empty() || context.may_act().is_err() {
        return;
    }
    let api: Api<HealingAction> = Api::namespaced(context.writes.clone(), &key.namespace);
    for record in surplus {
        match within(DEADLINE, api.delete(&record.name, &DeleteParams::default())).await {
            Ok(_) => debug!(policy = %key, action = record.name, "history collected"),
            Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() => {}
            Err(error) => {
                warn!(policy = %key, action = record.name, %error, "cannot collect history, trying again");
                return;
            }
        }
    }
}

fn surplus<'a>(ledger: &'a Ledger, compiled: &'a Compiled, limit: usize, context: &Context) -> Vec<&'a Record> {
    let limits = &compiled.policy.limits;
    let counted_for = limits.window.max(limits.cooldown).max(limits.ladder_reset).max(KEPT_AT_LEAST);
    let now = context.now();
    let mut finished: Vec<&Record> = ledger.of(&compiled.policy.key).filter(|record| !record.in_flight()).collect();
    finished.sort_by_key(|record| std::cmp::Reverse(record.sequence));
    finished
        .into_iter()
        .skip(limit.max(1))
        .filter(|record| elapsed(record.finished.unwrap_or(record.created), now) > counted_for)
        .collect()
}
