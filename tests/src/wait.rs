//! Waiting for what is to come, and watching that something stays.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

/// For what must come sooner or later, on a machine that is slow and shared.
pub const PATIENCE: Duration = Duration::from_mins(2);

const POLL: Duration = Duration::from_millis(200);

/// Looks again and again until it is so, and gives what was seen then. The look's
/// error says what was seen instead.
///
/// # Errors
/// When it is not so within the time: what was waited for, and the last look's error.
pub async fn eventually<T>(within: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut seen: Option<Error> = None;
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if Instant::now() < deadline => seen = Some(error),
            Ok(Err(error)) => return Err(given_up(within, what, &error)),
            Err(_) => {
                let last = seen.unwrap_or_else(|| anyhow!("nothing, for the first look did not end"));
                return Err(given_up(within, what, &last));
            }
        }
        sleep(POLL).await;
    }
}

fn given_up(within: Duration, what: &str, seen: &Error) -> Error {
    anyhow!("waited {within:?} for {what}; last seen: {seen:#}")
}

/// Looks again and again for the whole time; every look must find it so.
///
/// # Errors
/// The first look's error that finds it otherwise, with the time it took to come.
pub async fn steadily(length: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    loop {
        look().await.with_context(|| format!("{what} lasted {:.1?} of {length:?}", begun.elapsed()))?;
        if begun.elapsed() >= length {
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
    async fn what_was_seen_last_is_in_the_failure() {
        let mut looks = 0;
        let waited = eventually::<()>(Duration::from_millis(500), "rain", async || {
            looks += 1;
            bail!("sun, look {looks}")
        });
        let message = waited.await.unwrap_err().to_string();
        // How many looks there were depends on the machine; the last one is told.
        assert_eq!(message, format!("waited 500ms for rain; last seen: sun, look {looks}"));
    }

    #[tokio::test]
    async fn a_look_that_does_not_end_is_given_up() {
        let waited = eventually::<()>(Duration::from_millis(50), "rain", async || std::future::pending().await);
        let message = waited.await.unwrap_err().to_string();
        assert_eq!(message, "waited 50ms for rain; last seen: nothing, for the first look did not end");
    }

    #[tokio::test]
    async fn what_does_not_last_is_seen() {
        let mut looks = 0;
        let watched = steadily(Duration::from_secs(30), "sun", async || {
            looks += 1;
            anyhow::ensure!(looks < 3, "rain");
            Ok(())
        });
        assert!(format!("{:#}", watched.await.unwrap_err()).ends_with("of 30s: rain"));
    }
}
