//! Storms: more targets are breached than `maxUnhealthy` allows. The cause may be a wrong
//! query or a dependency that is down, and then no action helps. So Prunella starts one
//! action as a probe, and the next one only after a probe has succeeded. With `onStorm: Hold`
//! it starts none.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Inputs, Sight, Timer, verify};
use crate::ledger::{Ledger, Outcome, Record, State};
use crate::observation::Answer;
use crate::policy::{PolicyMode, SeriesMatch, StormRule};
use crate::target::{Target, Uid};
use crate::time::{Span, whole_seconds};

/// The current storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storm {
    /// When it started.
    pub since: Timestamp,
    /// The uninterrupted time in which no more targets were breached than allowed. `None`:
    /// more are breached now.
    pub calm: Option<Span>,
    /// Whether the newest evaluation had no usable answer.
    pub frozen: bool,
}

/// The start or the end of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StormChange {
    /// More targets are breached than allowed.
    Began {
        /// How many are breached.
        breached: usize,
        /// How many are allowed.
        allowed: usize,
    },
    /// For `stormCooldown`, no more targets were breached than allowed.
    Ended,
}

impl Storm {
    /// A storm that an earlier process recorded in the status.
    #[must_use]
    pub fn restored(since: Timestamp) -> Self {
        Self { since, calm: None, frozen: false }
    }

    /// Whether an action was in flight during this storm. The times of a record are in whole
    /// seconds.
    #[must_use]
    pub fn concerns(self, record: &Record) -> bool {
        let since = whole_seconds(self.since);
        record.mode == PolicyMode::Enforce
            && (record.in_flight() || record.created >= since || record.finished.is_some_and(|at| at >= since))
    }
}

/// The storm after this observation, and the change.
pub(super) fn advance(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    timers: &BTreeMap<Uid, Timer>,
) -> (Option<Storm>, Option<StormChange>) {
    let earlier = inputs.memory.storm;
    // A global series always breaches all targets at once.
    if inputs.policy.series == SeriesMatch::Global {
        return (None, None);
    }
    if matches!(inputs.observation.breach, Answer::Unknown(_)) {
        return (earlier.map(|storm| Storm { frozen: true, ..storm }), None);
    }
    let at = inputs.observation.at;
    let remaining = || inputs.targets.iter().filter(|target| can_be_healed(target));
    let breached = remaining().filter(|target| is_breached(inputs, sights, timers, target)).count();
    let allowed = inputs.policy.limits.max_unhealthy.of(remaining().count());
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

/// Whether the target counts in a storm. A pod that is going or that can never be healed says
/// nothing about the others: six failed pods of a Job must not stop the healing of six web pods.
fn can_be_healed(target: &Target) -> bool {
    !target.terminating && target.not_healable.is_none_or(|why| !why.is_permanent())
}

/// Whether the target counts as breached: it is pending or firing, or it shows the result
/// of an action and is in the answer.
fn is_breached(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    timers: &BTreeMap<Uid, Timer>,
    target: &Target,
) -> bool {
    let uid = &target.object.uid;
    let unhealthy = timers.contains_key(uid);
    let shown = matches!(sights.get(uid), Some(Sight::Breached(_) | Sight::Young(_)));
    unhealthy || (shown && verify::in_any_scope(inputs, target))
}

/// Which targets a storm allows actions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate<'a> {
    /// All targets.
    Open,
    /// Only targets that this failed probe counts against, on a step above the probe's. For
    /// two replicas with a bad configuration, deleting a pod does not help. The next step may
    /// help, and no other pod is needed to try it.
    Climb(&'a Record),
    /// No target.
    Closed,
}

/// Which targets the storm allows actions for, by the records of its actions.
pub(super) fn gate<'a>(inputs: Inputs<'a>, ledger: &'a Ledger, storm: Option<Storm>) -> Gate<'a> {
    let Some(storm) = storm else { return Gate::Open };
    if inputs.policy.limits.on_storm == StormRule::Hold {
        return Gate::Closed;
    }
    if inputs.policy.mode == PolicyMode::DryRun {
        // The later actions depend on the result of the probe, and a dry run has none.
        let since = whole_seconds(storm.since);
        let mut records = ledger.of(&inputs.policy.key);
        let probed = records.any(|record| record.mode == PolicyMode::DryRun && record.created >= since);
        return if probed { Gate::Closed } else { Gate::Open };
    }
    let of_storm = || ledger.of(&inputs.policy.key).filter(|record| storm.concerns(record));
    if of_storm().any(Record::in_flight) {
        return Gate::Closed;
    }
    // An action that could not be judged, or that a disruption budget refused, is not a probe:
    // it has no result.
    let judged = |record: &&Record| record.is_attempt() && !record.is_blocked_attempt();
    let newest = of_storm().filter(judged).max_by_key(|record| (record.created, record.sequence));
    match newest {
        None => Gate::Open,
        Some(probe) if probe.state == State::Finished(Outcome::Succeeded) => Gate::Open,
        Some(probe) => Gate::Climb(probe),
    }
}

/// Whether the storm forbids an action that is already reserved. It allows the first one, as
/// the probe.
pub(super) fn forbids(inputs: Inputs<'_>, storm: Option<Storm>, record: &Record) -> bool {
    storm.is_some()
        && (inputs.policy.limits.on_storm == StormRule::Hold
            || inputs.ledger.of(&inputs.policy.key).any(|other| other.name != record.name && other.precedes(record)))
}
