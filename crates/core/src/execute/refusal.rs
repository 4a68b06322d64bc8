//! Why the API server refused an effect.

/// Why the API server refused an effect. The refused request certainly had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectRefusal {
    /// A `PodDisruptionBudget` allows no eviction now.
    DisruptionBudget,
    /// More than one `PodDisruptionBudget` selects the pod. The API server evicts no such pod.
    SeveralDisruptionBudgets,
    /// It has too many requests.
    Throttled,
    /// The controller has no permission.
    Forbidden,
    /// An admission webhook or policy denied the request. A webhook may have told the owner of
    /// the pod to remove it, so the request must not be repeated.
    Denied,
}

impl EffectRefusal {
    /// Whether the budget is given back if the action ends after this refusal, although it was
    /// tried again and again.
    pub(super) fn gives_budget_back(self) -> bool {
        match self {
            Self::DisruptionBudget | Self::SeveralDisruptionBudgets | Self::Throttled => true,
            Self::Forbidden | Self::Denied => false,
        }
    }
}
