//! Reads objects from the cluster and executes actions. The only crate that changes objects
//! of other owners.
//!
//! - [`action`]: the kinds of actions: record format and request.
//! - [`cache`]: reduced copies of watched objects. A whole pod takes fifty times the memory.
//! - `managers`: which field manager has written a field.
//! - `owner`: what the owner of a pod does with it.
//! - `pod`: a reduced pod. Pods of a workload share equal values (`pool`).
//! - `trouble`: why a pod is not Ready.
//! - `workloads`: reduced workloads and autoscalers.
//! - `restartable`: whether a restart of a workload would happen, as far as the workload tells.
//! - [`rollout`]: whether a workload is in a rollout, and when that last made progress.
//! - [`targets`]: selector → targets, from the caches.
//! - [`marks`]: the annotations that stop healing.
//! - `startup`: how long startup probes let a pod take to start.
//! - [`stop`]: holds and opt-outs, read right before an effect.
//! - [`live`]: one target and its workload, read from the API server.
//! - [`perform`]: executes one effect with one request.

pub mod action;
pub mod cache;
pub mod live;
mod managers;
pub mod marks;
mod owner;
pub mod perform;
mod pod;
mod pool;
mod restartable;
pub mod rollout;
mod startup;
pub mod stop;
pub mod targets;
mod trouble;
mod workloads;

/// Why a request to the API server gave no usable result.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No answer in time.
    #[error("the API server gave no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// The API server refused the request, or the connection broke.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// The API server's list of the actions in flight lacks this action, which was in flight a
    /// moment ago. Either the action has finished, or the list is not reliable.
    #[error("the list of the actions in flight lacks {0}")]
    NotListed(String),
    /// The selector is invalid.
    #[error("cannot parse the selector: {0}")]
    Selector(#[from] kube::core::ParseExpressionError),
    /// A record asks for an action that this kind of workload does not have.
    #[error("there is no such action on a {0}")]
    NoSuchAction(String),
}

/// Waits for one request to the API server, at most for `deadline`. The client itself has no
/// read timeout.
///
/// # Errors
/// The request's own error, or [`ClusterError::Timeout`].
pub async fn within<T>(
    deadline: std::time::Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(deadline, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ClusterError::Timeout(deadline)),
    }
}

/// How long one request to the API server may take.
pub const REQUEST_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);
