//! What goes to standard output: lines, each with the time since the start.

use std::time::Instant;

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    begun: Instant,
}

impl Console {
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    /// One line.
    pub(crate) fn say(&self, line: &str) {
        println!("[{:>6.1} s] {line}", self.begun.elapsed().as_secs_f64());
    }
}
