//! Why an action finished.

/// Why an action finished with its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomeReason {
    /// The pods that show the result were clear, with evidence, for `clearFor`.
    Cleared,
    /// They are still breached after the deadline.
    StillBreached,
    /// They are clear but not ready after the deadline.
    NotReady,
    /// They do not exist or have no data after the deadline.
    NoData,
    /// The source gives no usable answer after the deadline.
    SourceUnknown,
    /// The breach ended before the action started.
    Recovered,
    /// The policy was deleted. It may have been recreated with the same name.
    PolicyGone,
    /// The policy's condition, target or steps have changed.
    PolicyChanged,
    /// The policy no longer enforces.
    ModeChanged,
    /// The policy is suspended, or a hold stops healing.
    Suspended,
    /// It could not start before its evidence was stale.
    StartByPassed,
    /// The target is gone, or its workload is gone or scaled to zero.
    TargetGone,
    /// Another action on the target or its owners is in flight.
    TargetBusy,
    /// Too few pods of the workload would stay Ready.
    TooFewAvailable,
    /// The policy's selector no longer matches the target.
    NotSelected,
    /// The owner of the target opted out.
    OptedOut,
    /// Prunella must not act on the target any more.
    NotHealable,
    /// There is a storm, and this action is not its probe.
    Storm,
    /// A `PodDisruptionBudget` allowed no eviction in time.
    BlockedByDisruptionBudget,
    /// More than one `PodDisruptionBudget` selects the pod, so the API server evicts it never.
    SeveralDisruptionBudgets,
    /// The controller has no permission for the request.
    Forbidden,
    /// An admission webhook or policy denied the request.
    Denied,
    /// The write did not take effect in time.
    NotExecuted,
    /// The replacement did not become ready in time.
    NotSettled,
    /// Somebody else has changed the value that the action changes.
    ChangedByOthers,
    /// The policy only records.
    RecordedOnly,
}

impl OutcomeReason {
    /// Every reason.
    pub const ALL: [Self; 26] = [
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
        Self::TooFewAvailable,
        Self::NotSelected,
        Self::OptedOut,
        Self::NotHealable,
        Self::Storm,
        Self::BlockedByDisruptionBudget,
        Self::SeveralDisruptionBudgets,
        Self::Forbidden,
        Self::Denied,
        Self::NotExecuted,
        Self::NotSettled,
        Self::ChangedByOthers,
        Self::RecordedOnly,
    ];

    /// The word in status, Events, metrics and logs.
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
            Self::TooFewAvailable => "TooFewAvailable",
            Self::NotSelected => "NotSelected",
            Self::OptedOut => "OptedOut",
            Self::NotHealable => "NotHealable",
            Self::Storm => "Storm",
            Self::BlockedByDisruptionBudget => "BlockedByDisruptionBudget",
            Self::SeveralDisruptionBudgets => "SeveralDisruptionBudgets",
            Self::Forbidden => "Forbidden",
            Self::Denied => "Denied",
            Self::NotExecuted => "NotExecuted",
            Self::NotSettled => "NotSettled",
            Self::ChangedByOthers => "ChangedByOthers",
            Self::RecordedOnly => "RecordedOnly",
        }
    }
}
