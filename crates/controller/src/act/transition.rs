//! Stage 3: one transition of the record, by compare-and-set on the version that was read.
//! If two replicas decide at once, one of them is refused and surveys again.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use prunella_api::{ConditionType, FINALIZER, HealingAction, HealingActionStatus, Write, set_condition};
use prunella_cluster::action::{object, request};
use prunella_cluster::{ClusterError, within};
use prunella_core::execute::{Facts, OutcomeReason, Transition, effect_of};
use prunella_core::ledger::State;
use prunella_core::target::Object;
use serde_json::json;
use tracing::{debug, info};

use super::Actor;
use crate::records::{self, DENIED, TERMINATING};
use crate::report::action_messages::{self, ActionFindings};
use crate::writes::{DEADLINE, stamp};

/// The most characters of a message, as the schema of a `HealingAction` allows.
const MESSAGE_LIMIT: usize = 1024;

/// Writes one transition and reports it. `None`: the record has changed since it was read.
pub(super) async fn transition(
    action: &HealingAction,
    facts: &Facts,
    transition: Transition,
    findings: ActionFindings,
    actor: &Actor,
) -> Result<Option<HealingAction>, ClusterError> {
    let findings = ActionFindings { not_ready: not_ready(action, transition, actor), ..findings };
    let now = stamp(actor.authority.now());
    let mut status = action.status.clone().unwrap_or_default();
    status.blocked_by = None;
    if matches!(transition, Transition::Executed { .. }) {
        status.executed_after = last_absent(action, actor);
    }
    let message = bounded(apply(&mut status, action, facts, transition, &findings, &now));
    status.message = Some(message.clone());
    let over = matches!(transition, Transition::Finish { .. });
    progressing(&mut status, action, Some(!over), transition.to(), &message, &now);
    let Some(written) = write(action, status, actor).await? else { return Ok(None) };
    let text = action_messages::transition(action, transition, &message);
    info!(namespace = action.namespace(), action = action.name_any(), "{}: {}", text.reason, text.note);
    if let Transition::Finish { outcome, .. } = transition {
        let metrics = &actor.reporter.metrics;
        metrics.finished(&records::policy_of(action), &action.spec.action_name, outcome.as_str());
    }
    action_messages::write(action, &text, &actor.reporter);
    Ok(Some(written))
}

/// When the effect of a started action was last not in place. A process that was restarted between the
/// effect and its record knows only the start.
fn last_absent(action: &HealingAction, actor: &Actor) -> Option<Time> {
    let seen = actor.retry_delays.absent_at(&action.uid().unwrap_or_default());
    seen.map(stamp).or_else(|| action.status.as_ref()?.started_at.clone())
}

/// A message that fits into a status. One that does not would be refused with the whole transition.
fn bounded(message: String) -> String {
    if message.chars().count() > MESSAGE_LIMIT { message.chars().take(MESSAGE_LIMIT).collect() } else { message }
}

/// Why a pod of the workload is not Ready, if the action ends for that.
fn not_ready(action: &HealingAction, transition: Transition, actor: &Actor) -> Option<(Object, String)> {
    let Transition::Finish { reason: OutcomeReason::NotSettled | OutcomeReason::NotReady, .. } = transition else {
        return None;
    };
    let (namespace, since) = (action.namespace()?, records::replaced_since(action)?);
    actor.view.unready_since(&namespace, &action.spec.subject.uid.as_str().into(), since)
}

/// Records, once, that the API server refused the effect (`by`), in its own words. It certainly had no
/// effect. The next pass decides what follows.
pub(super) async fn refused(
    action: &HealingAction,
    by: &str,
    message: String,
    actor: &Actor,
) -> Result<(), ClusterError> {
    delayed(action, by, State::Running, message, actor).await
}

/// Records, once, that the removed pod takes long to end. Until it has ended, the action takes no
/// slot of its policy.
pub(super) async fn ends_slowly(action: &HealingAction, until: Timestamp, actor: &Actor) -> Result<(), ClusterError> {
    let (target, subject) = (object(&action.spec.target), object(&action.spec.subject));
    let message = action_messages::ends_slowly(&target, &subject, until);
    delayed(action, TERMINATING, State::Settling, message, actor).await
}

async fn delayed(
    action: &HealingAction,
    by: &str,
    state: State,
    message: String,
    actor: &Actor,
) -> Result<(), ClusterError> {
    let mut status = action.status.clone().unwrap_or_default();
    if status.blocked_by.as_deref() == Some(by) {
        return Ok(());
    }
    let message = bounded(message);
    status.blocked_by = Some(by.to_owned());
    status.message = Some(message.clone());
    if by == DENIED {
        status.executed_after = last_absent(action, actor);
    }
    let now = stamp(actor.authority.now());
    progressing(&mut status, action, Some(true), state, &message, &now);
    if write(action, status, actor).await?.is_some() {
        action_messages::write(action, &action_messages::blocked(action, message), &actor.reporter);
    }
    Ok(())
}

