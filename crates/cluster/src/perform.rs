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
    /// The API server has too many requests. It certainly had no effect.
    Throttled,
    /// The object is gone or another one, or has another value than the one to change. It
    /// certainly had no effect.
    NotAsExpected,
    /// The controller lacks the right, or an admission policy refused, in the API server's
    /// words. It certainly had no effect.
    Forbidden(String),
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
        Err(ClusterError::Kube(kube::Error::Api(status)))
            if matches!(effect, Effect::EvictPod { .. }) && budget(&status).is_some() =>
        {
            Performed::RefusedByBudget(budget(&status).unwrap_or_default())
        }
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.code == TOO_MANY_REQUESTS => Performed::Throttled,
        Err(ClusterError::Kube(kube::Error::Api(status)))
            if status.is_not_found() || status.is_conflict() || status.code == UNPROCESSABLE =>
        {
            Performed::NotAsExpected
        }
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_forbidden() => {
            Performed::Forbidden(status.message.clone())
        }
        Err(error) => Performed::Unclear(error),
    }
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
}
