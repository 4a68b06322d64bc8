//! When in its interval a condition is evaluated: in a slot soon after the samples are new. An
//! evaluation just before new samples would see them a whole interval late. Until the age of the
//! samples is known, or if no slot is much better than the others, a digest of the query chooses
//! the slot.
//!
//! There are a few slots. With one slot, a thousand policies would be evaluated at the same instant.
//! Without slots, each policy would wake the controller and the source at its own instant, which
//! costs more CPU than the evaluation. Policies with the same query have the same slot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

use jiff::{SignedDuration, Timestamp};
use prunella_core::observation::Series;
use prunella_signals::query::AGE;

use super::subscription::NewestAnswer;
use crate::compiled::digest;

/// The number of slots in an interval.
const SLOTS: u8 = 8;
/// The resolution of the ages of samples: parts of an interval.
pub(super) const PARTS: u32 = 64;
/// After how many intervals the ages are queried again, because scrape times change when pods move.
const LEARN_EVERY: u32 = 20;
/// How often the spacing of the samples is queried.
const SPACING_EVERY: Duration = Duration::from_mins(10);
/// After how many intervals the ages are queried again if there were none: pods that were just
/// deployed are not scraped yet.
const LEARN_AGAIN: u32 = 2;
/// How long after the start of its scrape a sample can be queried, but at most an eighth of the
/// interval. An evaluation before that sees the sample an interval late.
const SCRAPE_TAKES: Duration = Duration::from_secs(3);
/// By how much of an interval another slot must see the samples sooner.
const WORTH_MOVING: f64 = 1.0 / 8.0;

/// The slots of all conditions.
#[derive(Debug, Default)]
pub(crate) struct EvaluationSlots {
    by_condition: Mutex<HashMap<u64, Weak<EvaluationSlot>>>,
}

impl EvaluationSlots {
    /// The slot of the policies that query `source` with `query` every `interval`.
    pub(crate) fn of(&self, source: &str, query: &str, interval: SignedDuration) -> Arc<EvaluationSlot> {
        let condition = digest(&(source, query, interval.as_millis()));
        let condition = u64::from_str_radix(&condition, 16).unwrap_or_default();
        // No operation under the lock can stop halfway.
        let mut by_condition = self.by_condition.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = by_condition.get(&condition).and_then(Weak::upgrade) {
            return slot;
        }
        if by_condition.len() == by_condition.capacity() {
            by_condition.retain(|_, slot| slot.strong_count() > 0);
        }
        let slot = Arc::new(EvaluationSlot::new(condition, interval));
        by_condition.insert(condition, Arc::downgrade(&slot));
        slot
    }
}

/// The slot of one condition.
#[derive(Debug)]
pub(crate) struct EvaluationSlot {
    interval: SignedDuration,
    state: Mutex<SlotState>,
    /// The newest request in this slot.
    pub(super) newest: NewestAnswer,
}

#[derive(Debug)]
struct SlotState {
    slot: u8,
    /// The slot as a time in the interval. Stored, because every evaluation needs it.
    phase: SignedDuration,
    /// When the ages must be queried. `None`: now.
    due: Option<Instant>,
    /// How far apart the samples of a series usually are, if that is known.
    spacing: Option<Duration>,
    /// When it must be queried. `None`: now.
    spacing_due: Option<Instant>,
}

impl EvaluationSlot {
    fn new(condition: u64, interval: SignedDuration) -> Self {
        let slot = u8::try_from(condition % u64::from(SLOTS)).unwrap_or_default();
        let state =
            Mutex::new(SlotState { slot, phase: phase(interval, slot), due: None, spacing: None, spacing_due: None });
        Self { interval, state, newest: NewestAnswer::default() }
    }

    /// The slot as a time in the interval.
    pub(crate) fn phase(&self) -> SignedDuration {
        self.state().phase
    }

    /// Whether several policies have this query.
    pub(super) fn is_shared(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }

