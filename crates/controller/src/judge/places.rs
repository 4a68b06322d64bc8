//! Where in its interval a condition is looked at: soon after its samples are new, for what
//! is looked at just before them is seen a whole interval late. Until that is known, and
//! where no place is better than others, by a digest of what is asked.
//!
//! At one place alone a thousand policies would look at the same instant; at any place,
//! each of them wakes controller and source from sleep on its own, which costs more CPU
//! than the look. So there are a few, and who asks the same has the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use prunella_core::observation::Series;
use prunella_signals::query::AGE;

use super::compile::digest;
use super::joint::Company;
use super::observe::Newest;

/// How many places there are in an interval.
const PLACES: u8 = 8;
/// How finely the ages of samples are told: in so many parts of an interval.
pub(super) const PARTS: u32 = 64;
/// After how many intervals the ages are asked for again: scrapes move when pods do.
const ASKED_EVERY: u32 = 20;
/// After how many when nothing was learned: who is just deployed is not scraped yet.
const ASKED_AGAIN: u32 = 2;
/// How long after its scrape began a sample may take to be there, an eighth of the interval
/// at most. Whoever looks too early sees it an interval late.
const SCRAPE: Duration = Duration::from_secs(3);
/// How much sooner, in parts of an interval, another place must see the samples.
const WORTH_MOVING: f64 = 1.0 / 8.0;

/// The places of all conditions.
#[derive(Debug, Default)]
pub(crate) struct Places {
    by_condition: Mutex<HashMap<u64, Weak<Place>>>,
}

impl Places {
    /// The place of those that ask `query` of `source` every `interval`.
    pub(super) fn of(&self, source: &str, query: &str, interval: SignedDuration) -> Arc<Place> {
        let asked = digest(&(source, query, interval.as_millis()));
        let asked = u64::from_str_radix(&asked, 16).unwrap_or_default();
        // Nothing can be half done under the lock.
        let mut by_condition = self.by_condition.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = by_condition.get(&asked).and_then(Weak::upgrade) {
            return place;
        }
        if by_condition.len() == by_condition.capacity() {
            by_condition.retain(|_, place| place.strong_count() > 0);
        }
        let place = Arc::new(Place::new(asked, interval));
        by_condition.insert(asked, Arc::downgrade(&place));
        place
    }
}

/// The place of one condition.
#[derive(Debug)]
pub(crate) struct Place {
    interval: SignedDuration,
    state: Mutex<State>,
    /// What was asked there last.
    pub(super) newest: Newest,
    /// Whether that is asked together with other conditions.
    pub(super) company: Arc<Company>,
}

#[derive(Debug)]
struct State {
    place: u8,
    /// The same as a time: read at every look, and told by a division.
    phase: SignedDuration,
    /// When the ages are to be asked for; `None`: at once.
    due: Option<Instant>,
}

impl Place {
    fn new(asked: u64, interval: SignedDuration) -> Self {
        let place = u8::try_from(asked % u64::from(PLACES)).unwrap_or_default();
        let state = Mutex::new(State { place, phase: phase(interval, place), due: None });
        Self { interval, state, newest: Newest::default(), company: Arc::default() }
    }

    /// As a time, less than the interval.
    pub(super) fn phase(&self) -> SignedDuration {
        self.state().phase
    }

    /// Whether several policies ask the same there.
    pub(super) fn is_shared(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }

    /// Whether it is time to ask for the ages of the samples. Who is told so does.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let mut state = self.state();
        let is_due = state.due.is_none_or(|due| now >= due);
        if is_due {
            state.due = Some(now + self.intervals(ASKED_AGAIN));
        }
        is_due
    }

    fn intervals(&self, count: u32) -> Duration {
        Duration::try_from(self.interval).unwrap_or_default().saturating_mul(count)
    }

    /// Goes where samples are seen sooner, by their `ages` at `at`, which is `now`. Says whether
    /// it went.
    pub(super) fn learn(&self, at: Timestamp, ages: &[Series], now: Instant) -> bool {
        let nanos = self.interval.as_nanos().max(1);
        let fraction = |nanos_of: i128| ratio(nanos_of, nanos);
        let at = fraction(at.as_nanosecond().rem_euclid(nanos));
        let scrape = fraction(i128::try_from(SCRAPE.as_nanos()).unwrap_or(0)).min(1.0 / f64::from(PLACES));
        let seen = ages.iter().filter_map(|one| Some((part(one)?, one.value)));
        // From the middle of the part that the age is told in to when the sample was there.
        let there: Vec<(f64, f64)> =
            seen.map(|(part, count)| (at - (part + 0.5) / f64::from(PARTS) + scrape, count)).collect();
        if there.is_empty() {
            return false;
        }
        let mut state = self.state();
        state.due = Some(now + self.intervals(ASKED_EVERY));
        let best = best(state.place, &there);
        let moved = best != state.place;
        state.place = best;
        state.phase = phase(self.interval, best);
        moved
    }

    // Nothing can be half done under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn phase(interval: SignedDuration, place: u8) -> SignedDuration {
    interval * i32::from(place) / i32::from(PLACES)
}

