//! What happened to an action, in words: its conditions, Events and log lines.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_cluster::action::object;
use prunella_core::action::ActionScope;
use prunella_core::execute::{DENIED_WITHIN, EXECUTE_WITHIN, OutcomeReason, TRY_AGAIN, Transition};
use prunella_core::ledger::Outcome;
use prunella_core::target::Object;

use super::Reporter;
use super::events::{self, EventText};

/// The most characters of the API server's words that a message quotes.
const MAX_QUOTED: usize = 512;

/// What was seen around an action, for its messages only.
#[derive(Debug, Default)]
pub(crate) struct ActionFindings {
    /// The field manager, other than Prunella, that has written what the action changes since its start.
    pub(crate) changed_by: Option<String>,
    /// The object that controls the workload.
    pub(crate) controller: Option<Object>,
    /// When the removed pod must have ended. `None`: it has ended.
    pub(crate) terminating_until: Option<Timestamp>,
    /// Whether the workload is scaled to zero.
    pub(crate) scaled_to_zero: bool,
    /// Whether a container of the workload's pods has no readiness probe.
    pub(crate) without_readiness_probe: bool,
    /// Whether a rollout of the workload makes progress.
    pub(crate) rolls_out: bool,
    /// A new pod that is not Ready, and why.
    pub(crate) not_ready: Option<(Object, String)>,
}

impl ActionFindings {
    /// What else is to be known when the workload has its Ready pods again, as the end of a
    /// sentence.
    pub(crate) fn when_settled(&self, target: &Object) -> String {
        let ending = self.terminating_until.map(|until| format!("; {target} is still terminating until {until:.0}"));
        let probe = self.without_readiness_probe.then_some(WITHOUT_READINESS_PROBE);
        format!("{}{}", ending.unwrap_or_default(), probe.unwrap_or_default())
    }

    /// What else is to be known about the outcome, as the end of a sentence.
    pub(crate) fn at_the_end(&self, reason: OutcomeReason, target: &Object, subject: &Object) -> String {
        match reason {
            OutcomeReason::NotSettled | OutcomeReason::NotReady => {
                let ending = self.terminating_until.filter(|_| reason == OutcomeReason::NotSettled);
                let ending = ending.map(|until| {
                    format!("; {target} is still terminating until {until:.0}: look at its finalizers, its volumes and its node")
                });
                let cause = self.not_ready.as_ref().map(|(pod, why)| format!("; {pod} is not Ready: {why}"));
                let rollout = (self.rolls_out && reason == OutcomeReason::NotSettled).then(|| {
                    format!("; {subject} is still in a rollout: if somebody changes {subject} again and again, each change begins a new rollout")
                });
                format!("{}{}{}", ending.unwrap_or_default(), cause.unwrap_or_default(), rollout.unwrap_or_default())
            }
            OutcomeReason::StillBreached if self.without_readiness_probe => WITHOUT_READINESS_PROBE.to_owned(),
            OutcomeReason::ChangedByOthers => {
                let manager = self.changed_by.as_ref().map(|manager| format!("; field manager: {manager}"));
                let controller =
                    self.controller.as_ref().map(|controller| format!("; {controller} controls {subject}"));
                format!("{}{}", manager.unwrap_or_default(), controller.unwrap_or_default())
            }
            OutcomeReason::TargetGone if self.scaled_to_zero => format!("; {subject} is scaled to zero"),
            _ => String::new(),
        }
    }
}

const WITHOUT_READINESS_PROBE: &str =
    "; a container has no readiness probe, so its pods count as Ready as soon as they run";

/// Why an action waits: a disruption budget, in the API server's words.
pub(crate) fn waits_for_budget(words: &str) -> String {
    format!("{}. {}", tries_again(), quoted(words))
}

/// The words of the API server in [`waits_for_budget`].
pub(crate) fn words_of_budget(message: &str) -> Option<&str> {
    message.strip_prefix(&tries_again())?.strip_prefix(". ").filter(|words| !words.is_empty())
}

/// Why an action waits: the removed pod takes long to end.
pub(crate) fn ends_slowly(target: &Object, subject: &Object, until: Timestamp) -> String {
    format!(
        "{target} is terminating until {until:.0}: it ends after its grace period, or a finalizer, a volume or its node holds it; waiting until {subject} has its Ready pods without it; meanwhile the action does not count towards limits.maxConcurrent"
    )
}

/// Why an action waits, in short: a disruption budget.
pub(super) fn tries_again() -> String {
    format!(
        "a PodDisruptionBudget allows no eviction now; trying again every {TRY_AGAIN:#}, for at most {EXECUTE_WITHIN:#}"
    )
}