    /// Whether the ages of the samples must be queried now. If so, the caller must do it: other callers
    /// get `false`.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let mut state = self.state();
        let is_due = state.due.is_none_or(|due| now >= due);
        if is_due {
            state.due = Some(now + self.intervals(LEARN_AGAIN));
        }
        is_due
    }

    /// How far apart the samples of a series usually are. `None`: not known.
    pub(super) fn spacing(&self) -> Option<Duration> {
        self.state().spacing
    }

    /// Whether the spacing must be queried now. It changes seldom, and the query reads many samples.
    pub(super) fn is_spacing_due(&self, now: Instant) -> bool {
        let mut state = self.state();
        let is_due = state.spacing_due.is_none_or(|due| now >= due);
        if is_due {
            state.spacing_due = Some(now + SPACING_EVERY);
        }
        is_due
    }

    /// Learns from the number of samples that a series has in `window`.
    pub(super) fn learn_spacing(&self, window: Duration, samples: &[Series]) {
        let count = samples.first().map(|one| one.value).filter(|count| *count >= 1.0);
        self.state().spacing = count.map(|count| window.div_f64(count));
    }

    fn intervals(&self, count: u32) -> Duration {
        Duration::try_from(self.interval).unwrap_or_default().saturating_mul(count)
    }

    /// Moves to the slot that sees the samples soonest. `ages` are their ages at `at`; `now` is the same
    /// instant on the monotonic clock. Returns whether the slot has changed.
    pub(super) fn learn(&self, at: Timestamp, ages: &[Series], now: Instant) -> bool {
        let nanos = self.interval.as_nanos().max(1);
        let fraction = |nanos_of: i128| ratio(nanos_of, nanos);
        let at = fraction(at.as_nanosecond().rem_euclid(nanos));
        let scrape = fraction(i128::try_from(SCRAPE_TAKES.as_nanos()).unwrap_or(0)).min(1.0 / f64::from(SLOTS));
        let counted = ages.iter().filter_map(|one| Some((part(one)?, one.value)));
        // When in the interval each sample can be queried: the age counts from the middle of its part.
        let available: Vec<(f64, f64)> =
            counted.map(|(part, count)| (at - (part + 0.5) / f64::from(PARTS) + scrape, count)).collect();
        if available.is_empty() {
            return false;
        }
        let mut state = self.state();
        state.due = Some(now + self.intervals(LEARN_EVERY));
        let best = best(state.slot, &available);
        let moved = best != state.slot;
        state.slot = best;
        state.phase = phase(self.interval, best);
        moved
    }

    // No operation under the lock can stop halfway.
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn phase(interval: SignedDuration, slot: u8) -> SignedDuration {
    interval * i32::from(slot) / i32::from(SLOTS)
}

#[expect(clippy::cast_precision_loss, reason = "a slot in an interval, to a few digits")]
fn ratio(part: i128, of: i128) -> f64 {
    part as f64 / of as f64
}

/// The age of a sample, in parts of an interval.
fn part(one: &Series) -> Option<f64> {
    let part: f64 = one.labels.get(AGE)?.parse().ok()?;
    (0.0..f64::from(PARTS)).contains(&part).then_some(part)
}

