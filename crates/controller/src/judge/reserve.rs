//! Stage 4: what is wanted becomes a record, before anything else happens. Needs
//! the client for writes.

use jiff::SignedDuration;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use prunella_api::{
    ActionEvidence, Duration, FINALIZER, HealingAction, HealingActionSpec, HealingPolicy, POLICY_LABEL,
    PolicyReference, SkippedStep,
};
use prunella_cluster::{ClusterError, within};
use prunella_core::decide::{Decision, Reservation, Skipped};
use prunella_core::observation::{Labels, Observation};
use sha2::{Digest, Sha256};
use tracing::{debug, info, warn};

use super::{Compiled, decide_once, tell};
use crate::context::Context;
use crate::ledger;
use crate::writes::DEADLINE;

/// The most labels of a series that a record keeps, and of each the most characters.
const LABELS_AT_MOST: usize = 64;
const LABEL_CHARACTERS: usize = 256;
/// How soon to decide again when somebody else had the number.
const DECIDE_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// Records what `decided` wants, once nobody else is reserving the same, by a decision of
/// then. Returns that decision.
pub(super) async fn reserve(
    policy: &HealingPolicy,
    compiled: &Compiled,
    decided: &Decision,
    observation: &Observation,
    context: &Context,
) -> Result<Decision, ClusterError> {
    let mut claimed = context.claims.take(&decided.reservations).await;
    let mut decision = decide_once(compiled, &decided.memory, observation, context);
    // Others may be wanted by then: what is decided with them claimed is what counts.
    while !decision.reservations.iter().all(|one| claimed.covers(one)) {
        drop(claimed);
        claimed = context.claims.take(&decision.reservations).await;
        decision = decide_once(compiled, &decided.memory, observation, context);
    }
    let api: Api<HealingAction> = Api::namespaced(context.writes.clone(), &compiled.policy.key.namespace);
    let mut recorded = Vec::with_capacity(decision.reservations.len());
    for reservation in &decision.reservations {
        // The judgement names rungs of this very policy only.
        let Some(action) = object(policy, compiled, reservation) else { continue };
        // Asked again for each: the wait for the claims, or the write before, took its time.
        if let Err(why) = context.may_act() {
            debug!(policy = %compiled.policy.key, why, "nothing is reserved");
            break;
        }
        match within(DEADLINE, api.create(&PostParams::default(), &action)).await {
            Ok(created) => {
                info!(policy = %compiled.policy.key, action = created.name_any(), target = %reservation.target,
                      value = reservation.value, "reserved");
                context.book.note(&created);
                context.metrics.reserved(&compiled.policy.key);
                tell::reserved(policy, compiled, reservation, &created, context);
                recorded.push(reservation.clone());
            }
            // Somebody has reserved the policy's next action already: the watch will
            // show it, and the next pass decides with it on record.
            Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_already_exists() => {
                warn!(policy = %compiled.policy.key, action = action.name_any(), "reserved by somebody else, deciding again");
                decision.next_check = DECIDE_AGAIN;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    decision.reservations = recorded;
    Ok(decision)
}

fn object(policy: &HealingPolicy, compiled: &Compiled, reservation: &Reservation) -> Option<HealingAction> {
    let Reservation {
        target,
        subject,
        rung,
        attempt,
        action,
        skipped,
        sequence,
        since,
        value,
        labels,
        observed_at,
        start_by,
    } = reservation;
    let uid = policy.uid().unwrap_or_default();
    let index = usize::try_from(*rung).ok()?.checked_sub(1)?;
    let step = compiled.policy.steps.get(index)?;
    Some(HealingAction {
        metadata: ObjectMeta {
            name: Some(name(&policy.name_any(), &uid, *sequence)),
            namespace: policy.namespace(),
            finalizers: Some(vec![FINALIZER.to_owned()]),
            labels: Some([(POLICY_LABEL.to_owned(), policy.name_any())].into()),
            ..ObjectMeta::default()
        },
        spec: HealingActionSpec {
            policy: PolicyReference {
                name: policy.name_any(),
                uid,
                generation: policy.metadata.generation.unwrap_or_default(),
                hash: compiled.hash.clone(),
            },
            mode: policy.spec.mode,
            sequence: i64::try_from(*sequence).unwrap_or(i64::MAX),
            target: ledger::reference(target),
            subject: ledger::reference(subject),
            action_name: action.name().to_owned(),
            action: ledger::recorded(action),
            skipped: skipped.iter().map(passed_over).collect(),
            verify_within: Duration::from(step.verify_within),
            rung: i32::try_from(*rung).unwrap_or(i32::MAX),
            attempt: i32::try_from(*attempt).unwrap_or(i32::MAX),
            evidence: ActionEvidence {
                query: compiled.query.text().to_owned(),
                value: decimal(*value),
                labels: bounded(labels),
                since: (*since).into(),
                observed_at: (*observed_at).into(),
            },
            start_by: (*start_by).into(),
        },
        status: None,
    })
}

/// `<policy>-<digest of kind and uid>-<sequence>`: two leaders that decide at once
/// collide on the name, and a policy created anew never collides with its namesake.
fn name(policy: &str, uid: &str, sequence: u64) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = Sha256::digest(format!("HealingPolicy/{uid}"));
    let tag: String = digest
        .iter()
        .take(10)
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
        .map(|&c| char::from(c))
        .collect();
    format!("{policy}-{tag}-{sequence}")
}

fn passed_over(skipped: &Skipped) -> SkippedStep {
    SkippedStep {
        rung: i32::try_from(skipped.rung).unwrap_or(i32::MAX),
        action_name: skipped.action.to_owned(),
        reason: skipped.why.as_str().to_owned(),
    }
}

/// What fits into the record: a source may return more and longer labels than the
/// API server takes, and the record must not fail for it.
fn bounded(labels: &Labels) -> Labels {
    let cut = |text: &String| text.chars().take(LABEL_CHARACTERS).collect();
    labels.iter().take(LABELS_AT_MOST).map(|(name, value)| (cut(name), cut(value))).collect()
}

/// A value as people write it, in at most 32 characters; never a float in the API.
pub(super) fn decimal(value: f64) -> String {
    const AT_MOST: usize = 32;
    let plain = value.to_string();
    if plain.len() <= AT_MOST { plain } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_fits_into_the_record_and_is_read_back_as_it_was() {
        for value in
            [0.0, 251_658_240.0, -5.551_115_123_125_783e-17, 1e40, f64::MIN_POSITIVE, f64::MAX, f64::MIN, f64::INFINITY]
        {
            let text = decimal(value);
            assert!(text.len() <= 32, "{text}");
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
        }
    }
}
