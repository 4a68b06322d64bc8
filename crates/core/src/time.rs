//! Time as a value. Sums saturate instead of failing: an overflow of nine
//! thousand years must not be a way to panic or to act early.

use jiff::{SignedDuration, Timestamp};

/// `start + by`, at most the last representable instant.
#[must_use]
pub fn after(start: Timestamp, by: SignedDuration) -> Timestamp {
    start.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

/// `start - by`, at least the first representable instant.
#[must_use]
pub fn before(start: Timestamp, by: SignedDuration) -> Timestamp {
    start.checked_sub(by).unwrap_or(if by.is_negative() { Timestamp::MAX } else { Timestamp::MIN })
}

/// The instant cut to whole seconds: all that the Kubernetes API keeps of a time.
#[must_use]
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// How long `start` was before `end`; negative when it lies after it.
#[must_use]
pub fn elapsed(start: Timestamp, end: Timestamp) -> SignedDuration {
    end.duration_since(start)
}

/// `duration × factor`, saturating.
#[must_use]
pub fn times(duration: SignedDuration, factor: i32) -> SignedDuration {
    duration.checked_mul(factor).unwrap_or(SignedDuration::MAX)
}

/// An unbroken stretch over which something was seen to hold.
///
/// It has length only between two sightings: a gap in which nobody looked, or
/// in which the source had no answer, is never part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it began, moved forward by every gap that does not count.
    pub since: Timestamp,
    /// The newest sighting.
    pub last: Timestamp,
}

impl Span {
    /// A stretch that begins with the sighting `at`.
    #[must_use]
    pub fn start(at: Timestamp) -> Self {
        Self { since: at, last: at }
    }

    /// The stretch after one more sighting `at`.
    ///
    /// - `at` not after the newest sighting: the same observation again, nothing changes.
    /// - more than `longest_gap` since the newest: nobody knows what was in between; it starts again.
    /// - `frozen` (the source had no usable answer in between): the gap is taken out.
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

    /// How long it was seen to hold.
    #[must_use]
    pub fn held(self) -> SignedDuration {
        elapsed(self.since, self.last)
    }
}
