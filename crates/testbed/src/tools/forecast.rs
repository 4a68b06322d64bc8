//! How long the builds will take: what they took where they were measured, and
//! how this machine has kept to that so far.

use std::collections::VecDeque;
use std::time::Duration;

/// On how many cores the times of the families were measured.
const MEASURED_ON: f64 = 2.0;

/// What is still to be built.
pub(super) struct Forecast {
    /// For each family the time it should take; the first is being built.
    left: VecDeque<Duration>,
    /// What was foreseen for the families that are built, and what they took.
    foreseen: Duration,
    took: Duration,
}

impl Forecast {
    /// Of families with these seconds on two cores, built one after another.
    pub(super) fn of(seconds: impl Iterator<Item = u32>, cores: usize) -> Self {
        let share = MEASURED_ON / f64::from(u32::try_from(cores.max(1)).unwrap_or(u32::MAX));
        let left = seconds.map(|seconds| Duration::from_secs(seconds.into()).mul_f64(share)).collect();
        Self { left, foreseen: Duration::ZERO, took: Duration::ZERO }
    }

    /// The first of those that were left is built.
    pub(super) fn done(&mut self, took: Duration) {
        self.foreseen += self.left.pop_front().unwrap_or_default();
        self.took += took;
    }

    /// What is left in all, when the first has been going on for this long.
    pub(super) fn left(&self, so_far: Duration) -> Duration {
        let Some(first) = self.left.front() else { return Duration::ZERO };
        let kept = if self.foreseen.is_zero() { 1.0 } else { self.took.div_duration_f64(self.foreseen) };
        // One that has overrun its time says how slow the machine is.
        let pace = kept.max(so_far.div_duration_f64(*first));
        self.left.iter().sum::<Duration>().mul_f64(pace).saturating_sub(so_far)
    }
}

/// A time in words, in minutes.
pub(super) fn about(time: Duration) -> String {
    match (time.as_secs() + 30) / 60 {
        0 => "less than 1 min".into(),
        minutes => format!("about {minutes} min"),
    }
}

/// "a, b and c".
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn more_cores_take_less_time() {
        assert_eq!(Forecast::of([300, 60].into_iter(), 2).left(seconds(0)), seconds(360));
        assert_eq!(Forecast::of([300, 60].into_iter(), 8).left(seconds(0)), seconds(90));
    }

    #[test]
    fn what_is_done_is_no_longer_left() {
        let mut forecast = Forecast::of([300, 60].into_iter(), 2);
        assert_eq!(forecast.left(seconds(100)), seconds(260));
        forecast.done(seconds(300));
        assert_eq!(forecast.left(seconds(10)), seconds(50));
        forecast.done(seconds(60));
        assert_eq!(forecast.left(seconds(0)), seconds(0));
    }

    #[test]
    fn a_slow_machine_stays_slow() {
        let mut forecast = Forecast::of([300, 60].into_iter(), 2);
        assert_eq!(forecast.left(seconds(600)), seconds(120), "twice the time so far, twice the time for the rest");
        forecast.done(seconds(600));
        assert_eq!(forecast.left(seconds(0)), seconds(120));
    }

    #[test]
    fn times_and_lists_are_words() {
        assert_eq!(about(seconds(20)), "less than 1 min");
        assert_eq!(about(seconds(340)), "about 6 min");
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
    }
}
