//! Stages on the terminal, each with its time.

use std::future::Future;
use std::time::Instant;

/// Prints stages as they end.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    begun: Instant,
}

impl Progress {
    /// Starts the clock.
    #[must_use]
    pub fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    /// Runs a stage and prints its name and time when it is done.
    ///
    /// # Errors
    /// Those of the stage; nothing is printed then, the caller prints it.
    pub async fn stage<T, E>(&self, name: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let start = Instant::now();
        let done = work.await?;
        self.say(&format!("{name:<42} {:>6.1} s", start.elapsed().as_secs_f64()));
        Ok(done)
    }

    /// Prints a line with the time since the start.
    pub fn say(&self, line: &str) {
        eprintln!("[{:>6.1} s] {line}", self.begun.elapsed().as_secs_f64());
    }

    /// Seconds since the start.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}
