//! Isolates one pass of a reconciler: a panic in it is logged and counted, and the reconciler
//! continues with all other objects.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::runtime::controller::Action as Requeue;
use tracing::error;

use crate::report::metrics::Metrics;

/// When an object whose pass panicked is reconciled again.
const RETRY_AFTER: Duration = Duration::from_mins(1);

/// Runs one pass of the reconciler `name`. A panic becomes a retry.
///
/// A pass replaces shared values as a whole, and the locks around them ignore poisoning. So a
/// panic leaves no value half-written.
pub(crate) async fn isolated(
    name: &'static str,
    metrics: Arc<Metrics>,
    pass: impl Future<Output = Result<Requeue, Infallible>>,
) -> Result<Requeue, Infallible> {
    AssertUnwindSafe(pass).catch_unwind().await.unwrap_or_else(|_| {
        metrics.failed(name);
        error!(
            controller = name,
            "a pass panicked; other objects are not affected; this is a bug: please report it with the log lines above"
        );
        Ok(Requeue::requeue(RETRY_AFTER))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_pass_is_counted_and_the_object_is_retried() {
        let metrics = Arc::new(Metrics::new());
        let panics = async { if true { panic!("boom") } else { Ok(Requeue::await_change()) } };
        let ended = isolated("policy", Arc::clone(&metrics), panics).await;
        assert_eq!(ended, Ok(Requeue::requeue(RETRY_AFTER)));
        let exposed = metrics.render().unwrap();
        assert!(exposed.contains("prunella_reconcile_errors_total{controller=\"policy\"} 1"), "{exposed}");
    }
}