/// Why an action waits: the API server has too many requests, in its words.
pub(crate) fn throttled(words: &str) -> String {
    format!("{THROTTLED}; trying again every {TRY_AGAIN:#}, for at most {EXECUTE_WITHIN:#}. {}", quoted(words))
}

/// Why an action cannot go on: more than one disruption budget selects the pod.
pub(crate) fn several_budgets(pod: &Object, words: &str) -> String {
    format!(
        "more than one PodDisruptionBudget selects {pod}, and the API server evicts no such pod: leave one of them. {}",
        quoted(words)
    )
}

/// Why an action does not go on: an admission webhook or policy denied its request.
pub(crate) fn denied(request: &str, object: &Object, words: &str) -> String {
    let ends = if object.native_kind() == "Pod" {
        format!("; the action ends {DENIED_WITHIN:#} after the denial, or when somebody else removes the pod")
    } else {
        String::new()
    };
    format!(
        "an admission webhook or policy denied `{request}` on {object}, and it is not sent again{ends}. {}",
        quoted(words)
    )
}

/// What the API server answered to a request whose result is not known.
pub(crate) fn unclear(request: &str, words: &str) -> String {
    format!(
        "{UNCLEAR}: the objects show whether `{request}` had an effect, and it is sent again if not. {}",
        quoted(words)
    )
}

/// Whether a message says that a result is not known.
pub(crate) fn is_unclear(message: &str) -> bool {
    message.starts_with(UNCLEAR)
}

const UNCLEAR: &str = "the API server answered with an error";
const THROTTLED: &str = "the API server has too many requests";

fn quoted(words: &str) -> String {
    words.chars().take(MAX_QUOTED).collect()
}

/// Why an action ended as it did. `earlier` is its message until then: the API server's own
/// words about a refusal are kept.
pub(crate) fn outcome_after(outcome: Outcome, reason: OutcomeReason, scope: ActionScope, earlier: &str) -> String {
    let why = self::outcome(reason, scope);
    let words = earlier.split_once(". ").map(|(_, words)| words).filter(|words| !words.is_empty());
    match (reason, words) {
        (OutcomeReason::Forbidden, _) if !earlier.is_empty() => earlier.to_owned(),
        (OutcomeReason::SeveralDisruptionBudgets, Some(_)) => earlier.to_owned(),
        (OutcomeReason::BlockedByDisruptionBudget, Some(words)) if earlier.starts_with(&tries_again()) => {
            format!("{why}: {words}")
        }
        (OutcomeReason::NotExecuted, Some(words)) if is_unclear(earlier) || earlier.starts_with(THROTTLED) => {
            format!("{why}; the API server said: {words}")
        }
        (OutcomeReason::Denied, words) => {
            let then = match outcome {
                Outcome::Inconclusive => "; afterwards somebody else removed the pod",
                _ if scope.is_workload() => "",
                _ => "; nobody else had removed the pod by then",
            };
            words.map_or_else(|| format!("{why}{then}"), |words| format!("{why}{then}: {words}"))
        }
        _ => why,
    }
}

