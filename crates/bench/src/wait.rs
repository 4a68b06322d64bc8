//! Waiting for conditions, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long anything may take that is not itself measured.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

const POLL: Duration = Duration::from_millis(250);

/// Tries until it succeeds.
///
/// # Errors
/// The last failure, when the time is over.
pub(crate) async fn eventually<T>(patience: Duration, what: &str, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("waited {patience:?} in vain for {what}"));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
