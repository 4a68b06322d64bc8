//! One effect, one request, and what came of it. The client that is given here must not
//! retry by itself: the result of a lost answer is read from the world.

use kube::Client;
use prunella_core::execute::Effect;
use prunella_core::target::Object;

use crate::ClusterError;
use crate::action::{Destination, send};

/// The API server's answer when a disruption budget allows no eviction.
const TOO_MANY_REQUESTS: u16 = 429;
/// Its answer when a test in a JSON patch fails.
const UNPROCESSABLE: u16 = 422;

/// What came of an effect.
#[derive(Debug)]
pub enum Performed {
    /// The API server accepted it.
    Accepted,
    /// A `PodDisruptionBudget` allows no eviction now. It certainly had no effect.
    RefusedByBudget,
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
            if status.code == TOO_MANY_REQUESTS && matches!(effect, Effect::EvictPod { .. }) =>
        {
            Performed::RefusedByBudget
        }
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