/// Why an action ends: the API server forbids its write.
pub(crate) fn forbidden(request: &str, object: &Object, words: &str) -> String {
    let words = quoted(words);
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
            "the policy is suspended, the annotation prunella.dev/hold on a namespace stops new actions, or a watch of the API server is silent"
        }
        OutcomeReason::ModeChanged => "the policy's mode is no longer Enforce",
        OutcomeReason::Storm => "a storm started, and this action is not its probe",
        OutcomeReason::StartByPassed => "its evidence became too old before it could start (spec.startBy)",
        OutcomeReason::TargetGone => "the target or its workload is gone, being deleted, or scaled to zero",
        OutcomeReason::TargetBusy => "an earlier action on the target or its owner is in flight",
        OutcomeReason::TooFewAvailable => "too few pods of the workload would stay Ready (limits.minAvailable)",
        OutcomeReason::NotSelected => "the policy's selector no longer selects the target",
        OutcomeReason::OptedOut => {
            "the target, its owner or its namespace opts out of healing, or the pod's owner now asks not to evict it"
        }
        OutcomeReason::NotHealable => "the target can no longer be healed",
        OutcomeReason::BlockedByDisruptionBudget => "a PodDisruptionBudget allowed no eviction for 10 minutes",
        OutcomeReason::SeveralDisruptionBudgets => {
            "more than one PodDisruptionBudget selects the pod, and the API server evicts no such pod: leave one of them"
        }
        OutcomeReason::Forbidden => "the API server forbids the request: the controller lacks the right",
        OutcomeReason::Denied => "an admission webhook or policy denied the request, and it was not sent again",
        OutcomeReason::NotExecuted => {
            "the change was not made within 10 minutes after the start: every request failed, or the action had to wait, for example for a hold or an opt-out"
        }
        OutcomeReason::NotSettled => {
            "the pods of the workload were not Ready in time (status.settleBy); if they need longer, set steps[].verify.readyWithin"
        }
        OutcomeReason::ChangedByOthers => "another client changed the same field; its value is kept",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_names_its_cause() {
        let (pod, web) = (Object::known("Pod", "web-1", "uid"), Object::known("Deployment", "web", "uid-web"));
        let new = Object::known("Pod", "web-2", "uid-2");
        let findings = ActionFindings {
            changed_by: Some("argocd-controller".into()),
            controller: Some(Object::known("StoreCluster", "store", "uid-store")),
            terminating_until: Some("2026-11-21T10:00:00Z".parse().unwrap()),
            scaled_to_zero: true,
            without_readiness_probe: true,
            rolls_out: true,
            not_ready: Some((new, "CrashLoopBackOff: exit code 1 (container app)".into())),
        };
        for (reason, parts) in [
            (
                OutcomeReason::NotSettled,
                vec![
                    "Pod/web-1 is still terminating until 2026-11-21T10:00:00Z",
                    "Pod/web-2 is not Ready: CrashLoopBackOff: exit code 1",
                    "Deployment/web is still in a rollout",
                ],
            ),
            (OutcomeReason::NotReady, vec!["Pod/web-2 is not Ready: CrashLoopBackOff: exit code 1"]),
            (OutcomeReason::StillBreached, vec!["no readiness probe"]),
            (
                OutcomeReason::ChangedByOthers,
                vec!["field manager: argocd-controller", "StoreCluster/store controls Deployment/web"],
            ),
            (OutcomeReason::TargetGone, vec!["Deployment/web is scaled to zero"]),
            (OutcomeReason::Cleared, vec![]),
        ] {
            let said = findings.at_the_end(reason, &pod, &web);
            assert!(parts.iter().all(|part| said.contains(part)), "{reason:?}: {said}");
            assert_eq!(said.is_empty(), parts.is_empty(), "{said}");
            assert_eq!(ActionFindings::default().at_the_end(reason, &pod, &web), "");
        }
        assert!(findings.when_settled(&pod).contains("Pod/web-1 is still terminating until 2026-11-21T10:00:00Z"));
    }

    #[test]
    fn an_outcome_keeps_the_words_of_the_api_server() {
        let pod = Object::known("Pod", "web-1", "uid");
        let request = "create pods/eviction";
        for (outcome, reason, earlier, parts) in [
            (
                Outcome::Expired,
                OutcomeReason::BlockedByDisruptionBudget,
                waits_for_budget("The disruption budget web needs 2 healthy pods and has 2 currently"),
                vec!["allowed no eviction", "needs 2 healthy pods"],
            ),
            (
                Outcome::Expired,
                OutcomeReason::SeveralDisruptionBudgets,
                several_budgets(&pod, "This pod has more than one PodDisruptionBudget"),
                vec!["Pod/web-1", "leave one of them", "This pod has more than one"],
            ),
            (
                Outcome::Expired,
                OutcomeReason::NotExecuted,
                throttled("please try again later"),
                vec!["not made within 10 minutes", "please try again later"],
            ),
            (
                Outcome::Failed,
                OutcomeReason::NotExecuted,
                unclear(request, "etcdserver: leader changed"),
                vec!["not made within 10 minutes", "etcdserver: leader changed"],
            ),
            (
                Outcome::Inconclusive,
                OutcomeReason::Denied,
                denied(request, &pod, "admission webhook \"drain\" denied the request: later"),
                vec!["not sent again", "afterwards somebody else removed the pod", "denied the request: later"],
            ),
            (
                Outcome::Failed,
                OutcomeReason::Denied,
                denied(request, &pod, "admission webhook \"drain\" denied the request: no"),
                vec!["nobody else had removed the pod by then", "denied the request: no"],
            ),
            (
                Outcome::Failed,
                OutcomeReason::Forbidden,
                forbidden(request, &pod, "User cannot"),
                vec!["User cannot", "grant the right"],
            ),
            // Something else ended it.
            (
                Outcome::Inconclusive,
                OutcomeReason::PolicyGone,
                throttled("please try again later"),
                vec!["the policy was deleted"],
            ),
        ] {
            let said = outcome_after(outcome, reason, ActionScope::Replacement, &earlier);
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
            assert!(said.chars().count() < 1024, "{said}");
        }
    }
}
