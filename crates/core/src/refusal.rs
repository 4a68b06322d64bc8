//! Why Prunella does not act on an unhealthy target. Conditions, Events, metrics and logs
//! use the same words.

use std::fmt;

use jiff::Timestamp;

use crate::availability::Shortage;
use crate::target::NotHealable;

/// The first guardrail that refused. The order is the order of the guardrails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The policy is suspended.
    Suspended,
    /// A hold stops healing, in this namespace or everywhere.
    Held,
    /// The source gave no usable answer.
    ObservationUnknown,
    /// Neither the answer nor the evidence has a series of the target.
    NoData,
    /// The target is younger than `minAge`, or its samples may belong to an earlier object
    /// of the same name.
    TooYoung,
    /// The condition has not been breached for `for` yet, or is not breached now.
    NotYetFor,
    /// The owner of the target opted out.
    OptedOut,
    /// Prunella never acts on this target, or not on it now.
    NotHealable(NotHealable),
    /// An action of any policy on the target or its owners is in flight.
    TargetBusy,
    /// All steps were tried, or do not apply.
    Exhausted,
    /// A dry run has already recorded this episode. It records an episode once.
    AlreadyRecorded,
    /// The cooldown after the last action that counts against the target is not over.
    Cooldown,
    /// The newest actions on the target finished without effect. The wait before the next one
    /// grows with each of them.
    BackOff,
    /// The subject has had as many actions, of all policies together, as its cap allows.
    SubjectCap,
    /// The policy has started `maxActions` actions within its window.
    MaxActions,
    /// The policy has recorded as many actions within a minute as it may, whatever their
    /// outcomes.
    TooManyRecords,
    /// The policy has `maxConcurrent` actions in flight.
    MaxConcurrent,
    /// Too few pods of the workload would stay Ready, over all policies.
    TooFewAvailable(Shortage),
    /// More targets are breached than `maxUnhealthy` allows. The query or a dependency may be
    /// the cause.
    Storm,
    /// The samples behind the breach are not fresh: the exporter is silent.
    Stale,
}

impl Reason {
    /// Every guardrail once, in order.
    pub const ALL: [Self; 20] = [
        Self::Suspended,
        Self::Held,
        Self::ObservationUnknown,
        Self::NoData,
        Self::TooYoung,
        Self::NotYetFor,
        Self::OptedOut,
        Self::NotHealable(NotHealable::StaticPod),
        Self::TargetBusy,
        Self::Exhausted,
        Self::AlreadyRecorded,
        Self::Cooldown,
        Self::BackOff,
        Self::SubjectCap,
        Self::MaxActions,
        Self::TooManyRecords,
        Self::MaxConcurrent,
        Self::TooFewAvailable(Shortage { required: 1, wanted: 2 }),
        Self::Storm,
        Self::Stale,
    ];

    /// The word in status, Events, metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "Suspended",
            Self::Held => "Held",
            Self::ObservationUnknown => "ObservationUnknown",
            Self::NoData => "NoData",
            Self::TooYoung => "TooYoung",
            Self::NotYetFor => "NotYetFor",
            Self::OptedOut => "OptedOut",
            Self::NotHealable(_) => "NotHealable",
            Self::TargetBusy => "TargetBusy",
            Self::Exhausted => "Exhausted",
            Self::AlreadyRecorded => "AlreadyRecorded",
            Self::Cooldown => "Cooldown",
            Self::BackOff => "BackOff",
            Self::SubjectCap => "SubjectCap",
            Self::MaxActions => "MaxActions",
            Self::TooManyRecords => "TooManyRecords",
            Self::MaxConcurrent => "MaxConcurrent",
            Self::TooFewAvailable(_) => "TooFewAvailable",
            Self::Storm => "Storm",
            Self::Stale => "Stale",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a guardrail refused, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The guardrail.
    pub reason: Reason,
    /// When the refusal ends. `None`: unknown.
    pub until: Option<Timestamp>,
}

impl Refusal {
    /// A refusal without a known end.
    #[must_use]
    pub fn open(reason: Reason) -> Self {
        Self { reason, until: None }
    }

    /// A refusal that ends at `until`.
    #[must_use]
    pub fn until(reason: Reason, until: Timestamp) -> Self {
        Self { reason, until: Some(until) }
    }
}
