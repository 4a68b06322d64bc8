//! `rolloutRestart`: replaces all pods of a workload.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Replaces all pods of a workload. It has no fields.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRestart {}
