//! The API server's clock: the one clock that all replicas and all records share.
//!
//! # Contract
//! - It is learned from the `Date` header of the API server's answers ([`Observing`]
//!   around both clients) and carried forward by the monotonic clock. What this
//!   machine's wall clock says, or when it is set, makes no difference.
//! - It is at most one second, the latency of one answer and a thousandth of the
//!   anchor's age behind the server's clock, and ahead of it by that last part only.
//! - It runs backwards only when the server's own clock was set back by a second or more.
//! - Without an answer in the last [`ANCHOR_AGE`] it is still told, but nothing may be
//!   done on it: ask [`Clock::is_anchored`].

mod estimate;
mod layer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::DATE;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tracing::{info, warn};

use estimate::{Answer, Estimate, Learned};
pub(crate) use layer::Observing;

/// How old the newest answer may be for anything to be done on this clock.
pub(crate) const ANCHOR_AGE: Duration = Duration::from_mins(1);

/// How far this machine's wall clock may be off before somebody should hear of it.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// The API server's clock. Copies tell the same time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    started: Instant,
    estimate: Arc<Mutex<Estimate>>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), estimate: Arc::default() }
    }

    /// The present, by the API server's clock. Before its first answer: by this
    /// machine's, which is good for a log line and nothing else.
    pub(crate) fn now(&self) -> Timestamp {
        // The instant is taken under the lock: two callers cannot see an earlier and a
        // later estimate with their instants in the other order.
        let estimate = self.estimate();
        estimate.at(self.started.elapsed()).unwrap_or_else(Timestamp::now)
    }

    /// Whether the server's clock was confirmed within the last [`ANCHOR_AGE`].
    pub(crate) fn is_anchored(&self) -> bool {
        let estimate = self.estimate();
        estimate.age(self.started.elapsed()).is_some_and(|age| age <= ANCHOR_AGE)
    }

    /// Learns from the header of an answer to a request that was sent at `asked`.
    fn learn(&self, asked: Instant, headers: &HeaderMap) {
        let Some(second) = headers.get(DATE).and_then(|date| whole_second(date.as_bytes())) else { return };
        let mut estimate = self.estimate();
        let answered = self.started.elapsed();
        let asked = asked.saturating_duration_since(self.started);
        match estimate.learn(Answer { asked, answered, second }) {
            Learned::Refined | Learned::Doubted => {}
            Learned::Anchored => {
                let off = estimate
                    .at(answered)
                    .map_or(Duration::ZERO, |server| Timestamp::now().duration_since(server).unsigned_abs());
                if off > WORTH_TELLING {
                    info!(?off, "this machine's clock is not the API server's, which is the one that counts");
                }
            }
            Learned::Stepped { by } => warn!(%by, "the API server's clock was set"),
        }
    }

    // No operation under the lock can stop half-way.
    fn estimate(&self) -> MutexGuard<'_, Estimate> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The second since 1970 that a `Date` header names; `None` if it is not a date.
fn whole_second(date: &[u8]) -> Option<i64> {
    DateTimeParser::new().parse_timestamp(date).ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read_as_the_standard_writes_it() {
        assert_eq!(whole_second(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(whole_second(b"yesterday"), None);
        assert_eq!(whole_second(b""), None);
    }

    #[test]
    fn without_an_answer_nothing_may_be_done() {
        assert!(!Clock::new().is_anchored());
    }

    #[test]
    fn the_server_is_believed_whatever_the_wall_clock_says() {
        let clock = Clock::new();
        let mut headers = HeaderMap::new();
        headers.insert(DATE, http::HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        clock.learn(Instant::now(), &headers);
        assert!(clock.is_anchored());
        let since = clock.now().duration_since(Timestamp::UNIX_EPOCH).as_secs();
        assert!((784_111_777..784_111_779).contains(&since));
    }
}
