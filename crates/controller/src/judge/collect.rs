//! Deletes old records. A record that counts towards a limit is kept, and so is the
//! newest record, because the next one gets its number from it. Needs the client for writes. A
//! deletion that fails is tried again after the next evaluation.

use jiff::SignedDuration;
use kube::Api;
use kube::api::DeleteParams;
use prunella_api::{HealingAction, HealingPolicy};
use prunella_cluster::{ClusterError, within};
use prunella_core::decide::Memory;
use prunella_core::ledger::{Ledger, Lineage, Record};
use prunella_core::policy::PolicyKey;
use prunella_core::time::elapsed;
use tracing::{debug, warn};

use super::Judge;
use crate::compiled::CompiledPolicy;
use crate::records::KEEP_COUNTED_FOR;
use crate::writes::DEADLINE;

/// How long a record that counts towards no limit is kept at least.
const KEEP_UNCOUNTED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Deletes the records that exceed the history limit and that no guardrail needs.
pub(super) async fn collect(
    policy: &HealingPolicy,
    compiled: &CompiledPolicy,
    memory: &Memory,
    ledger: &Ledger,
    judge: &Judge,
) {
    let key = &compiled.policy.key;
    let limit = usize::try_from(policy.spec.history_limit).unwrap_or(usize::MAX);
    let surplus = surplus(ledger, compiled, memory, limit, judge);
    if surplus.is_empty() || judge.authority.may_act().is_err() {
        return;
    }
    Box::pin(delete(&surplus, key, judge)).await;
}

async fn delete(surplus: &[&Record], key: &PolicyKey, judge: &Judge) {
    let api: Api<HealingAction> = Api::namespaced(judge.clients.writes.clone(), &key.namespace);
    for record in surplus {
        match within(DEADLINE, api.delete(&record.name, &DeleteParams::default())).await {
            Ok(_) => debug!(policy = %key, action = record.name, "deleted an old HealingAction"),
            Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() => {}
            Err(error) => {
                warn!(policy = %key, action = record.name, %error, "cannot delete an old HealingAction, trying again");
                return;
            }
        }
    }
}

fn surplus<'a>(
    ledger: &'a Ledger,
    compiled: &'a CompiledPolicy,
    memory: &Memory,
    limit: usize,
    judge: &Judge,
) -> Vec<&'a Record> {
    let key = &compiled.policy.key;
    let now = judge.authority.now();
    let mut finished: Vec<&Record> = ledger.of(key).filter(|record| !record.in_flight()).collect();
    if finished.len() <= limit.max(1) {
        return Vec::new();
    }
    finished.sort_by_key(|record| std::cmp::Reverse(record.sequence));
    let targets = judge.view.targets(compiled);
    let lineage = Lineage::of(ledger, &targets);
    // While an episode lasts, its records count towards the ladder, and a dry run records each step
    // only once.
    let of_an_episode = |record: &Record| {
        targets.iter().any(|target| {
            memory.timers.get(&target.object.uid).is_some_and(|timer| {
                record.target.uid == target.object.uid
                    || record.counts_against(target, timer.since, compiled.policy.limits.ladder_reset, &lineage)
            })
        })
    };
    finished
        .into_iter()
        .skip(limit.max(1))
        .filter(|record| {
            let counts = compiled.policy.budget().counts(record) || record.is_blocked_attempt();
            let kept = if counts { KEEP_COUNTED_FOR } else { KEEP_UNCOUNTED_FOR };
            elapsed(record.finished.unwrap_or(record.created), now) > kept
        })
        .filter(|record| !of_an_episode(record))
        .collect()
}
