//! The API server's clock. All replicas and all records use this clock.
//!
//! # Contract
//! - The time comes from the `Date` header of the API server's answers ([`Observing`] wraps
//!   both clients). Between answers, this machine's monotonic clock carries it forward. This
//!   machine's wall clock has no influence.
//! - The clock lags behind the server's clock by at most one second, plus the latency of one
//!   answer, plus a thousandth of the time since the newest answer. It is ahead by at most
//!   that thousandth.
//! - It goes backwards only when the server's clock was set back by a second or more.
//! - Without an answer in the last [`ANCHOR_AGE`], the clock still returns a time, but nothing
//!   may be changed: check [`Clock::is_anchored`].

mod estimate;
mod layer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use http::HeaderMap;
use http::header::DATE;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tracing::{info, warn};

use estimate::{Estimate, Learned, TimeSample};
pub(crate) use layer::Observing;

/// The highest age of the newest answer with which the controller may still change anything.
pub(crate) const ANCHOR_AGE: Duration = Duration::from_mins(1);

/// From this difference on, a wrong wall clock of this machine is logged.
const LOGGED_DIFFERENCE: Duration = Duration::from_secs(2);

/// The API server's clock. All copies return the same time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    started: Instant,
    estimate: Arc<Mutex<Estimate>>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), estimate: Arc::default() }
    }

    /// The present, by the API server's clock. Before the first answer: by this machine's
    /// clock, which must only be used in log lines.
    pub(crate) fn now(&self) -> Timestamp {
        // The instant is read under the lock. Otherwise a later estimate could be combined
        // with an earlier instant.
        let estimate = self.estimate();
        estimate.at(self.started.elapsed()).unwrap_or_else(Timestamp::now)
    }

    /// Whether the server's clock was confirmed within the last [`ANCHOR_AGE`].
    pub(crate) fn is_anchored(&self) -> bool {
        let estimate = self.estimate();
        estimate.age(self.started.elapsed()).is_some_and(|age| age <= ANCHOR_AGE)
    }

    /// Updates the estimate from the headers of an answer to a request that was sent at `asked`.
    fn learn(&self, asked: Instant, headers: &HeaderMap) {
        let Some(second) = headers.get(DATE).and_then(|date| whole_second(date.as_bytes())) else { return };
        let mut estimate = self.estimate();
        let answered = self.started.elapsed();
        let asked = asked.saturating_duration_since(self.started);
        match estimate.learn(TimeSample { asked, answered, second }) {
            Learned::Refined | Learned::Doubted => {}
            Learned::Anchored => {
                let difference = estimate
                    .at(answered)
                    .map_or(Duration::ZERO, |server| Timestamp::now().duration_since(server).unsigned_abs());
                if difference > LOGGED_DIFFERENCE {
                    info!(
                        ?difference,
                        "this machine's clock differs from the API server's clock, which the controller uses"
                    );
                }
            }
            Learned::Stepped { by } => warn!(%by, "the API server's clock was changed"),
        }
    }

    // No operation under the lock can stop halfway.
    fn estimate(&self) -> MutexGuard<'_, Estimate> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The second since 1970 in a `Date` header. `None`: it is not a date.
fn whole_second(date: &[u8]) -> Option<i64> {
    DateTimeParser::new().parse_timestamp(date).ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_is_parsed() {
        assert_eq!(whole_second(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(whole_second(b"yesterday"), None);
        assert_eq!(whole_second(b""), None);
    }

    #[test]
    fn a_clock_without_an_answer_is_not_anchored() {
        assert!(!Clock::new().is_anchored());
    }

    #[test]
    fn the_servers_time_is_used_and_not_the_wall_clock() {
        let clock = Clock::new();
        let mut headers = HeaderMap::new();
        headers.insert(DATE, http::HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        clock.learn(Instant::now(), &headers);
        assert!(clock.is_anchored());
        let since = clock.now().duration_since(Timestamp::UNIX_EPOCH).as_secs();
        assert!((784_111_777..784_111_779).contains(&since));
    }
}
