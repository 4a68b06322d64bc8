//! Arithmetic on times. Sums saturate: an overflow must neither panic nor let an action
//! start early.

use jiff::{SignedDuration, Timestamp};

/// `start + by`, clamped to the representable range.
#[must_use]
pub fn after(start: Timestamp, by: SignedDuration) -> Timestamp {
    start.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// `start - by`, clamped to the representable range.
#[must_use]
pub fn before(start: Timestamp, by: SignedDuration) -> Timestamp {
    start.checked_sub(by).unwrap_or(if by.is_negative() { Timestamp::MAX } else { Timestamp::MIN })
}

/// The instant in whole seconds, which is the precision of the Kubernetes API.
#[must_use]
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The time from `start` to `end`. Negative if `start` is after `end`.
#[must_use]
pub fn elapsed(start: Timestamp, end: Timestamp) -> SignedDuration {
    end.duration_since(start)
}

/// `duration × factor`, saturating.
#[must_use]
pub fn times(duration: SignedDuration, factor: i32) -> SignedDuration {
    duration.checked_mul(factor).unwrap_or(SignedDuration::MAX)
}

/// A time over which a state was observed without interruption.
///
/// Only time between two observations counts. A gap without evaluations, or without an
/// answer of the source, does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it started, moved forward by every gap that does not count.
    pub since: Timestamp,
    /// The newest observation.
    pub last: Timestamp,
}

impl Span {
    /// A span that starts with the observation at `at`.
    #[must_use]
    pub fn start(at: Timestamp) -> Self {
        Self { since: at, last: at }
    }

    /// The span after one more observation at `at`.
    ///
    /// - `at` is not after the newest observation: it is the same one, nothing changes.
    /// - More than `longest_gap` has passed since the newest one: the span starts again.
    /// - `frozen`, the source had no usable answer in between: the gap does not count.
    #[must_use]
    pub fn seen(self, at: Timestamp, longest_gap: SignedDuration, frozen: bool) -> Self {
        let gap = elapsed(self.last, at);
        if !gap.is_positive() {
            self
        } else if gap > longest_gap {
            Self::start(at)
        } else if frozen {
            Self { since: after(self.since, gap), last: at }
        } else {
            Self { since: self.since, last: at }
        }
    }

    /// How long the state was observed.
    #[must_use]
    pub fn held(self) -> SignedDuration {
        elapsed(self.since, self.last)
    }
}
