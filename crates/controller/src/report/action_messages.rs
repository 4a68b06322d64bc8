//! What happened to an action, in words: its conditions, Events and log lines.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_cluster::action::object;
use prunella_core::action::ActionScope;
use prunella_core::execute::{EXECUTE_WITHIN, OutcomeReason, TRY_AGAIN, Transition};
use prunella_core::ledger::Outcome;
use prunella_core::target::Object;

use super::Reporter;
use super::events::{self, EventText};

/// The most characters of the API server's words that a message quotes.
const MAX_QUOTED: usize = 512;

/// Why an action waits: a disruption budget, in the API server's words.
pub(crate) fn waits_for_budget(words: &str) -> String {
    let words: String = words.chars().take(MAX_QUOTED).collect();
    format!("{}. {words}", tries_again())
}

/// Why an action waits, in short: a disruption budget.
pub(super) fn tries_again() -> String {
    format!(
        "a PodDisruptionBudget allows no eviction now; trying again every {TRY_AGAIN:#}, for at most {EXECUTE_WITHIN:#}"
    )
}

/// Why an action ended as it did. `earlier` is its message until then: the API server's own
/// words about a refusal are kept.
pub(crate) fn outcome_after(reason: OutcomeReason, scope: ActionScope, earlier: &str) -> String {
    match (reason, earlier.strip_prefix(&format!("{}. ", tries_again()))) {
        (OutcomeReason::Forbidden, _) if !earlier.is_empty() => earlier.to_owned(),
        (OutcomeReason::BlockedByDisruptionBudget, Some(words)) => format!("{}: {words}", outcome(reason, scope)),
        _ => outcome(reason, scope),
    }
}

/// Why an action ends: the API server forbids its write.
pub(crate) fn forbidden(request: &str, object: &Object, words: &str) -> String {
    let words: String = words.chars().take(MAX_QUOTED).collect();
    format!(
        "the API server forbids `{request}` on {object}: {words}; \
         grant the right (deploy/kustomize/actions), or remove this step from the policy"
    )
}

/// Why an action ended as it did.
pub(crate) fn outcome(reason: OutcomeReason, scope: ActionScope) -> String {
    let pods = if scope == ActionScope::AllPods { "its pods" } else { "the new pods" };
    let text = match reason {
        OutcomeReason::Cleared => {
            return format!("{pods} stayed clear for clearFor, and there was data about them");
        }
        OutcomeReason::StillBreached => return format!("{pods} were still breached at the end of verify.within"),
        OutcomeReason::NotReady => return format!("{pods} were not ready at the end of verify.within"),
        OutcomeReason::NoData => return format!("there was no data about {pods} at the end of verify.within"),
        OutcomeReason::SourceUnknown => "the source gave no usable answer until the end of verification",
        OutcomeReason::Recovered => "the target recovered by itself before the action started",
        OutcomeReason::PolicyGone => "the policy was deleted",
        OutcomeReason::PolicyChanged => "the policy's condition, target or steps have changed",
        OutcomeReason::Suspended => {
            "the policy is suspended, or the annotation prunella.dev/hold on a namespace stops new actions"
        }
        OutcomeReason::ModeChanged => "the policy's mode is no longer Enforce",
        OutcomeReason::Storm => "a storm started, and this action is not its probe",
        OutcomeReason::StartByPassed => "its evidence became too old before it could start (spec.startBy)",
        OutcomeReason::TargetGone => "the target or its workload is gone, being deleted, or scaled to zero",
        OutcomeReason::TargetBusy => "an earlier action on the target or its owner is in flight",
        OutcomeReason::TooFewAvailable => "too few pods of the workload would stay Ready (limits.minAvailable)",
        OutcomeReason::NotSelected => "the policy's selector no longer selects the target",
        OutcomeReason::OptedOut => "the target, its owner or its namespace opts out of healing",
        OutcomeReason::NotHealable => "the target can no longer be healed",
        OutcomeReason::BlockedByDisruptionBudget => "a PodDisruptionBudget allowed no eviction for 10 minutes",
        OutcomeReason::Forbidden => {
            "the API server forbids the request: the controller lacks the right, or an admission policy refuses"
        }
        OutcomeReason::NotExecuted => {
            "the change was not made within 10 minutes after the start: every request failed, or the action had to wait, for example for a hold or an opt-out"
        }
        OutcomeReason::NotSettled => "the pods of the workload were not ready in time (status.settleBy)",
        OutcomeReason::ChangedByOthers => "somebody else changed the same field; their value is kept",
        OutcomeReason::RecordedOnly => "the policy's mode is DryRun: this was only decided and recorded",
    };
    text.to_owned()
}

/// The Event of a transition.
pub(crate) fn transition(action: &HealingAction, transition: Transition, message: &str) -> EventText {
    let warning = match transition {
        Transition::Finish { outcome, .. } => {
            matches!(outcome, Outcome::Failed | Outcome::Inconclusive | Outcome::Expired)
        }
        Transition::Begin | Transition::Executed { .. } | Transition::Settled { .. } => false,
    };
    let note = format!("{}: {message}", action.name_any());
    EventText { warning, reason: transition.to().as_str(), action: action.spec.action_name.clone(), note }
}

/// The Event of an action that waits or cannot go on.
pub(crate) fn blocked(action: &HealingAction, message: String) -> EventText {
    EventText { warning: true, reason: "Blocked", action: action.spec.action_name.clone(), note: message }
}

/// Writes an Event on the policy and the target of an action.
pub(crate) fn write(action: &HealingAction, text: &EventText, reporter: &Reporter) {
    let namespace = action.namespace().unwrap_or_default();
    let policy = ObjectReference {
        api_version: Some(HealingPolicy::api_version(&()).into_owned()),
        kind: Some(action.spec.policy.kind.as_str().to_owned()),
        name: Some(action.spec.policy.name.clone()),
        namespace: Some(namespace.clone()),
        uid: Some(action.spec.policy.uid.clone()),
        ..ObjectReference::default()
    };
    let target = events::reference(&namespace, &object(&action.spec.target));
    reporter.events.write_both(text, &policy, &target);
}
