//! Where in its life the service is: starting, up or draining.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) struct Lifecycle {
    up_at: Instant,
    draining: AtomicBool,
}

impl Lifecycle {
    /// `startup` is how long the service pretends to be starting.
    pub(crate) fn begin(now: Instant, startup: Duration) -> Self {
        Self { up_at: now + startup, draining: AtomicBool::new(false) }
    }

    pub(crate) fn has_started(&self, now: Instant) -> bool {
        now >= self.up_at
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
