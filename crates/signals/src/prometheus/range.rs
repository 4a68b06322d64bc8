//! The instants of a range query: from a start in equal steps to an end.

use std::time::Duration;

use jiff::Timestamp;

/// The most steps of one range. Prometheus refuses more than 11 000 points a series.
const MAX_STEPS: u128 = 10_000;

/// At least a millisecond long, in whole milliseconds: finer is no source's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    since: Timestamp,
    until: Timestamp,
    /// In milliseconds; never zero.
    step: u128,
}

impl Range {
    /// From `since` to `until` every `step`, or at longer steps where they would be
    /// too many, or at shorter ones where there would be none. `None` when the
    /// range is empty.
    pub(super) fn new(since: Timestamp, until: Timestamp, step: Duration) -> Option<Self> {
        let (since, until) = (whole_millis(since)?, whole_millis(until)?);
        if since >= until {
            return None;
        }
        let span = until.duration_since(since).unsigned_abs().as_millis();
        Some(Self { since, until, step: step.as_millis().clamp(span.div_ceil(MAX_STEPS), span) })
    }

    /// The fields that a range query has and an instant query has not.
    pub(super) fn fields(&self) -> [(&'static str, String); 3] {
        let Self { since, until, step } = self;
        [("start", since.to_string()), ("end", until.to_string()), ("step", format!("{step}ms"))]
    }

    /// Whether `at` was asked about. `VictoriaMetrics` moves both ends outwards to
    /// multiples of the step.
    pub(super) fn contains(&self, at: Timestamp) -> bool {
        (self.since..=self.until).contains(&at)
    }
}

fn whole_millis(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(at.as_millisecond()).ok()
}
