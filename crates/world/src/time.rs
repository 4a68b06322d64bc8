//! The clock of the world: it starts at a fixed time, and goes as tokio's clock goes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The clock of the world. All copies show the same time.
#[derive(Debug, Clone, Copy)]
pub struct WorldClock {
    epoch: Timestamp,
    started: Instant,
}

impl WorldClock {
    /// A clock that shows `epoch` now.
    #[must_use]
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self { epoch, started: Instant::now() }
    }

    /// When the world began.
    #[must_use]
    pub fn epoch(&self) -> Timestamp {
        self.epoch
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(self.started.elapsed())
    }

    /// How long the world exists.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The instant at which this clock shows `time`.
    #[must_use]
    pub fn instant(&self, time: Timestamp) -> Instant {
        self.started + Duration::try_from(time.duration_since(self.epoch)).unwrap_or_default()
    }

    fn at(&self, since: Duration) -> Timestamp {
        let since = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
        self.epoch.checked_add(since).unwrap_or(Timestamp::MAX)
    }
}
