//! `spec.limits`: how often, and how much at once, a policy may act.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::duration::{at_most, between};

/// How often, and how much at once, the policy may act.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("type(self.minAvailable) == int ? self.minAvailable >= 0 && self.minAvailable <= 10000 : self.minAvailable.matches('^([1-9]?[0-9]|100)%$')").message("minAvailable must be a number from 0 to 10000 or a percentage from 0% to 100%"),
    validation = Rule::new("type(self.maxUnhealthy) == int ? self.maxUnhealthy >= 1 && self.maxUnhealthy <= 10000 : self.maxUnhealthy.matches('^([1-9][0-9]?|100)%$')").message("maxUnhealthy must be a number from 1 to 10000 or a percentage from 1% to 100%")
)]
pub struct Limits {
    /// The least time between two actions that count against the same target, from all policies, at most 24h. Default: 5m.
    #[x_kube(validation = at_most("24h").message("cooldown must be at most 24h"))]
    #[serde(default = "default_cooldown")]
    pub cooldown: Duration,
    /// How many actions the policy may start in a sliding window. Default: 3 per 1h.
    #[serde(default)]
    pub max_actions: MaxActions,
    /// How many actions of the policy may be in flight at once, from 1 to 100. Default: 1.
    #[serde(default = "default_max_concurrent")]
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: i32,
    /// How long a target must be clear before its earlier actions no longer count and the ladder starts again, from 1m to 24h. Default: 1h.
    #[x_kube(validation = between("1m", "24h").message("ladderReset must be between 1m and 24h"))]
    #[serde(default = "default_ladder_reset")]
    pub ladder_reset: Duration,
    /// How many pods of a workload must stay Ready while Prunella removes one of them, counted over all policies: a number from 0 to 10000, or a percentage of the wanted replicas, rounded down but at least one. Default: 75%. A target that is not Ready may always be removed, and a workload with one replica is exempt. 0 switches the limit off.
    #[serde(default = "default_min_available")]
    pub min_available: IntOrString,
    /// How many targets may be breached at once: a number from 1 to 10000, or a percentage, rounded down but at least one. Default: 50%. If more are breached, it is a storm: the query itself may then be wrong.
    #[serde(default = "default_max_unhealthy")]
    pub max_unhealthy: IntOrString,
    /// What is still done in a storm. Probe tries one action, and the next only after one has succeeded. Hold does nothing. Default: Probe.
    #[serde(default)]
    pub on_storm: OnStorm,
    /// How long the number of breached targets must stay within maxUnhealthy before a storm is over, at most 24h. Default: 5m.
    #[x_kube(validation = at_most("24h").message("stormCooldown must be at most 24h"))]
    #[serde(default = "default_storm_cooldown")]
    pub storm_cooldown: Duration,
}

/// What is still done in a storm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnStorm {
    /// One action at a time, the next only after one has succeeded.
    #[default]
    Probe,
    /// Nothing.
    Hold,
}

fn default_min_available() -> IntOrString {
    IntOrString::String("75%".to_owned())
}

fn default_max_unhealthy() -> IntOrString {
    IntOrString::String("50%".to_owned())
}

fn default_storm_cooldown() -> Duration {
    Duration::from("5m")
}

fn default_ladder_reset() -> Duration {
    Duration::from("1h")
}

fn default_cooldown() -> Duration {
    Duration::from("5m")
}

fn default_max_concurrent() -> i32 {
    1
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cooldown: default_cooldown(),
            max_actions: MaxActions::default(),
            max_concurrent: default_max_concurrent(),
            ladder_reset: default_ladder_reset(),
            min_available: default_min_available(),
            max_unhealthy: default_max_unhealthy(),
            on_storm: OnStorm::default(),
            storm_cooldown: default_storm_cooldown(),
        }
    }
}

/// A budget of actions over a sliding window.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MaxActions {
    /// How many actions may start within the window, from 1 to 1000. Default: 3.
    #[serde(default = "default_max_actions_count")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: i32,
    /// The length of the sliding window, from 1m to 24h. Default: 1h.
    #[x_kube(validation = between("1m", "24h").message("maxActions.per must be between 1m and 24h"))]
    #[serde(default = "default_max_actions_per")]
    pub per: Duration,
}

fn default_max_actions_count() -> i32 {
    3
}

fn default_max_actions_per() -> Duration {
    Duration::from("1h")
}

impl Default for MaxActions {
    fn default() -> Self {
        Self { count: default_max_actions_count(), per: default_max_actions_per() }
    }
}
