//! Stage 2b: one transition of the record, by compare-and-set on the version that
//! was read: of two executors that decide at once, one is refused and looks again.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use prunella_api::{ConditionType, FINALIZER, HealingAction, HealingActionStatus, Write, set_condition};
use prunella_cluster::{ClusterError, perform, within};
use prunella_core::action::{Action, Scope};
use prunella_core::execute::{Facts, OutcomeReason, Transition, effect_of};
use prunella_core::ledger::{Outcome, State};
use prunella_core::target::Object;
use serde_json::json;
use tracing::{debug, info};

use crate::announce::{self, News};
use crate::context::Context;
use crate::ledger::{self, DISRUPTION_BUDGET, FORBIDDEN};
use crate::writes::{DEADLINE, stamp};

/// The most characters of the API server's words that are kept.
const MAX_QUOTED: usize = 512;

/// Writes one transition and tells it. `None`: the record is another one by now.
pub(super) async fn transition(
    action: &HealingAction,
    facts: &Facts,
    transition: Transition,
    context: &Context,
) -> Result<Option<HealingAction>, ClusterError> {
    let now = stamp(context.now());
    let mut status = action.status.clone().unwrap_or_default();
    status.blocked_by = None;
    let message = apply(&mut status, action, facts, transition, &now);
    status.message = Some(message.clone());
    let over = matches!(transition, Transition::Finish { .. });
    set_condition(
        &mut status.conditions,
        ConditionType::Progressing,
        Some(!over),
        transition.to().as_str(),
        message.clone(),
        action.metadata.generation,
        &now,
    );
    let Some(written) = write(action, status, context).await? else { return Ok(None) };
    let news = news(action, transition, &message);
    info!(namespace = action.namespace(), action = action.name_any(), "{}: {}", news.reason, news.note);
    if let Transition::Finish { outcome, .. } = transition {
        context.metrics.finished(&ledger::policy_of(action), &action.spec.action_name, outcome.as_str());
    }
    tell(action, &news, context);
    Ok(Some(written))
}

/// Notes, once, that a disruption budget holds the action up.
pub(super) async fn blocked(action: &HealingAction, context: &Context) -> Result<(), ClusterError> {
    let message = "a PodDisruptionBudget allows no eviction now; trying again".to_owned();
    held_up(action, DISRUPTION_BUDGET, message, context).await
}

/// Notes that the API server forbids the write, in its words and with the mend: the next
/// step ends the action with them.
pub(super) async fn forbidden(
    action: &HealingAction,
    request: &str,
    object: &Object,
    words: &str,
    context: &Context,
) -> Result<(), ClusterError> {
    let words: String = words.chars().take(MAX_QUOTED).collect();
    let message = format!(
        "the API server forbids `{request}` of {object}: {words}; \
         grant it (deploy/kustomize/actions), or take this step out of the policy"
    );
    held_up(action, FORBIDDEN, message, context).await
}

async fn held_up(action: &HealingAction, by: &str, message: String, context: &Context) -> Result<(), ClusterError> {
    let mut status = action.status.clone().unwrap_or_default();
    if status.blocked_by.as_deref() == Some(by) {
        return Ok(());
    }
    status.blocked_by = Some(by.to_owned());
    status.message = Some(message.clone());
    let now = stamp(context.now());
    set_condition(
        &mut status.conditions,
        ConditionType::Progressing,
        Some(true),
        State::Running.as_str(),
        message.clone(),
        action.metadata.generation,
        &now,
    );
    if write(action, status, context).await?.is_some() {
        let news = News { warning: true, reason: "Blocked", action: action.spec.action_name.clone(), note: message };
        tell(action, &news, context);
    }
    Ok(())
}

/// Whether the record is still held against deletion.
pub(super) fn is_held(action: &HealingAction) -> bool {
    action.finalizers().iter().any(|one| one == FINALIZER)
}

