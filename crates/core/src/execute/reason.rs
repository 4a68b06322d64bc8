//! Why an action ended, in one word.

/// Why an action ended the way it did: one vocabulary for verdicts and endings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomeReason {
    /// The scope was clear with evidence for `clearFor`.
    Cleared,
    /// The scope is breached past the deadline.
    StillBreached,
    /// The scope's pods are not ready past the deadline.
    NotReady,
    /// There is no data about the scope past the deadline.
    NoData,
    /// The source is silent past the deadline.
    SourceUnknown,
    /// The breach ended before the action was begun.
    Recovered,
    /// The policy was deleted, or is another one of the same name.
    PolicyGone,
    /// The policy's condition, target or steps are others now.
    PolicyChanged,
    /// The policy no longer enforces.
    ModeChanged,
    /// The policy is suspended, or healing is held back.
    Suspended,
    /// It could not be begun before its evidence was stale.
    StartByPassed,
    /// The target, or the workload behind it, is gone or scaled to zero.
    TargetGone,
    /// An earlier action on the target or its owners is in flight.
    TargetBusy,
    /// The policy's selector no longer chooses the target.
    NotSelected,
    /// The target's owner wants it left alone.
    OptedOut,
    /// The target may no longer be healed.
    NotHealable,
    /// More targets are breached than may be, and this action is not the probe.
    Storm,
    /// A `PodDisruptionBudget` allowed no eviction in time.
    BlockedByDisruptionBudget,
    /// The controller lacks the right to write what the action would write.
    Forbidden,
    /// The write did not take effect in time.
    NotExecuted,
    /// The replacement did not come up in time.
    NotSettled,
    /// Somebody else has written what the action would write.
    ChangedByOthers,
    /// Recorded only.
    RecordedOnly,
}

impl OutcomeReason {
    /// Every reason.
    pub const ALL: [Self; 23] = [
        Self::Cleared,
        Self::StillBreached,
        Self::NotReady,
        Self::NoData,
        Self::SourceUnknown,
        Self::Recovered,
        Self::PolicyGone,
        Self::PolicyChanged,
        Self::ModeChanged,
        Self::Suspended,
        Self::StartByPassed,
        Self::TargetGone,
        Self::TargetBusy,
        Self::NotSelected,
        Self::OptedOut,
        Self::NotHealable,
        Self::Storm,
        Self::BlockedByDisruptionBudget,
        Self::Forbidden,
        Self::NotExecuted,
        Self::NotSettled,
        Self::ChangedByOthers,
        Self::RecordedOnly,
    ];

    /// The word used in status, Events, metrics and logs alike.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cleared => "Cleared",
            Self::StillBreached => "StillBreached",
            Self::NotReady => "NotReady",
            Self::NoData => "NoData",
            Self::SourceUnknown => "SourceUnknown",
            Self::Recovered => "Recovered",
            Self::PolicyGone => "PolicyGone",
            Self::PolicyChanged => "PolicyChanged",
            Self::ModeChanged => "ModeChanged",
            Self::Suspended => "Suspended",
            Self::StartByPassed => "StartByPassed",
            Self::TargetGone => "TargetGone",
            Self::TargetBusy => "TargetBusy",
            Self::NotSelected => "NotSelected",
            Self::OptedOut => "OptedOut",
            Self::NotHealable => "NotHealable",
            Self::Storm => "Storm",
            Self::BlockedByDisruptionBudget => "BlockedByDisruptionBudget",
            Self::Forbidden => "Forbidden",
            Self::NotExecuted => "NotExecuted",
            Self::NotSettled => "NotSettled",
            Self::ChangedByOthers => "ChangedByOthers",
            Self::RecordedOnly => "RecordedOnly",
        }
    }
}