fn progressing(
    status: &mut HealingActionStatus,
    action: &HealingAction,
    progressing: Option<bool>,
    state: State,
    message: &str,
    now: &Time,
) {
    let generation = action.metadata.generation;
    let kind = ConditionType::Progressing;
    set_condition(&mut status.conditions, kind, progressing, state.as_str(), message, generation, now);
}

/// Whether the record is still protected from deletion.
pub(super) fn is_held(action: &HealingAction) -> bool {
    action.finalizers().iter().any(|one| one == FINALIZER)
}

/// Releases a finished record: until then, a deletion must not lose an action in flight.
///
/// `false`: the record had another version. The watch will show it, but an admission webhook
/// may have refused without any change, so the caller tries again.
pub(super) async fn release(action: &HealingAction, actor: &Actor) -> Result<bool, ClusterError> {
    if !is_held(action) {
        return Ok(true);
    }
    let others: Vec<&String> = action.finalizers().iter().filter(|one| *one != FINALIZER).collect();
    let patch = json!({"metadata": {"finalizers": others, "resourceVersion": action.resource_version()}});
    let api = api(action, actor);
    match within(DEADLINE, api.patch(&action.name_any(), &PatchParams::default(), &Patch::Merge(&patch))).await {
        Ok(_) => Ok(true),
        Err(ClusterError::Kube(kube::Error::Api(answer))) if answer.is_not_found() => Ok(true),
        Err(ClusterError::Kube(kube::Error::Api(answer))) if answer.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Records that the newest attempt was not refused but may have had an effect: from now on
/// its budget is not given back. The API server's words, if there are any, are recorded once: they
/// may differ each time.
pub(super) async fn unclear(action: &HealingAction, words: Option<String>, actor: &Actor) -> Result<(), ClusterError> {
    let mut status = action.status.clone().unwrap_or_default();
    let was_refused = status.blocked_by.take().is_some();
    let is_told = status.message.as_deref().is_some_and(action_messages::is_unclear);
    let words = words.filter(|_| !is_told);
    if was_refused || words.is_some() {
        let message = bounded(words.or(status.message.take()).unwrap_or_default());
        let now = stamp(actor.authority.now());
        progressing(&mut status, action, Some(true), State::Running, &message, &now);
        status.message = Some(message);
        write(action, status, actor).await?;
    }
    Ok(())
}

fn apply(
    status: &mut HealingActionStatus,
    action: &HealingAction,
    facts: &Facts,
    transition: Transition,
    findings: &ActionFindings,
    now: &Time,
) -> String {
    let target = object(&action.spec.target);
    let subject = object(&action.spec.subject);
    let behaviour = facts.action.behaviour();
    match transition {
        Transition::Begin => {
            status.started_at = Some(now.clone());
            let touched = if behaviour.scope().is_workload() { &subject } else { &target };
            format!("started: {} on {touched}", action.spec.action_name)
        }
        Transition::Executed { settle_by } => {
            status.executed_at = Some(now.clone());
            status.settle_by = Some(settle_by.into());
            let (request, object) = request(&target, &subject, &effect_of(facts));
            status.writes = vec![Write { request, object: object.to_string() }];
            behaviour.describe_executed(&target, &subject)
        }
        Transition::Settled { verify_by } => {
            status.settled_at = Some(now.clone());
            status.verify_by = Some(verify_by.into());
            format!("{}{}", behaviour.describe_settled(&subject), findings.when_settled(&target))
        }
        Transition::Finish { outcome, reason } => {
            status.finished_at = Some(now.clone());
            status.outcome = Some(outcome.as_str().to_owned());
            status.outcome_reason = Some(reason.as_str().to_owned());
            let earlier = status.message.clone().unwrap_or_default();
            let why = action_messages::outcome_after(outcome, reason, behaviour.scope(), &earlier);
            let why = format!("{why}{}", findings.at_the_end(reason, &target, &subject));
            format!("{}: {why}", outcome.as_str())
        }
    }
}

/// Replaces the status if the record is still the one that was read. `None`: it is not.
async fn write(
    action: &HealingAction,
    status: HealingActionStatus,
    actor: &Actor,
) -> Result<Option<HealingAction>, ClusterError> {
    let mut next = action.clone();
    next.status = Some(status);
    match within(DEADLINE, api(action, actor).replace_status(&action.name_any(), &PostParams::default(), &next)).await {
        Ok(written) => {
            actor.records.note(&written);
            actor.wake_policy.wake(&records::policy_of(&written));
            Ok(Some(written))
        }
        Err(ClusterError::Kube(kube::Error::Api(answer))) if answer.is_conflict() || answer.is_not_found() => {
            debug!(action = action.name_any(), "the record has changed, surveying again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn api(action: &HealingAction, actor: &Actor) -> Api<HealingAction> {
    Api::namespaced(actor.clients.writes.clone(), &action.namespace().unwrap_or_default())
}
