//! What is simulated now: a value, asked with the time as an argument.
//!
//! Faults that only change answers need nothing but the board. Those that
//! use up memory, processor or the process itself have a worker beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::fault::{Fault, Kind, Order};

/// The faults on, at most one of each kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    faults: BTreeMap<Kind, Active>,
}

/// One fault that is on.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) order: Order,
    /// When it was asked, on the clock that outlives a restart.
    pub(crate) asked: SystemTime,
    /// When this process began to simulate it.
    pub(crate) began: Instant,
    pub(crate) ends: Option<Instant>,
    /// Bytes held by a memory leak.
    pub(crate) leaked: Arc<AtomicU64>,
    /// Requests counted out between those that are hit and those that are not.
    requests: Arc<AtomicU64>,
}

/// One fault as it is told in answers.
#[derive(Debug, Serialize)]
pub(crate) struct Told<'a> {
    #[serde(flatten)]
    order: &'a Order,
    running_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaked_bytes: Option<u64>,
}

impl Active {
    /// `None` when the duration has passed already, which for a sticky fault
    /// may happen while no process runs.
    pub(crate) fn begin(order: Order, asked: SystemTime, now: Instant, wall: SystemTime) -> Option<Self> {
        // A wall clock that was set back lengthens the fault by as much: of
        // the two mistakes the one that is seen.
        let passed = wall.duration_since(asked).unwrap_or(Duration::ZERO);
        let ends = match order.duration {
            None => None,
            Some(duration) => Some(now + duration.duration().checked_sub(passed).filter(|left| !left.is_zero())?),
        };
        Some(Self { order, asked, began: now, ends, leaked: Arc::default(), requests: Arc::default() })
    }

    fn is_on(&self, now: Instant) -> bool {
        let holds_memory = matches!(self.order.fault, Fault::MemoryLeak { .. });
        holds_memory || self.ends.is_none_or(|ends| now < ends)
    }

    fn tell(&self, now: Instant) -> Told<'_> {
        let seconds = |span: Duration| span.as_secs_f64();
        let leaks = matches!(self.order.fault, Fault::MemoryLeak { .. });
        Told {
            order: &self.order,
            running_seconds: seconds(now.saturating_duration_since(self.began)),
            remaining_seconds: self.ends.map(|ends| seconds(ends.saturating_duration_since(now))),
            leaked_bytes: leaks.then(|| self.leaked.load(Ordering::Relaxed)),
        }
    }

    fn count_out(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }
}

impl Board {
    /// This board with one more fault, in place of one of the same kind, and
    /// without those that are over.
    pub(crate) fn with(&self, active: Active, now: Instant) -> Self {
        let mut faults = self.faults.clone();
        faults.retain(|_, active| active.is_on(now));
        faults.insert(active.order.fault.kind(), active);
        Self { faults }
    }

    pub(crate) fn get(&self, kind: Kind, now: Instant) -> Option<&Active> {
        self.faults.get(&kind).filter(|active| active.is_on(now))
    }

    pub(crate) fn on(&self, now: Instant) -> impl Iterator<Item = &Active> {
        self.faults.values().filter(move |active| active.is_on(now))
    }

    pub(crate) fn tell(&self, now: Instant) -> Vec<Told<'_>> {
        self.on(now).map(|active| active.tell(now)).collect()
    }

    /// How much later the request at hand is to be answered. Counts it.
    pub(crate) fn delay(&self, now: Instant) -> Option<Duration> {
        let active = self.get(Kind::Latency, now)?;
        let Fault::Latency { delay, percentage } = active.order.fault else { return None };
        percentage.hits(active.count_out()).then(|| delay.duration())
    }

    /// Whether the request at hand is to fail. Counts it.
    pub(crate) fn fails(&self, now: Instant) -> bool {
        self.get(Kind::Errors, now).is_some_and(
            |active| matches!(active.order.fault, Fault::Errors { percentage } if percentage.hits(active.count_out())),
        )
    }

    pub(crate) fn gauge(&self, now: Instant) -> f64 {
        match self.get(Kind::Gauge, now).map(|active| &active.order.fault) {
            Some(Fault::Gauge { value }) => *value,
            _ => 0.0,
        }
    }

    pub(crate) fn leaked(&self, now: Instant) -> u64 {
        self.get(Kind::MemoryLeak, now).map_or(0, |active| active.leaked.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{Size, Span};

    fn begin(fault: Fault, duration: Option<u32>, passed: u64, now: Instant) -> Option<Active> {
        let order = Order { fault, duration: duration.map(Span::milliseconds), sticky: false };
        let asked = SystemTime::UNIX_EPOCH;
        Active::begin(order, asked, now, asked + Duration::from_millis(passed))
    }

    #[test]
    fn a_fault_ends_when_its_duration_has_passed() {
        let now = Instant::now();
        let board = Board::default().with(begin(Fault::NotReady, Some(500), 0, now).unwrap(), now);
        assert!(board.get(Kind::NotReady, now + Duration::from_millis(499)).is_some());
        assert!(board.get(Kind::NotReady, now + Duration::from_millis(500)).is_none());
        assert!(board.get(Kind::Deadlock, now).is_none());
    }

    #[test]
    fn a_restart_does_not_lengthen_a_fault() {
        let now = Instant::now();
        let resumed = begin(Fault::NotReady, Some(500), 300, now).unwrap();
        assert_eq!(resumed.ends, Some(now + Duration::from_millis(200)));
        assert!(begin(Fault::NotReady, Some(500), 500, now).is_none());
    }

    #[test]
    fn leaked_memory_stays_when_the_growth_is_over() {
        let now = Instant::now();
        let leak = Fault::MemoryLeak { rate: Size::mebibytes(1), ceiling: Size::mebibytes(2) };
        let active = begin(leak, Some(500), 0, now).unwrap();
        active.leaked.store(7, Ordering::Relaxed);
        let board = Board::default().with(active, now);
        assert_eq!(board.leaked(now + Duration::from_mins(1)), 7);
    }

    #[test]
    fn a_second_order_replaces_the_first_of_its_kind() {
        let now = Instant::now();
        let gauge = |value| begin(Fault::Gauge { value }, None, 0, now).unwrap();
        let board = Board::default().with(gauge(1.0), now).with(gauge(2.0), now);
        assert_eq!(board.on(now).count(), 1);
        assert!((board.gauge(now) - 2.0).abs() < f64::EPSILON);
    }
}
