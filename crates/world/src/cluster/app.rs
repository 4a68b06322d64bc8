//! The app in a pod: what it uses, what it answers, and how it fails.

use jiff::{SignedDuration, Timestamp};

/// One way in which the app fails, as the sample app does on demand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Its memory grows, up to a ceiling. In bytes.
    MemoryLeak {
        /// By how much in a second.
        rate: f64,
        /// It stops there.
        ceiling: f64,
    },
    /// It uses this much of a core.
    Cpu {
        /// In cores.
        cores: f64,
    },
    /// It answers a share of its requests with 500.
    Errors {
        /// From 0 to 1.
        share: f64,
    },
    /// It fails its readiness probe.
    NotReady,
    /// It crashes this long after each start, also in a restarted container.
    Crash {
        /// Milliseconds after the start.
        delay: i64,
    },
}

/// What the app uses when it is healthy: bytes, and cores.
const IDLE_MEMORY: f64 = 2.0 * 1024.0 * 1024.0;
const IDLE_CORES: f64 = 0.002;

/// The app in one container.
#[derive(Debug, Clone)]
pub(super) struct App {
    /// The faults, and when each was caused.
    faults: Vec<(Fault, Timestamp)>,
    /// Counters up to `counted`.
    pub(super) succeeded: f64,
    pub(super) failed: f64,
    pub(super) cpu_seconds: f64,
    counted: Timestamp,
}

impl App {
    pub(super) fn started(now: Timestamp) -> Self {
        Self { faults: Vec::new(), succeeded: 0.0, failed: 0.0, cpu_seconds: 0.0, counted: now }
    }

    /// The app in the next container of the same pod: it crashes again, and has lost all else.
    pub(super) fn restarted(&self, now: Timestamp) -> Self {
        let faults = self.faults.iter().filter(|(fault, _)| matches!(fault, Fault::Crash { .. }));
        Self { faults: faults.map(|(fault, _)| (*fault, now)).collect(), ..Self::started(now) }
    }

    pub(super) fn cause(&mut self, fault: Fault, now: Timestamp) {
        self.faults.push((fault, now));
    }

    pub(super) fn repair(&mut self) {
        self.faults.clear();
    }

    /// Counts the time until `now`, with `rps` requests in a second.
    pub(super) fn count(&mut self, now: Timestamp, rps: f64) {
        let seconds = now.duration_since(self.counted).as_secs_f64();
        let (mut cores, mut errors) = (IDLE_CORES, 0.0);
        for (fault, _) in &self.faults {
            match fault {
                Fault::Cpu { cores: used } => cores += used,
                Fault::Errors { share } => errors = *share,
                _ => {}
            }
        }
        self.cpu_seconds += cores * seconds;
        self.failed += rps * errors * seconds;
        self.succeeded += rps * (1.0 - errors) * seconds;
        self.counted = now;
    }

    /// Its memory, in bytes.
    pub(super) fn memory(&self, now: Timestamp) -> f64 {
        let leaked = self.faults.iter().map(|(fault, since)| match fault {
            Fault::MemoryLeak { rate, ceiling } => (rate * now.duration_since(*since).as_secs_f64()).min(*ceiling),
            _ => 0.0,
        });
        IDLE_MEMORY + leaked.sum::<f64>()
    }

    /// Since when it fails its readiness probe.
    pub(super) fn not_ready_since(&self) -> Option<Timestamp> {
        self.faults.iter().find(|(fault, _)| *fault == Fault::NotReady).map(|(_, since)| *since)
    }

    /// When it crashes.
    pub(super) fn crashes_at(&self) -> Option<Timestamp> {
        self.faults.iter().find_map(|(fault, since)| match fault {
            Fault::Crash { delay } => since.checked_add(SignedDuration::from_millis(*delay)).ok(),
            _ => None,
        })
    }
}
