//! The two ways from a fault to a restart.

/// Who restarts the Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HealingPath {
    /// A Prometheus rule, Alertmanager and a webhook.
    Classic,
    /// The controller.
    Prunella,
}

impl HealingPath {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Prunella, Self::Classic];

    /// Alternates between both.
    pub(crate) fn of_turn(turn: usize) -> Self {
        if turn.is_multiple_of(2) { Self::Prunella } else { Self::Classic }
    }

    /// The word in metrics, tables and messages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Prunella => "prunella",
        }
    }
}
