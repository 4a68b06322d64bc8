//! Progress lines on standard output. Each line has the time since the start.

use std::time::Instant;

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    started: Instant,
}

impl Console {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Prints one line.
    pub(crate) fn print(&self, line: &str) {
        println!("[{:>6.1} s] {line}", self.started.elapsed().as_secs_f64());
    }
}
