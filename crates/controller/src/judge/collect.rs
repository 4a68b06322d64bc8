//! Stage 6: history goes after a time. What still counts towards a limit stays, and
//! so does the newest record: the next one takes its number from it. Needs the client
//! for writes; what fails is tried again after the next look.

use jiff::SignedDuration;
use kube::Api;
use kube::api::DeleteParams;
use prunella_api::{HealingAction, HealingPolicy};
use prunella_cluster::{ClusterError, within};
use prunella_core::decide::Memory;
use prunella_core::ledger::{Ledger, Record};
use prunella_core::policy::PolicyKey;
use prunella_core::time::elapsed;
use tracing::{debug, warn};

use super::Compiled;
use crate::context::Context;
use crate::writes::DEADLINE;

/// How long a record that spent budget is kept at least: no window, cooldown or ladder
/// of any policy reaches further back.
pub(crate) const COUNTED_AT_MOST: SignedDuration = SignedDuration::from_hours(24);
/// How long one that spent nothing is kept.
const TOLD_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Deletes what neither the history limit nor a brake wants kept.
pub(super) async fn collect(
    policy: &HealingPolicy,
    compiled: &Compiled,
    memory: &Memory,
    ledger: &Ledger,
    context: &Context,
) {
    let key = &compiled.policy.key;
    let limit = usize::try_from(policy.spec.history_limit).unwrap_or(usize::MAX);
    let surplus = surplus(ledger, compiled, memory, limit, context);
    if surplus.is_empty() || context.may_act().is_err() {
        return;
    }
    Box::pin(delete(&surplus, key, context)).await;
}

async fn delete(surplus: &[&Record], key: &PolicyKey, context: &Context) {
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

fn surplus<'a>(
    ledger: &'a Ledger,
    compiled: &'a Compiled,
    memory: &Memory,
    limit: usize,
    context: &Context,
) -> Vec<&'a Record> {
    let key = &compiled.policy.key;
    let now = context.now();
    let mut finished: Vec<&Record> = ledger.of(key).filter(|record| !record.in_flight()).collect();
    if finished.len() <= limit.max(1) {
        return Vec::new();
    }
    finished.sort_by_key(|record| std::cmp::Reverse(record.sequence));
    let targets = context.targets(compiled);
    // The ladder counts for as long as the sickness lasts, and a dry run says it once.
    let of_a_sickness = |record: &Record| {
        targets.iter().any(|target| {
            memory.timers.get(&target.object.uid).is_some_and(|timer| {
                record.target.uid == target.object.uid
                    || record.counts_against(target, timer.since, compiled.policy.limits.ladder_reset)
            })
        })
    };
    finished
        .into_iter()
        .skip(limit.max(1))
        .filter(|record| {
            let kept = if record.spends() { COUNTED_AT_MOST } else { TOLD_FOR };
            elapsed(record.finished.unwrap_or(record.created), now) > kept
        })
        .filter(|record| !of_a_sickness(record))
        .collect()
}
