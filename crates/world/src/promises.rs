//! The promises, read from what the API server has stored, and from nothing that a controller believes.
//! `docs/design/promises.md` has the list. No rule of the judgement is called to judge itself.

mod effects;
mod floor;
mod lead;
mod ledger;
mod pace;
mod records;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::api_server::AuditEntry;
use ledger::Ledger;
pub use pace::Pace;
pub(crate) use pace::pace;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Timestamp,
    /// Its id, or a few words.
    pub promise: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.promise, self.at.strftime("%H:%M:%S%.3f"), self.what)
    }
}

/// The truth about one pod: from when until when it leaked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sickness {
    /// The pod.
    pub uid: String,
    /// It leaks from here on.
    pub since: Timestamp,
    /// It leaks no more. `None`: it leaks until it is gone.
    pub until: Option<Timestamp>,
}

/// A pod that fell ill when nothing else went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    pub(crate) uid: String,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) is_healed: bool,
}

/// The promises that a history broke, in the order of time.
pub(crate) fn check(
    audit: &[AuditEntry],
    sicknesses: &[Sickness],
    now: Timestamp,
    witness: Option<&Witness>,
) -> Vec<Violation> {
    let mut sicknesses = sicknesses.to_vec();
    sicknesses.extend(witness.map(|one| Sickness { uid: one.uid.clone(), since: one.since, until: None }));
    let mut ledger = Ledger::new(sicknesses);
    for entry in audit {
        ledger.take(entry);
    }
    let healed = witness.is_some_and(|witness| witness.is_healed);
    ledger.require(healed, now, "HP-13", || match witness {
        Some(Witness { uid, since, until, .. }) => {
            let waited = since.duration_until(*until);
            format!("pod {uid} has leaked for {waited:#} and nobody does anything")
        }
        None => "no pod of the witness was Ready at the end".to_owned(),
    });
    ledger.violations
}

/// Whether `at` is within the time from `since` to `until`, or at most `late` after it.
fn within(at: Timestamp, since: Timestamp, until: Option<Timestamp>, late: SignedDuration) -> bool {
    at >= since && until.is_none_or(|until| until.duration_until(at) <= late)
}
