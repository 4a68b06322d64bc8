//! The steps of a range query: equal steps from a start to an end.

use std::time::Duration;

use jiff::Timestamp;

/// The limit of steps in one range. Prometheus refuses more than 11 000 points per series.
const MAX_STEPS: u128 = 10_000;

/// A range of at least 1 ms, in whole milliseconds: no source has a finer clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    since: Timestamp,
    until: Timestamp,
    /// In milliseconds, never zero.
    step: u128,
}

impl Range {
    /// The range from `since` to `until` with a step every `step`. The step is longer if
    /// there would be too many, and shorter if there would be none. `None` if the range
    /// is empty.
    pub(super) fn new(since: Timestamp, until: Timestamp, step: Duration) -> Option<Self> {
        let (since, until) = (whole_millis(since)?, whole_millis(until)?);
        if since >= until {
            return None;
        }
        let span = until.duration_since(since).unsigned_abs().as_millis();
        Some(Self { since, until, step: step.as_millis().clamp(span.div_ceil(MAX_STEPS), span) })
    }

    /// The form fields that only a range query has.
    pub(super) fn fields(&self) -> [(&'static str, String); 3] {
        let Self { since, until, step } = self;
        [("start", since.to_string()), ("end", until.to_string()), ("step", format!("{step}ms"))]
    }

    /// Whether `at` lies in the range. `VictoriaMetrics` extends both ends to multiples of
    /// the step, so an answer can contain other times.
    pub(super) fn contains(&self, at: Timestamp) -> bool {
        (self.since..=self.until).contains(&at)
    }
}

fn whole_millis(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(at.as_millisecond()).ok()
}
