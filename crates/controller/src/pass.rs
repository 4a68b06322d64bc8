//! One pass of a reconciler, fenced off: a panic in it is told and counted, and all
//! other objects go on.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::runtime::controller::Action as Requeue;
use tracing::error;

use crate::metrics::Metrics;

/// How soon an object whose pass panicked is looked at again.
const AGAIN: Duration = Duration::from_mins(1);

/// Runs one pass of the reconciler `name` to its end, whatever the end.
///
/// What is shared between passes is replaced as a whole or guarded by locks that do
/// not mind a panic, so that none can leave it half-written.
pub(crate) async fn fenced(
    name: &'static str,
    metrics: Arc<Metrics>,
    pass: impl Future<Output = Result<Requeue, Infallible>>,
) -> Result<Requeue, Infallible> {
    AssertUnwindSafe(pass).catch_unwind().await.unwrap_or_else(|_| {
        metrics.failed(name);
        error!(controller = name, "a pass panicked: this is a bug, please report it with the lines above; going on");
        Ok(Requeue::requeue(AGAIN))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_one_pass_is_counted_and_ends_there() {
        let metrics = Arc::new(Metrics::new());
        let panics = async { if true { panic!("boom") } else { Ok(Requeue::await_change()) } };
        let ended = fenced("policy", Arc::clone(&metrics), panics).await;
        assert_eq!(ended, Ok(Requeue::requeue(AGAIN)));
        let told = metrics.render().unwrap();
        assert!(told.contains("prunella_reconcile_errors_total{controller=\"policy\"} 1"), "{told}");
    }
}
