//! The hands: who may be healed, how things stand right now, and the writes to
//! workloads. The only crate that changes other people's objects.
//!
//! - [`cache`]: slim copies of watched objects; a raw pod takes fifty times the memory.
//! - `pod`: a pod as the judgement knows it; what pods have in common is kept once (`pool`).
//! - [`workloads`]: what decisions read of workloads and their autoscalers.
//! - [`targets`]: selector → targets, from the caches.
//! - [`marks`]: the annotations that hold healing back.
//! - [`live`]: one target and its workload, read from the API server.
//! - [`perform`]: one effect, one request, and what came of it.

pub mod cache;
pub mod live;
pub mod marks;
pub mod perform;
mod pod;
mod pool;
pub mod rollout;
pub mod targets;
mod workloads;

/// Why nothing can be said of the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No answer in time.
    #[error("the API server gave no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// The API server's refusal, or a broken connection.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// The API server lists what is in flight, and leaves this out, which was a moment ago: it
    /// is over by now, or the list is not to be relied on.
    #[error("the list of the actions in flight lacks {0}")]
    NotListed(String),
    /// The selector is not one.
    #[error("cannot parse the selector: {0}")]
    Selector(#[from] kube::core::ParseExpressionError),
    /// A record asks for what cannot be done to this kind of workload.
    #[error("there is no such action on a {0}")]
    NoSuchAction(String),
}

/// Waits for one request to the API server, but not for ever: the client itself
/// has no read timeout.
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
