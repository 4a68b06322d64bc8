//! `spec.steps`: the ladder.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::duration::between;
use crate::{Duration, StepAction};

/// One step of the ladder.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The name of the step, unique within the policy: lower-case letters, digits and hyphens, starting with a letter, at most 32 characters. Status and Events show it.
    #[schemars(regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"), length(min = 1, max = 32))]
    pub name: String,
    /// What this step does. Give exactly one kind of action.
    pub action: StepAction,
    /// How often the action is tried on a target before the next step, from 1 to 10. Default: 1.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 10))]
    pub attempts: i32,
    /// How to find out whether the action helped.
    #[serde(default)]
    pub verify: Verify,
}

fn default_attempts() -> i32 {
    1
}

/// How to find out whether an action helped.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// How long the target may take to become clear after its replacement is ready, from 1s to 24h. Default: the larger of 2m and clearFor + 2 × interval + the widest range in the query.
    #[x_kube(validation = between("1s", "24h").message("verify.within must be between 1s and 24h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// How long pods may take to become Ready after the action, from 1s to 24h, before the time in within starts. It only adds time: the largest of this, the time that the pod's startup probes allow plus 5m (10m for an action on a workload), and the workload's progressDeadlineSeconds (at most 1h) counts. A rollout that makes progress may take this time for each replica, and at most a day. Default: none.
    #[x_kube(validation = between("1s", "24h").message("verify.readyWithin must be between 1s and 24h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_within: Option<Duration>,
}
