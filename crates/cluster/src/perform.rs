//! One effect, one request, and what came of it. The client that is given here must not
//! retry by itself: the result of a lost answer is read from the world.

use kube::Client;
use kube::core::Status;
use prunella_core::execute::Effect;
use prunella_core::target::Object;

use crate::ClusterError;
use crate::action::{Destination, send};

/// The API server's answer when a disruption budget allows no eviction, or when it has too many
/// requests.
const TOO_MANY_REQUESTS: u16 = 429;
/// The cause that it names if it was a disruption budget.
const DISRUPTION_BUDGET_CAUSE: &str = "DisruptionBudget";
/// A part of its answer when more than one disruption budget selects a pod. The code is 500.
const SEVERAL_BUDGETS: &str = "more than one PodDisruptionBudget";
/// The first code of an error of the server.
const SERVER_ERROR: u16 = 500;
/// Its answer when a test in a JSON patch fails.
const UNPROCESSABLE: u16 = 422;

/// What came of an effect.
#[derive(Debug)]
pub enum Performed {
    /// The API server accepted it.
    Accepted,
    /// A `PodDisruptionBudget` allows no eviction now, in the API server's words, which name the
    /// budget and its numbers. It certainly had no effect.
    RefusedByBudget(String),
    /// More than one `PodDisruptionBudget` selects the pod, in the API server's words. It
    /// certainly had no effect.
    SeveralBudgets(String),
    /// The API server has too many requests, in its words. It certainly had no effect.
    Throttled(String),
    /// The object is gone or another one, or has another value than the one to change. It
    /// certainly had no effect.
    NotAsExpected,
    /// The controller lacks the right, in the API server's words. It certainly had no effect.
    Forbidden(String),
    /// An admission webhook or policy denied it, in its words. It certainly had no effect, but a
    /// webhook may have told the owner of the pod to remove it.
    Denied(String),
    /// The API server refused it for another reason, or the answer was lost: read the world.
    Unclear(ClusterError),
}

/// Executes one effect with one request. A workload or an autoscaler changes only while it
/// has the `version` that the change was decided on. So a request that arrives late, after
/// another was sent in its place, changes nothing.
pub async fn perform(
    client: &Client,
    namespace: &str,
    target: &Object,
    subject: &Object,
    effect: &Effect,
    version: Option<&str>,
) -> Performed {
    match send(Destination { client, namespace, version }, target, subject, effect).await {
        Ok(()) => Performed::Accepted,
        Err(ClusterError::Kube(kube::Error::Api(status))) => {
            let is_eviction = matches!(effect, Effect::EvictPod { .. });
            refusal(&status, is_eviction).unwrap_or(Performed::Unclear(kube::Error::Api(status).into()))
        }
        Err(error) => Performed::Unclear(error),
    }
}

/// What the API server's answer says about the effect. `None`: nothing.
///
/// Admission is checked first: a webhook chooses its code freely, and a `ValidatingAdmissionPolicy`
/// denies with 422, which otherwise means that a test in a patch failed.
fn refusal(status: &Status, is_eviction: bool) -> Option<Performed> {
    let words = || status.message.clone();
    if is_denied(&status.message) {
        Some(Performed::Denied(words()))
    } else if let Some(budget) = budget(status).filter(|_| is_eviction) {
        Some(Performed::RefusedByBudget(budget))
    } else if is_eviction && status.code >= SERVER_ERROR && status.message.contains(SEVERAL_BUDGETS) {
        Some(Performed::SeveralBudgets(words()))
    } else if status.code == TOO_MANY_REQUESTS {
        Some(Performed::Throttled(words()))
    } else if status.is_not_found() || status.is_conflict() || status.code == UNPROCESSABLE {
        Some(Performed::NotAsExpected)
    } else {
        status.is_forbidden().then(|| Performed::Forbidden(words()))
    }
}

/// Whether an admission webhook or a `ValidatingAdmissionPolicy` has denied a request. Only the text
/// says so.
fn is_denied(message: &str) -> bool {
    (message.contains("admission webhook \"") && message.contains("denied the request"))
        || (message.contains("ValidatingAdmissionPolicy '") && message.contains("denied request"))
}

/// What a disruption budget said, if it was a budget that refused. The API server also answers
/// 429 when it has too many requests; then nothing is known of the eviction.
fn budget(status: &Status) -> Option<String> {
    if status.code != TOO_MANY_REQUESTS {
        return None;
    }
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    causes.iter().find(|cause| cause.reason == DISRUPTION_BUDGET_CAUSE).map(|cause| cause.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_disruption_budget_counts_as_one() {
        let status = |code: u16, reason: &str| -> Status {
            let cause = json!({"reason": reason, "message": "The disruption budget web needs 2 healthy pods and has 2 currently"});
            serde_json::from_value(json!({
                "status": "Failure", "message": "Cannot evict pod", "reason": "TooManyRequests",
                "details": {"causes": [cause]}, "code": code,
            }))
            .unwrap()
        };
        let words = budget(&status(429, "DisruptionBudget")).unwrap();
        assert!(words.contains("needs 2 healthy pods"), "{words}");
        assert_eq!(budget(&status(429, "Throttled")), None);
        assert_eq!(budget(&status(403, "DisruptionBudget")), None);
    }

    #[test]
    fn each_answer_to_an_eviction_is_told_apart() {
        let status = |code: u16, reason: &str, message: &str| -> Status {
            serde_json::from_value(json!({"status": "Failure", "message": message, "reason": reason, "code": code}))
                .unwrap()
        };
        let told = |answer: &Status, is_eviction| match refusal(answer, is_eviction) {
            Some(Performed::Denied(words)) => format!("denied: {words}"),
            Some(other) => format!("{other:?}"),
            None => "unclear".to_owned(),
        };
        let webhook =
            "admission webhook \"drain.strimzi.io\" denied the request: the pod will be restarted by the operator";
        for code in [400, 403, 404, 409, 422, 429, 500] {
            let answer = status(code, "", webhook);
            assert_eq!(told(&answer, true), format!("denied: {webhook}"), "{code}");
        }
        let policy = "pods \"web\" is forbidden: ValidatingAdmissionPolicy 'quiet' with binding 'quiet' denied request: not at night";
        assert_eq!(told(&status(422, "Invalid", policy), false), format!("denied: {policy}"));
        let two = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        assert!(told(&status(500, "InternalError", two), true).starts_with("SeveralBudgets"));
        for (code, reason, message, expected) in [
            (429, "TooManyRequests", "Too many requests, please try again later.", "Throttled"),
            (
                403,
                "Forbidden",
                "pods \"web\" is forbidden: User \"x\" cannot create resource \"pods/eviction\"",
                "Forbidden",
            ),
            (409, "Conflict", "the UID in the precondition does not match", "NotAsExpected"),
            (422, "Invalid", "the test operation failed", "NotAsExpected"),
            (500, "InternalError", "failed calling webhook \"x\": connection refused", "unclear"),
            (503, "ServiceUnavailable", "etcdserver: leader changed", "unclear"),
        ] {
            let told = told(&status(code, reason, message), true);
            assert!(told.starts_with(expected), "{code} {message}: {told}");
        }
    }
}
