//! Why a sick target is not acted on: one vocabulary for conditions, Events,
//! metrics and logs.

use std::fmt;

use jiff::Timestamp;

use crate::target::NotHealable;

/// The first brake that refused, in the order of the brakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The policy is suspended.
    Suspended,
    /// Somebody holds healing back, here or everywhere.
    Held,
    /// The source had no answer that may be relied on.
    ObservationUnknown,
    /// The target is in neither the answer nor the evidence.
    NoData,
    /// It is younger than `minAge`, or its samples may be its predecessor's.
    TooYoung,
    /// The breach has not held for `for` yet, or is not there at this moment.
    NotYetFor,
    /// Its owner wants it left alone.
    OptedOut,
    /// The object may not be healed at all.
    NotHealable(NotHealable),
    /// An action of some policy on it or its owners is in flight.
    TargetBusy,
    /// Every rung of the ladder was tried, or does not apply.
    Exhausted,
    /// This sickness is on record already: a dry run says a thing once.
    AlreadyRecorded,
    /// Too soon after the last action that counts against it.
    Cooldown,
    /// Its subject has borne as many actions, of all policies, as it may in an hour.
    SubjectCap,
    /// The policy's window is full.
    MaxActions,
    /// The policy has as many actions in flight as it may.
    MaxConcurrent,
    /// More targets are breached than may be: the observer is as suspect as they are.
    Storm,
    /// The samples behind the breach are not fresh: the exporter is silent.
    Stale,
}

impl Reason {
    /// Every brake once, in their order.
    pub const ALL: [Self; 17] = [
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
        Self::SubjectCap,
        Self::MaxActions,
        Self::MaxConcurrent,
        Self::Storm,
        Self::Stale,
    ];

    /// The word used in status, Events, metrics and logs alike.
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
            Self::SubjectCap => "SubjectCap",
            Self::MaxActions => "MaxActions",
            Self::MaxConcurrent => "MaxConcurrent",
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

/// A refusal as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Which brake.
    pub reason: Reason,
    /// Until when it will hold, where that is known.
    pub until: Option<Timestamp>,
}

impl Refusal {
    /// A refusal without a known end.
    #[must_use]
    pub fn open(reason: Reason) -> Self {
        Self { reason, until: None }
    }

    /// A refusal that ends by itself.
    #[must_use]
    pub fn until(reason: Reason, until: Timestamp) -> Self {
        Self { reason, until: Some(until) }
    }
}