/// Lets go of a record that is over: until then a deletion must not lose what is
/// under way.
///
/// `false`: it was another version already. The watch shows that one, but whoever
/// stands between may have refused without any change, so it is looked at again.
pub(super) async fn release(action: &HealingAction, context: &Context) -> Result<bool, ClusterError> {
    if !is_held(action) {
        return Ok(true);
    }
    let others: Vec<&String> = action.finalizers().iter().filter(|one| *one != FINALIZER).collect();
    let patch = json!({"metadata": {"finalizers": others, "resourceVersion": action.resource_version()}});
    let api: Api<HealingAction> = Api::namespaced(context.writes.clone(), &action.namespace().unwrap_or_default());
    match within(DEADLINE, api.patch(&action.name_any(), &PatchParams::default(), &Patch::Merge(&patch))).await {
        Ok(_) => Ok(true),
        Err(ClusterError::Kube(kube::Error::Api(answer))) if answer.is_not_found() => Ok(true),
        Err(ClusterError::Kube(kube::Error::Api(answer))) if answer.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Notes that the newest try was not refused but may have had an effect: from here on
/// the budget is not given back.
pub(super) async fn unclear(action: &HealingAction, context: &Context) -> Result<(), ClusterError> {
    let mut status = action.status.clone().unwrap_or_default();
    if status.blocked_by.take().is_some() {
        write(action, status, context).await?;
    }
    Ok(())
}

fn apply(
    status: &mut HealingActionStatus,
    action: &HealingAction,
    facts: &Facts,
    transition: Transition,
    now: &Time,
) -> String {
    let target = ledger::object(&action.spec.target);
    let subject = ledger::object(&action.spec.subject);
    match transition {
        Transition::Begin => {
            status.started_at = Some(now.clone());
            let object = if facts.action.scope().is_workload() { &subject } else { &target };
            format!("begun: {} on {object}", action.spec.action_name)
        }
        Transition::Executed { settle_by } => {
            status.executed_at = Some(now.clone());
            status.settle_by = Some(settle_by.into());
            let (request, object) = perform::request(&target, &subject, &effect_of(facts));
            status.writes = vec![Write { request, object: object.to_string() }];
            executed(&facts.action, &target, &subject)
        }
        Transition::Settled { verify_by } => {
            status.settled_at = Some(now.clone());
            status.verify_by = Some(verify_by.into());
            settled(&facts.action, &subject)
        }
        Transition::Finish { outcome, reason } => {
            status.finished_at = Some(now.clone());
            status.outcome = Some(outcome.as_str().to_owned());
            status.outcome_reason = Some(reason.as_str().to_owned());
            let noted = status.message.clone().filter(|_| reason == OutcomeReason::Forbidden);
            let why = noted.unwrap_or_else(|| sentence(reason, facts.action.scope()));
            format!("{}: {why}", outcome.as_str())
        }
    }
}

/// What was done, and what is waited for.
fn executed(action: &Action, target: &Object, subject: &Object) -> String {
    match action {
        Action::DeletePod { .. } => {
            format!("{target} is on its way out; waiting for {subject} to have a ready one in its place")
        }
        Action::RolloutRestart => format!("{subject} was restarted; waiting for it to have replaced all its pods"),
        Action::Scale { from, to, autoscaler: None } => {
            format!("{subject} was scaled from {from} to {to}; waiting for all of them to be ready")
        }
        Action::Scale { from, to, autoscaler: Some(autoscaler) } => format!(
            "the minimum of {autoscaler} was raised from {from} to {to}; waiting for {subject} to have as many ready"
        ),
    }
}

/// What came about, and what is watched.
fn settled(action: &Action, subject: &Object) -> String {
    match action {
        Action::DeletePod { .. } => {
            format!("{subject} has a ready pod in its place; watching whether its new pods stay clear")
        }
        Action::RolloutRestart => {
            format!("{subject} has replaced all its pods; watching whether the new ones stay clear")
        }
        Action::Scale { .. } => {
            format!("{subject} has as many replicas ready as it was to have; watching whether its pods stay clear")
        }
    }
}

fn sentence(reason: OutcomeReason, scope: Scope) -> String {
    let judged = if scope == Scope::AllPods { "its pods" } else { "the new pods" };
    let text = match reason {
        OutcomeReason::Cleared => return format!("{judged} were clear, with evidence, for clearFor"),
        OutcomeReason::StillBreached => return format!("{judged} were still breached at the end of verify.within"),
        OutcomeReason::NotReady => return format!("{judged} were not ready at the end of verify.within"),
        OutcomeReason::NoData => return format!("there was no data about {judged} at the end of verify.within"),
        OutcomeReason::SourceUnknown => "the source gave no answer to rely on until the end",
        OutcomeReason::Recovered => "the breach ended by itself before the action was begun",
        OutcomeReason::PolicyGone => "the policy is gone",
        OutcomeReason::PolicyChanged => "the policy's condition, target or steps are others now",
        OutcomeReason::Suspended => "the policy is suspended, or healing is held back",
        OutcomeReason::ModeChanged => "the policy's mode is no longer Enforce",
        OutcomeReason::Storm => "more targets are breached than maxUnhealthy allows, and this action is not the probe",
        OutcomeReason::StartByPassed => "it could not be begun before its evidence was stale",
        OutcomeReason::TargetGone => "the target or the workload behind it is gone, going, or scaled to zero",
        OutcomeReason::TargetBusy => "an earlier action on the target or its owners is in flight",
        OutcomeReason::NotSelected => "the policy's selector no longer chooses the target",
        OutcomeReason::OptedOut => "the target's owner wants it left alone",
        OutcomeReason::NotHealable => "the target may no longer be healed",
        OutcomeReason::BlockedByDisruptionBudget => "a PodDisruptionBudget allowed no eviction for ten minutes",
        OutcomeReason::Forbidden => "the controller lacks the right to do it",
        OutcomeReason::NotExecuted => "the write took no effect for ten minutes",
        OutcomeReason::NotSettled => "the replacement did not come up in time",
        OutcomeReason::ChangedByOthers => {
            "somebody else has changed what this action would change, which stays as it is"
        }
        OutcomeReason::RecordedOnly => "the policy's mode is DryRun, so this was decided and recorded only",
    };
    text.to_owned()
}

fn news(action: &HealingAction, transition: Transition, message: &str) -> News {
    let warning = match transition {
        Transition::Finish { outcome, .. } => {
            matches!(outcome, Outcome::Failed | Outcome::Inconclusive | Outcome::Expired)
        }
        Transition::Begin | Transition::Executed { .. } | Transition::Settled { .. } => false,
    };
    let note = format!("{}: {message}", action.name_any());
    News { warning, reason: transition.to().as_str(), action: action.spec.action_name.clone(), note }
}

/// Replaces the status if the record is still the one that was read. `None`: it is
/// not, and the next pass looks again.
async fn write(
    action: &HealingAction,
    status: HealingActionStatus,
    context: &Context,
) -> Result<Option<HealingAction>, ClusterError> {
    let api: Api<HealingAction> = Api::namespaced(context.writes.clone(), &action.namespace().unwrap_or_default());
    let mut next = action.clone();
    next.status = Some(status);
    match within(DEADLINE, api.replace_status(&action.name_any(), &PostParams::default(), &next)).await {
        Ok(written) => {
            context.book.note(&written);
            context.judge_wake(&ledger::policy_of(&written));
            Ok(Some(written))
        }
        Err(ClusterError::Kube(kube::Error::Api(answer))) if answer.is_conflict() || answer.is_not_found() => {
            debug!(action = action.name_any(), "the record changed meanwhile, looking again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn tell(action: &HealingAction, news: &News, context: &Context) {
    let namespace = action.namespace().unwrap_or_default();
    let policy = ObjectReference {
        api_version: Some(prunella_api::HealingPolicy::api_version(&()).into_owned()),
        kind: Some(prunella_api::HealingPolicy::kind(&()).into_owned()),
        name: Some(action.spec.policy.name.clone()),
        namespace: Some(namespace.clone()),
        uid: Some(action.spec.policy.uid.clone()),
        ..ObjectReference::default()
    };
    let target = &action.spec.target;
    let target = announce::target(&namespace, &target.kind, &target.name, &target.uid);
    context.announcer.tell_both(news, &policy, &target);
}
