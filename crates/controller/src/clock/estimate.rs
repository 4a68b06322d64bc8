//! From answers to the server's time: a pure state machine. Instants are durations
//! on this process's monotonic clock.
//!
//! An answer that names the second `s`, asked at `a` and here at `b`, says that the
//! server's clock was in `[s, s + 1)` at some instant in `[a, b]`. So the offset between
//! the two clocks is in `[s - b, s + 1 - a)`: a slow answer makes a wide bound, never a
//! wrong one. The bounds of all answers together are far tighter than a second. They
//! widen with time, for no two clocks run equally fast.
//!
//! The time told is that of the **lower** bound: it may lag behind the server's by the
//! width, is never ahead, and new answers only ever move it forward. The middle would
//! be nearer on average, but it would move backwards whenever the upper bound does.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The two clocks may drift apart by one part in this: NTP slews by at most 500
/// millionths, and both ends may do so.
const DRIFT: i128 = 1000;

/// How many answers that agree with each other but not with the estimate it takes to
/// believe that the server's clock was set. One could be a stray, of another
/// server behind the same address.
const STEP: u8 = 3;

const SECOND: i128 = 1_000_000_000;

/// One answer of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// When the request was sent.
    pub(super) asked: Duration,
    /// When the answer's head was here.
    pub(super) answered: Duration,
    /// The second since 1970 that it names.
    pub(super) second: i64,
}

/// What an answer was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    /// It was the first.
    Anchored,
    /// It agrees with those before.
    Refined,
    /// It does not; too little to go by yet.
    Doubted,
    /// With others it shows that the server's clock was set, by this much.
    Stepped {
        /// Forwards if positive.
        by: SignedDuration,
    },
}

/// What is known of the server's clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Estimate {
    bounds: Option<Bounds>,
    /// What the answers say that contradict the bounds, and how many there were.
    rival: Option<(Bounds, u8)>,
    /// No earlier time is told any more, in nanoseconds since 1970.
    floor: Option<i128>,
}

/// The server's clock minus the monotonic one, in nanoseconds: in `[low, high)`, as of `at`.
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

    /// How long ago the newest answer came that agrees; `None` before the first.
    pub(super) fn age(&self, now: Duration) -> Option<Duration> {
        self.bounds.map(|bounds| now.saturating_sub(bounds.at))
    }

    /// Takes an answer in.
    pub(super) fn learn(&mut self, answer: Answer) -> Learned {
        let heard = Bounds::from(answer);
        let Some(bounds) = self.bounds else {
            self.bounds = Some(heard);
            return Learned::Anchored;
        };
        let rival = self.rival.and_then(|(rival, count)| Some((rival.meet(heard)?, count)));
        if let Some(met) = bounds.meet(heard) {
            self.bounds = Some(met);
            // Most likely it came from a server whose clock was not set.
            self.rival = rival;
            return Learned::Refined;
        }
        let (rival, count) = rival.map_or((heard, 1), |(rival, count)| (rival, count + 1));
        if count < STEP {
            self.rival = Some((rival, count));
            return Learned::Doubted;
        }
        Learned::Stepped { by: self.step(rival, answer.answered) }
    }

    /// Goes over to the rival bounds.
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
            // That little may be what the bounds did not yet tell: better to stand still.
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
    /// The same, as far as they still hold at `now`.
    fn widened(self, now: Duration) -> Self {
        let at = now.max(self.at);
        let drift = nanoseconds(at.saturating_sub(self.at)) / DRIFT;
        Self { low: self.low - drift, high: self.high + drift, at }
    }

    /// What both allow, as of the later; `None` when they contradict each other.
    fn meet(self, later: Self) -> Option<Self> {
        let now = self.at.max(later.at);
        let (one, other) = (self.widened(now), later.widened(now));
        let (low, high) = (one.low.max(other.low), one.high.min(other.high));
        (low < high).then_some(Self { low, high, at: now })
    }
}

impl From<Answer> for Bounds {
    fn from(Answer { asked, answered, second }: Answer) -> Self {
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
