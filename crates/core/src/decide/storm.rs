//! Everything failing at once. When more of the targets are breached than may be, the
//! observer is as suspect as they are: a query that is wrong, or a dependency that is
//! down, looks just like it. Then one action is tried as a probe, and the next only after
//! one has succeeded; or nothing at all is done.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Inputs, Sight, Timer, verify};
use crate::ledger::{Ledger, Outcome, Record, State};
use crate::observation::Answer;
use crate::policy::{Mode, OnStorm, SeriesMatch};
use crate::target::{Target, Uid};
use crate::time::{Span, whole_seconds};

/// A storm under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storm {
    /// Since when more targets have been breached than may be.
    pub since: Timestamp,
    /// The unbroken time over which no more have been than may be.
    pub calm: Option<Span>,
    /// Whether the newest look gave no usable answer.
    pub frozen: bool,
}

/// That a storm has begun or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StormChange {
    /// More targets are breached than may be.
    Began {
        /// How many are breached.
        breached: usize,
        /// How many may be.
        allowed: usize,
    },
    /// For `stormCooldown` no more have been than may be.
    Ended,
}

impl Storm {
    /// A storm that another process wrote down.
    #[must_use]
    pub fn restored(since: Timestamp) -> Self {
        Self { since, calm: None, frozen: false }
    }

    /// Whether a record tells of this storm: what was under way in it, or begun. A record
    /// keeps whole seconds of its creation.
    #[must_use]
    pub fn concerns(self, record: &Record) -> bool {
        let since = whole_seconds(self.since);
        record.mode == Mode::Enforce
            && (record.in_flight() || record.created >= since || record.finished.is_some_and(|at| at >= since))
    }
}

/// The storm after this observation, and what changed.
pub(super) fn advance(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    timers: &BTreeMap<Uid, Timer>,
) -> (Option<Storm>, Option<StormChange>) {
    let earlier = inputs.memory.storm;
    // Where every series speaks of all, all are breached at once by design.
    if inputs.policy.series == SeriesMatch::Global {
        return (None, None);
    }
    if matches!(inputs.observation.breach, Answer::Unknown(_)) {
        return (earlier.map(|storm| Storm { frozen: true, ..storm }), None);
    }
    let at = inputs.observation.at;
    let living = || inputs.targets.iter().filter(|target| !target.terminating);
    let breached = living().filter(|target| is_breached(inputs, sights, timers, target)).count();
    let allowed = inputs.policy.limits.max_unhealthy.of(living().count());
    match earlier {
        None if breached > allowed => {
            let storm = Storm { since: at, calm: None, frozen: false };
            (Some(storm), Some(StormChange::Began { breached, allowed }))
        }
        None => (None, None),
        Some(storm) if breached > allowed => (Some(Storm { calm: None, frozen: false, ..storm }), None),
        Some(storm) => {
            let calm =
                storm.calm.map_or(Span::start(at), |calm| calm.seen(at, inputs.policy.longest_gap, storm.frozen));
            if calm.held() >= inputs.policy.limits.storm_cooldown {
                (None, Some(StormChange::Ended))
            } else {
                (Some(Storm { calm: Some(calm), frozen: false, ..storm }), None)
            }
        }
    }
}

/// Pending, firing, or the replacement of one that was and not clear either.
fn is_breached(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    timers: &BTreeMap<Uid, Timer>,
    target: &Target,
) -> bool {
    let uid = &target.object.uid;
    let sick = timers.contains_key(uid);
    let shown = matches!(sights.get(uid), Some(Sight::Breached(_) | Sight::Young(_)));
    sick || (shown && verify::in_any_scope(inputs, target))
}

/// Who may be acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate<'a> {
    /// Whoever the other brakes let pass.
    Open,
    /// Those to whom this probe, which failed, is laid, on a rung above its own: two
    /// replicas with a bad configuration are not healed by deleting, and nobody else is to
    /// be tried on.
    Climb(&'a Record),
    /// Nobody.
    Closed,
}

/// Whom a storm lets pass, by what is on record of it.
pub(super) fn gate<'a>(inputs: Inputs<'a>, ledger: &'a Ledger, storm: Option<Storm>) -> Gate<'a> {
    let Some(storm) = storm else { return Gate::Open };
    if inputs.policy.limits.on_storm == OnStorm::Hold {
        return Gate::Closed;
    }
    if inputs.policy.mode == Mode::DryRun {
        // What would have become of the probe nobody knows: the others wait for that.
        let since = whole_seconds(storm.since);
        let mut records = ledger.of(&inputs.policy.key);
        let probed = records.any(|record| record.mode == Mode::DryRun && record.created >= since);
        return if probed { Gate::Closed } else { Gate::Open };
    }
    let concerned = || ledger.of(&inputs.policy.key).filter(|record| storm.concerns(record));
    if concerned().any(Record::in_flight) {
        return Gate::Closed;
    }
    // What nobody could judge is no probe: it told nothing.
    let newest =
        concerned().filter(|record| record.is_attempt()).max_by_key(|record| (record.created, record.sequence));
    match newest {
        None => Gate::Open,
        Some(probe) if probe.state == State::Finished(Outcome::Succeeded) => Gate::Open,
        Some(probe) => Gate::Climb(probe),
    }
}

/// Whether an action that was reserved before is not the one that a storm allows.
pub(super) fn forbids(inputs: Inputs<'_>, storm: Option<Storm>, record: &Record) -> bool {
    storm.is_some()
        && (inputs.policy.limits.on_storm == OnStorm::Hold
            || inputs.ledger.of(&inputs.policy.key).any(|other| other.name != record.name && other.precedes(record)))
}
