//! Records the actions that the decision wants, before anything else happens. Needs the
//! client for writes.

use jiff::SignedDuration;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use prunella_api::{
    ActionEvidence, Duration, FINALIZER, HealingAction, HealingActionSpec, HealingPolicy, POLICY_KIND_LABEL,
    POLICY_LABEL, PolicyKind, PolicyReference, PromqlEvidence, SkippedStep,
};
use prunella_cluster::action::{reference, to_record};
use prunella_cluster::{ClusterError, within};
use prunella_core::decide::{Decision, Reservation, Skipped};
use prunella_core::observation::{Labels, Observation};
use sha2::{Digest, Sha256};
use tracing::{debug, info, warn};

use super::Judge;
use super::decide::decide_once;
use super::memory::Plan;
use crate::records::LABEL_CHARACTERS;
use crate::report::policy_events;
use crate::report::value::exact;
use crate::writes::DEADLINE;

/// The most labels of a series that a record keeps, and the most characters of each.
const LABELS_AT_MOST: usize = 64;
/// When to decide again after another process used the same sequence number.
const DECIDE_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// Records the actions that `decided` wants. First it waits until no other policy reserves actions on
/// the same objects, and decides again. Returns that decision, with the actions that were recorded.
pub(super) async fn reserve(
    policy: &HealingPolicy,
    plan: &Plan,
    decided: &Decision,
    observation: &Observation,
    judge: &Judge,
) -> Result<Decision, ClusterError> {
    let compiled = &plan.compiled;
    let key = &compiled.policy.key;
    let mut claimed = judge.claims.take(&decided.reservations).await;
    let mut decision = decide_once(plan, &decided.memory, observation, judge);
    // The new decision may want other targets: they must be claimed too.
    while !decision.reservations.iter().all(|one| claimed.covers(one)) {
        drop(claimed);
        claimed = judge.claims.take(&decision.reservations).await;
        decision = decide_once(plan, &decided.memory, observation, judge);
    }
    let api: Api<HealingAction> = Api::namespaced(judge.clients.writes.clone(), &key.namespace);
    let mut recorded = Vec::with_capacity(decision.reservations.len());
    for reservation in &decision.reservations {
        // A decision has only steps of this policy, so there always is an object.
        let Some(action) = object(policy, plan, reservation) else { continue };
        // Checked for each action, because the wait for the claims and the earlier writes take time.
        if let Err(why) = judge.authority.may_act() {
            debug!(policy = %key, why, "nothing is reserved");
            break;
        }
        match within(DEADLINE, api.create(&PostParams::default(), &action)).await {
            Ok(created) => {
                info!(policy = %key, action = created.name_any(), target = %reservation.target,
                      value = reservation.value, "reserved");
                judge.records.note(&created);
                judge.reporter.metrics.reserved(key);
                policy_events::reserved(policy, compiled, reservation, &created, &judge.reporter);
                recorded.push(reservation.clone());
            }
            // Another process has reserved the policy's next action. The watch will deliver it,
            // and the next pass decides with its record.
            Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_already_exists() => {
                warn!(policy = %key, action = action.name_any(), "another process has reserved this action, deciding again");
                decision.next_check = DECIDE_AGAIN;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    decision.reservations = recorded;
    Ok(decision)
}

/// The record of a reservation.
fn object(policy: &HealingPolicy, plan: &Plan, reservation: &Reservation) -> Option<HealingAction> {
    let Reservation {
        target,
        subject,
        step_name,
        step,
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
    let index = usize::try_from(*step).ok()?.checked_sub(1)?;
    let rules = plan.compiled.policy.steps.get(index)?;
    let namespace = policy.namespace().unwrap_or_default();
    Some(HealingAction {
        metadata: metadata(policy, &uid, *sequence),
        spec: HealingActionSpec {
            policy: PolicyReference {
                kind: PolicyKind::HealingPolicy,
                name: policy.name_any(),
                uid,
                generation: policy.metadata.generation.unwrap_or_default(),
                digest: plan.compiled.policy.digest.clone(),
            },
            mode: policy.spec.mode,
            sequence: i64::try_from(*sequence).unwrap_or(i64::MAX),
            target: reference(target, &namespace),
            subject: reference(subject, &namespace),
            action_name: action.name().to_owned(),
            action: to_record(action, &namespace),
            skipped: skipped.iter().map(skipped_step).collect(),
            verify_within: Duration::from(rules.verify_within),
            ready_within: rules.ready_within.map(Duration::from),
            step: step_name.clone(),
            step_number: i32::try_from(*step).unwrap_or(i32::MAX),
            attempt: i32::try_from(*attempt).unwrap_or(i32::MAX),
            evidence: ActionEvidence {
                since: (*since).into(),
                observed_at: (*observed_at).into(),
                promql: Some(PromqlEvidence {
                    query: plan.compiled.query.clone(),
                    value: exact(*value),
                    labels: bounded(labels),
                }),
            },
            start_by: (*start_by).into(),
        },
        status: None,
    })
}

fn metadata(policy: &HealingPolicy, uid: &str, sequence: u64) -> ObjectMeta {
    let labels = [
        (POLICY_LABEL.to_owned(), policy.name_any()),
        (POLICY_KIND_LABEL.to_owned(), PolicyKind::HealingPolicy.as_str().to_owned()),
    ];
    ObjectMeta {
        name: Some(name(&policy.name_any(), uid, sequence)),
        namespace: policy.namespace(),
        finalizers: Some(vec![FINALIZER.to_owned()]),
        labels: Some(labels.into()),
        ..ObjectMeta::default()
    }
}

/// `<policy>-<digest of kind and uid>-<sequence>`. Two leaders that decide at the same time get the
/// same name, so only one of them can create it. A new policy with the name of an earlier one gets
/// other names.
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

fn skipped_step(skipped: &Skipped) -> SkippedStep {
    SkippedStep {
        step: skipped.step_name.clone(),
        step_number: i32::try_from(skipped.step).unwrap_or(i32::MAX),
        action_name: skipped.action.to_owned(),
        reason: skipped.why.as_str().to_owned(),
    }
}

/// The labels that fit into the record. A source may return more and longer labels than the API
/// server accepts, and that must not prevent the record.
fn bounded(labels: &Labels) -> Labels {
    let cut = |text: &String| text.chars().take(LABEL_CHARACTERS).collect();
    labels.iter().take(LABELS_AT_MOST).map(|(name, value)| (cut(name), cut(value))).collect()
}
