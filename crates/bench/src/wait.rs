//! Waits for a condition. Nothing here waits for a fixed time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The time limit of anything that is not measured itself.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

const POLL: Duration = Duration::from_millis(250);

/// Repeats `attempt` until it succeeds.
///
/// # Errors
/// The last failure, if `patience` is over.
pub(crate) async fn eventually<T>(patience: Duration, what: &str, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("waited {} s for {what}", patience.as_secs()));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