/// The slot that sees the samples soonest on average. `available` has the points of the interval from
/// which on samples can be queried, and how many samples. The result is the `current` slot unless
/// another one is much better.
fn best(current: u8, available: &[(f64, f64)]) -> u8 {
    let delay = |slot: u8| -> f64 {
        let slot = f64::from(slot) / f64::from(SLOTS);
        let all: f64 = available.iter().map(|(_, count)| count).sum();
        available.iter().map(|(from, count)| (slot - from).rem_euclid(1.0) * count).sum::<f64>() / all
    };
    let best = (0..SLOTS).min_by(|a, b| delay(*a).total_cmp(&delay(*b))).unwrap_or(current);
    // Without samples the delays are NaN, and the comparison is false.
    if delay(current) - delay(best) >= WORTH_MOVING { best } else { current }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: SignedDuration = SignedDuration::from_secs(10);

    fn slot(slot: u8) -> EvaluationSlot {
        EvaluationSlot::new(u64::from(slot), INTERVAL)
    }

    #[test]
    fn the_spacing_follows_from_the_number_of_samples() {
        let minutes = Duration::from_mins(10);
        let slot = slot(3);
        let samples = |value| [Series { labels: [].into(), value }];
        assert_eq!(slot.spacing(), None);
        slot.learn_spacing(minutes, &samples(10.0));
        assert_eq!(slot.spacing(), Some(Duration::from_mins(1)));
        slot.learn_spacing(minutes, &[]);
        assert_eq!(slot.spacing(), None, "no series is old enough");
        let now = Instant::now();
        assert!(slot.is_spacing_due(now) && !slot.is_spacing_due(now));
    }

    /// The answer of a source whose samples have these ages, in seconds.
    fn ages(of: &[f64]) -> Vec<Series> {
        let part = |age: &f64| (age / 10.0 * f64::from(PARTS)).floor();
        let series = |age| Series { labels: [(AGE.to_owned(), part(age).to_string())].into(), value: 1.0 };
        of.iter().map(series).collect()
    }

    fn learns(slot: &EvaluationSlot, at: f64, ages: &[Series]) -> bool {
        slot.learn(second(at), ages, Instant::now())
    }

    fn second(at: f64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs_f64(1_800_000_000.0 + at)
    }

    #[test]
    fn policies_with_the_same_query_share_a_slot_and_the_others_are_spread() {
        let slots = EvaluationSlots::default();
        let one = slots.of("main", "up > 5", INTERVAL);
        assert!(Arc::ptr_eq(&one, &slots.of("main", "up > 5", INTERVAL)));
        assert!(!Arc::ptr_eq(&one, &slots.of("main", "up > 5", INTERVAL * 2)));
        let phases: Vec<SignedDuration> =
            (0..300).map(|bound| slots.of("main", &format!("up > {bound}"), INTERVAL).phase()).collect();
        for number in 0..SLOTS {
            let policies = phases.iter().filter(|phase| **phase == slot(number).phase()).count();
            assert!((20..60).contains(&policies), "{policies} of 300 in slot {number}");
        }
    }

    #[test]
    fn a_slot_without_a_policy_is_dropped() {
        let slots = EvaluationSlots::default();
        for number in 0..10_000 {
            drop(slots.of("main", &format!("up > {number}"), INTERVAL));
        }
        assert!(slots.by_condition.lock().unwrap().len() < 100);
    }

    #[test]
    fn evaluations_come_soon_after_the_scrape() {
        // Scraped at 3.0 s, 13.0 s, 23.0 s …, and available 1.25 s later: the next slot is at 5 s.
        for (now, age) in [(4.0, 1.0), (12.9, 9.9), (8.5, 5.5), (3.2, 0.2)] {
            let slot = slot(0);
            assert!(learns(&slot, now, &ages(&[age])), "{now}");
            assert_eq!(slot.phase(), SignedDuration::from_secs(5), "{now}");
            assert!(!learns(&slot, 5.1, &ages(&[2.1])), "the slot stays");
        }
    }

    #[test]
    fn the_slot_follows_most_samples_and_stays_if_they_are_spread() {
        let mostly = slot(0);
        learns(&mostly, 5.0, &ages(&[2.0, 2.0, 2.0, 4.9]));
        assert_eq!(mostly.phase(), SignedDuration::from_secs(5));
        let spread: Vec<f64> = (0..20).map(|number| f64::from(number) / 2.0).collect();
        for number in 0..SLOTS {
            assert!(!learns(&slot(number), 5.0, &ages(&spread)));
        }
    }

    #[test]
    fn an_answer_without_ages_moves_no_slot() {
        let slot = slot(5);
        assert!(!learns(&slot, 5.0, &[]));
        let other = |age: &str, value| Series { labels: [(AGE.to_owned(), age.to_owned())].into(), value };
        for odd in [other("-3", 1.0), other("64", 1.0), other("young", 1.0), other("7", f64::NAN)] {
            assert!(!learns(&slot, 5.0, std::slice::from_ref(&odd)), "{odd:?}");
        }
    }

    #[test]
    fn ages_are_queried_often_until_they_are_known_and_then_seldom() {
        let slot = slot(0);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(slot.is_due(start));
        assert!(!slot.is_due(start), "one policy asks for all");
        slot.learn(second(5.0), &[], start);
        assert!(!slot.is_due(after(19)));
        assert!(slot.is_due(after(20)), "nothing was learned");
        slot.learn(second(5.0), &ages(&[2.0]), after(20));
        assert!(!slot.is_due(after(219)));
        assert!(slot.is_due(after(220)));
    }
}
