//! What a policy does about a sick target, and what may be seen to have changed by it.

use anyhow::{Result, bail};
use prunella_api::Action;

use crate::ground::APP;

/// What is done, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The sick pod is evicted, and another one made.
    Evict,
    /// The Deployment replaces all its pods.
    Restart,
    /// The Deployment gets one pod more.
    Scale,
}

impl Remedy {
    /// Of a policy's step.
    ///
    /// # Errors
    /// When it is none of the demo's.
    pub(crate) fn of(action: &Action) -> Result<Self> {
        Ok(match action {
            Action { delete_pod: Some(_), rollout_restart: None, scale: None } => Self::Evict,
            Action { delete_pod: None, rollout_restart: Some(_), scale: None } => Self::Restart,
            Action { delete_pod: None, rollout_restart: None, scale: Some(scale) } if scale.by == Some(1) => {
                Self::Scale
            }
            other => bail!("the demo cannot follow {other:?}"),
        })
    }

    /// The one request to the API server that it takes.
    pub(crate) fn request(self, sick: &str) -> String {
        match self {
            Self::Evict => format!("create pods/eviction {sick}"),
            Self::Restart => format!("patch deployments {APP}"),
            Self::Scale => format!("patch deployments/scale {APP}"),
        }
    }

    /// Whether it replaces a pod.
    pub(crate) fn replaces(self, pod: &str, sick: &str) -> bool {
        match self {
            Self::Evict => pod == sick,
            Self::Restart => true,
            Self::Scale => false,
        }
    }

    /// How many pods more there are afterwards.
    pub(crate) fn adds(self) -> usize {
        usize::from(self == Self::Scale)
    }
}
