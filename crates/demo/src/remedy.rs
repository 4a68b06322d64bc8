//! What a policy does about an unhealthy target, and which changes that explains.

use anyhow::{Result, bail};
use prunella_api::StepAction;

use crate::ground::APP;

/// The action, taken once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The unhealthy pod is evicted and replaced.
    Evict,
    /// The Deployment replaces all its pods.
    Restart,
    /// The Deployment gets one more pod.
    Scale,
}

impl Remedy {
    /// The action of a policy's step.
    ///
    /// # Errors
    /// When the demo does not support it.
    pub(crate) fn of(action: &StepAction) -> Result<Self> {
        Ok(match action {
            StepAction { delete_pod: Some(_), rollout_restart: None, scale: None } => Self::Evict,
            StepAction { delete_pod: None, rollout_restart: Some(_), scale: None } => Self::Restart,
            StepAction { delete_pod: None, rollout_restart: None, scale: Some(scale) } if scale.by == Some(1) => {
                Self::Scale
            }
            other => bail!("the demo does not support the action {other:?}"),
        })
    }

    /// The only request to the API server that it needs.
    pub(crate) fn request(self, unhealthy: &str) -> String {
        match self {
            Self::Evict => format!("create pods/eviction {unhealthy}"),
            Self::Restart => format!("patch deployments {APP}"),
            Self::Scale => format!("patch deployments/scale {APP}"),
        }
    }

    /// Whether it replaces a pod.
    pub(crate) fn replaces(self, pod: &str, unhealthy: &str) -> bool {
        match self {
            Self::Evict => pod == unhealthy,
            Self::Restart => true,
            Self::Scale => false,
        }
    }

    /// How many pods it adds.
    pub(crate) fn adds(self) -> usize {
        usize::from(self == Self::Scale)
    }
}
