//! Computes the server's time from its answers: a pure state machine. Instants are durations
//! on this process's monotonic clock.
//!
//! An answer has a whole second `s`. The request was sent at `a`, and the answer arrived at
//! `b`. So the server's clock was in `[s, s + 1)` at some instant in `[a, b]`, and the offset
//! between the two clocks is in `[s - b, s + 1 - a)`. A slow answer gives wide bounds, never
//! wrong ones. The bounds of several answers together are far narrower than a second. They
//! widen with time, because no two clocks run equally fast.
//!
//! The estimate is the **lower** bound: it may lag behind the server by the width of the
//! bounds, it is never ahead, and a new answer only moves it forward. The middle would be
//! closer on average, but it would move backwards whenever the upper bound does.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The two clocks may drift apart by one part in this number: NTP slews a clock by at most
/// 500 millionths, and it may slew both.
const DRIFT: i128 = 1000;

/// After so many answers that agree with each other but not with the estimate, the server's
/// clock was set. A single one may come from another server behind the same address.
const STEP: u8 = 3;

const SECOND: i128 = 1_000_000_000;

/// The time in one answer of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeSample {
    /// When the request was sent.
    pub(super) asked: Duration,
    /// When the head of the answer arrived.
    pub(super) answered: Duration,
    /// The second since 1970 in the answer.
    pub(super) second: i64,
}

/// The effect of an answer on the estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    /// It was the first answer.
    Anchored,
    /// It agrees with the earlier answers.
    Refined,
    /// It disagrees with the earlier answers, and there are not enough such answers yet.
    Doubted,
    /// Several answers show that the server's clock was set.
    Stepped {
        /// The difference. Positive: forwards.
        by: SignedDuration,
    },
}

/// What the answers show about the server's clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Estimate {
    bounds: Option<Bounds>,
    /// The bounds of the answers that contradict `bounds`, and their number.
    rival: Option<(Bounds, u8)>,
    /// No time before this is returned, in nanoseconds since 1970.
    floor: Option<i128>,
}

/// The server's clock minus the monotonic clock, in nanoseconds: in `[low, high)`, at `at`.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    low: i128,
    high: i128,
    at: Duration,
}

impl Estimate {
    /// The server's time; `None` before the first answer.
    pub(super) fn at(&self, now: Duration) -> Option<Timestamp> {
        self.nanoseconds(now).and_then(|time| Timestamp::from_nanosecond(time).ok())
    }

    /// The age of the newest answer that agrees with the estimate; `None` before the first.
    pub(super) fn age(&self, now: Duration) -> Option<Duration> {
        self.bounds.map(|bounds| now.saturating_sub(bounds.at))
    }

    /// Updates the estimate from one answer.
    pub(super) fn learn(&mut self, sample: TimeSample) -> Learned {
        let new = Bounds::from(sample);
        let Some(bounds) = self.bounds else {
            self.bounds = Some(new);
            return Learned::Anchored;
        };
        let rival = self.rival.and_then(|(rival, count)| Some((rival.meet(new)?, count)));
        if let Some(met) = bounds.meet(new) {
            self.bounds = Some(met);
            // The answer may come from a server whose clock was not set, so the rival stays.
            self.rival = rival;
            return Learned::Refined;
        }
        let (rival, count) = rival.map_or((new, 1), |(rival, count)| (rival, count + 1));
        if count < STEP {
            self.rival = Some((rival, count));
            return Learned::Doubted;
        }
        Learned::Stepped { by: self.step(rival, sample.answered) }
    }

    /// Replaces the bounds with the rival bounds.
    fn step(&mut self, rival: Bounds, now: Duration) -> SignedDuration {
        let before = self.nanoseconds(now);
        self.bounds = Some(rival);
        self.rival = None;
        self.floor = None;
        let by = match (before, self.nanoseconds(now)) {
            (Some(before), Some(after)) => after - before,
            _ => 0,
        };
        if (-SECOND..0).contains(&by) {
            // Less than a second may be the width of the bounds: the clock stands still
            // instead of going backwards.
            self.floor = before;
        }
        let seconds = i64::try_from(by / SECOND).unwrap_or(if by < 0 { i64::MIN } else { i64::MAX });
        SignedDuration::new(seconds, i32::try_from(by % SECOND).unwrap_or_default())
    }

    fn nanoseconds(&self, now: Duration) -> Option<i128> {
        let time = self.bounds?.widened(now).low + nanoseconds(now);
        Some(self.floor.map_or(time, |floor| floor.max(time)))
    }
}

impl Bounds {
    /// The bounds at `now`, widened by the drift since `at`.
    fn widened(self, now: Duration) -> Self {
        let at = now.max(self.at);
        let drift = nanoseconds(at.saturating_sub(self.at)) / DRIFT;
        Self { low: self.low - drift, high: self.high + drift, at }
    }

    /// The bounds that both allow, at the later of the two instants. `None`: they contradict each
    /// other.
    fn meet(self, later: Self) -> Option<Self> {
        let now = self.at.max(later.at);
        let (one, other) = (self.widened(now), later.widened(now));
        let (low, high) = (one.low.max(other.low), one.high.min(other.high));
        (low < high).then_some(Self { low, high, at: now })
    }
}

impl From<TimeSample> for Bounds {
    fn from(TimeSample { asked, answered, second }: TimeSample) -> Self {
        let (asked, at) = (asked.min(answered), answered);
        let second = i128::from(second) * SECOND;
        let drift = nanoseconds(at.saturating_sub(asked)) / DRIFT;
        Self { low: second - nanoseconds(at) - drift, high: second + SECOND - nanoseconds(asked) + drift, at }
    }
}

fn nanoseconds(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