#[expect(clippy::cast_precision_loss, reason = "a place in an interval, to a few digits")]
fn ratio(part: i128, of: i128) -> f64 {
    part as f64 / of as f64
}

fn part(one: &Series) -> Option<f64> {
    let part: f64 = one.labels.get(AGE)?.parse().ok()?;
    (0.0..f64::from(PARTS)).contains(&part).then_some(part)
}

/// The place that sees soonest, on average, what is `there` from a point of the interval
/// on, each with how often that is so; `now`, unless another is better by far.
fn best(now: u8, there: &[(f64, f64)]) -> u8 {
    let delay = |place: u8| -> f64 {
        let place = f64::from(place) / f64::from(PLACES);
        let all: f64 = there.iter().map(|(_, count)| count).sum();
        there.iter().map(|(from, count)| (place - from).rem_euclid(1.0) * count).sum::<f64>() / all
    };
    let best = (0..PLACES).min_by(|a, b| delay(*a).total_cmp(&delay(*b))).unwrap_or(now);
    // Without any sample the delays are no numbers, and nothing is better than they.
    if delay(now) - delay(best) >= WORTH_MOVING { best } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: SignedDuration = SignedDuration::from_secs(10);

    fn place(place: u8) -> Place {
        Place::new(u64::from(place), INTERVAL)
    }

    /// The answer of a source at `at` whose samples are of these ages, in seconds.
    fn ages(of: &[f64]) -> Vec<Series> {
        let part = |age: &f64| (age / 10.0 * f64::from(PARTS)).floor();
        let series = |age| Series { labels: [(AGE.to_owned(), part(age).to_string())].into(), value: 1.0 };
        of.iter().map(series).collect()
    }

    fn learns(place: &Place, at: f64, ages: &[Series]) -> bool {
        place.learn(second(at), ages, Instant::now())
    }

    fn second(at: f64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs_f64(1_800_000_000.0 + at)
    }

    #[test]
    fn who_asks_the_same_has_the_same_place_and_the_others_are_spread() {
        let places = Places::default();
        let one = places.of("main", "up > 5", INTERVAL);
        assert!(Arc::ptr_eq(&one, &places.of("main", "up > 5", INTERVAL)));
        assert!(!Arc::ptr_eq(&one, &places.of("main", "up > 5", INTERVAL * 2)));
        let phases: Vec<SignedDuration> =
            (0..300).map(|bound| places.of("main", &format!("up > {bound}"), INTERVAL).phase()).collect();
        for number in 0..PLACES {
            let there = phases.iter().filter(|phase| **phase == place(number).phase()).count();
            assert!((20..60).contains(&there), "{there} of 300 at place {number}");
        }
    }

    #[test]
    fn a_place_that_nobody_has_any_more_is_not_kept() {
        let places = Places::default();
        for number in 0..10_000 {
            drop(places.of("main", &format!("up > {number}"), INTERVAL));
        }
        assert!(places.by_condition.lock().unwrap().len() < 100);
    }

    #[test]
    fn looks_come_soon_after_the_scrape_whenever_that_was_learned() {
        // Scraped at 3.0, 13.0, 23.0 and so on, there an eighth later: the next place is 5.
        for (now, age) in [(4.0, 1.0), (12.9, 9.9), (8.5, 5.5), (3.2, 0.2)] {
            let place = place(0);
            assert!(learns(&place, now, &ages(&[age])), "{now}");
            assert_eq!(place.phase(), SignedDuration::from_secs(5), "{now}");
            assert!(!learns(&place, 5.1, &ages(&[2.1])), "it stays there");
        }
    }

    #[test]
    fn most_of_the_samples_count_and_where_they_are_spread_nobody_moves() {
        let mostly = place(0);
        learns(&mostly, 5.0, &ages(&[2.0, 2.0, 2.0, 4.9]));
        assert_eq!(mostly.phase(), SignedDuration::from_secs(5));
        let spread: Vec<f64> = (0..20).map(|number| f64::from(number) / 2.0).collect();
        for number in 0..PLACES {
            assert!(!learns(&place(number), 5.0, &ages(&spread)));
        }
    }

    #[test]
    fn an_answer_that_says_nothing_moves_nobody() {
        let place = place(5);
        assert!(!learns(&place, 5.0, &[]));
        let other = |age: &str, value| Series { labels: [(AGE.to_owned(), age.to_owned())].into(), value };
        for odd in [other("-3", 1.0), other("64", 1.0), other("young", 1.0), other("7", f64::NAN)] {
            assert!(!learns(&place, 5.0, std::slice::from_ref(&odd)), "{odd:?}");
        }
    }

    #[test]
    fn the_ages_are_asked_for_until_they_are_known_and_then_seldom() {
        let place = place(0);
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert!(place.is_due(begun));
        assert!(!place.is_due(begun), "one asks for all");
        place.learn(second(5.0), &[], begun);
        assert!(!place.is_due(after(19)));
        assert!(place.is_due(after(20)), "nothing was learned");
        place.learn(second(5.0), &ages(&[2.0]), after(20));
        assert!(!place.is_due(after(219)));
        assert!(place.is_due(after(220)));
    }
}
