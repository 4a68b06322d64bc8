//! What came of a history.

use std::fmt;

use jiff::SignedDuration;
use prunella_core::ledger::Outcome;

/// What came of a history.
#[derive(Debug, Default)]
pub struct Report {
    /// The promises that were broken; the history ends with the first.
    pub violations: Vec<Violation>,
    /// The actions on record at the end, in the order of their reservation.
    pub deeds: Vec<Deed>,
    /// How often what was met.
    pub tally: Tally,
}

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// When, since the beginning.
    pub at: SignedDuration,
    /// Which promise.
    pub promise: &'static str,
    /// How.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} s: {}", self.promise, self.at.as_secs_f64(), self.what)
    }
}

/// An action on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// Its name.
    pub name: String,
    /// The name of its target.
    pub target: String,
    /// Which step of the ladder, and which attempt on it.
    pub place: (u32, u32),
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
}

/// How often what was met in a history: a check that never had anything to look at
/// has shown nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Things that happened.
    pub events: u64,
    /// Decisions.
    pub decisions: u64,
    /// Reservations that were recorded.
    pub reserved: u64,
    /// Reservations that met a name that was taken.
    pub collisions: u64,
    /// Transitions that met another version than was read.
    pub conflicts: u64,
    /// Evictions that had effect.
    pub evictions: u64,
    /// Restarts that had effect.
    pub restarts: u64,
    /// Changes of a number of replicas that had effect.
    pub scalings: u64,
    /// Evictions that a disruption budget refused.
    pub refused_by_budget: u64,
    /// Writes to the cluster that met another pod of the name, or none, or another number.
    pub missed: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Writes whose fate was never told to their sender.
    pub untold: u64,
    /// Status writes of policies.
    pub told: u64,
    /// Actions that ended without effect.
    pub given_back: u64,
    /// Reservations above the first attempt.
    pub climbed: u64,
    /// Times a target was seen exhausted.
    pub exhausted: u64,
    /// Storms that began.
    pub storms: u64,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            decisions: self.decisions + other.decisions,
            reserved: self.reserved + other.reserved,
            collisions: self.collisions + other.collisions,
            conflicts: self.conflicts + other.conflicts,
            evictions: self.evictions + other.evictions,
            restarts: self.restarts + other.restarts,
            scalings: self.scalings + other.scalings,
            refused_by_budget: self.refused_by_budget + other.refused_by_budget,
            missed: self.missed + other.missed,
            kills: self.kills + other.kills,
            untold: self.untold + other.untold,
            told: self.told + other.told,
            given_back: self.given_back + other.given_back,
            climbed: self.climbed + other.climbed,
            exhausted: self.exhausted + other.exhausted,
            storms: self.storms + other.storms,
        }
    }
}
