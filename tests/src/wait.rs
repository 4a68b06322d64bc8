//! Waits until something is so, or checks that it stays so.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

/// The usual deadline, for a machine that is slow and shared.
pub const PATIENCE: Duration = Duration::from_mins(2);

const POLL: Duration = Duration::from_millis(200);

/// Repeats the check until it succeeds, and returns its value. The error of the check says what
/// was observed instead.
///
/// # Errors
/// When it does not succeed in time: what was expected, and the last error.
pub async fn eventually<T>(within: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut seen: Option<Error> = None;
    loop {
        match timeout_at(deadline, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if Instant::now() < deadline => seen = Some(error),
            Ok(Err(error)) => return Err(timed_out(within, what, &error)),
            Err(_) => {
                let last = seen.unwrap_or_else(|| anyhow!("nothing, because the first check did not end"));
                return Err(timed_out(within, what, &last));
            }
        }
        sleep(POLL).await;
    }
}

fn timed_out(within: Duration, what: &str, seen: &Error) -> Error {
    anyhow!("waited {within:?} for {what}; last seen: {seen:#}")
}

/// Repeats the check for the whole time. It must succeed every time.
///
/// # Errors
/// The first error of the check, with the time since the start.
pub async fn steadily(length: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    loop {
        check().await.with_context(|| format!("{what} lasted {:.1?} of {length:?}", started.elapsed()))?;
        if started.elapsed() >= length {
            return Ok(());
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[tokio::test]
    async fn the_error_says_what_was_seen_last() {
        let mut checks = 0;
        let waited = eventually::<()>(Duration::from_millis(500), "rain", async || {
            checks += 1;
            bail!("sun, check {checks}")
        });
        let message = waited.await.unwrap_err().to_string();
        // The number of checks depends on the machine.
        assert_eq!(message, format!("waited 500ms for rain; last seen: sun, check {checks}"));
    }

    #[tokio::test]
    async fn a_check_that_does_not_end_is_cancelled() {
        let waited = eventually::<()>(Duration::from_millis(50), "rain", async || std::future::pending().await);
        let message = waited.await.unwrap_err().to_string();
        assert_eq!(message, "waited 50ms for rain; last seen: nothing, because the first check did not end");
    }

    #[tokio::test]
    async fn a_change_during_the_time_is_an_error() {
        let mut checks = 0;
        let watched = steadily(Duration::from_secs(30), "sun", async || {
            checks += 1;
            anyhow::ensure!(checks < 3, "rain");
            Ok(())
        });
        assert!(format!("{:#}", watched.await.unwrap_err()).ends_with("of 30s: rain"));
    }
}
