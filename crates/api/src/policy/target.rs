//! `spec.target`: what may be healed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::duration::at_most;

/// What may be healed.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)").message("selector must not be empty: an empty selector would select every object of the namespace"),
    validation = Rule::new("!has(self.match) || !has(self.match.global) || self.kind != 'Pod'").message("match.global works for workloads only, because it names no pod: set target.kind to Deployment, StatefulSet or DaemonSet")
)]
pub struct TargetSpec {
    /// The kind of object to heal: Pod, or a whole Deployment, StatefulSet or DaemonSet. A series names a workload by the label with its kind, for example deployment, or by the label pod of one of its pods.
    pub kind: TargetKind,
    /// Selects the objects that may be healed, by their labels. It must not be empty.
    #[schemars(schema_with = "selector_schema")]
    pub selector: LabelSelector,
    /// How a series names its target. Default: the label with the target's kind in lower case, for example pod, holds its name.
    #[serde(rename = "match", default)]
    pub series: Match,
    /// The label of a series that holds the namespace of its object, at most 128 characters. It is added to every selector of the query with the policy's namespace. It must be one of the source's namespaceLabels. Default: namespace. If kube-state-metrics is scraped without honorLabels, it is exported_namespace, and the source must list that label.
    #[serde(default = "default_namespace_label")]
    #[schemars(regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"), length(min = 1, max = 128))]
    pub namespace_label: String,
    /// How old a target must be before it is evaluated, at most 24h. Default: 30s. A target that is still starting often looks unhealthy.
    #[x_kube(validation = at_most("24h").message("minAge must be at most 24h"))]
    #[serde(default = "default_min_age")]
    pub min_age: Duration,
    /// Allows healing of pods with the priority class system-cluster-critical or system-node-critical. Default: false.
    #[serde(default)]
    pub system_critical: bool,
}

fn default_namespace_label() -> String {
    "namespace".to_owned()
}

fn default_min_age() -> Duration {
    Duration::from("30s")
}

/// The kinds of objects that can be healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A pod whose controller replaces it.
    Pod,
    /// A Deployment with all its pods.
    Deployment,
    /// A StatefulSet with all its pods.
    StatefulSet,
    /// A DaemonSet with all its pods.
    DaemonSet,
}

impl TargetKind {
    /// The kind as the Kubernetes API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// How a series names its target.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.label) || !has(self.global)").message("match takes label or global, not both")
)]
pub struct Match {
    /// The label of a series that holds the target's name, at most 128 characters. Default: the target's kind in lower case, for example pod.
    #[schemars(regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"), length(min = 1, max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Use this instead of label for a query that names no target: any series that it returns means that every selected target is breached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<Global>,
}

/// Marks a query whose series apply to all selected targets. It has no fields.
#[derive(KubeSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Global {}

/// The schema of a label selector with bounds on every list and string. The type of the
/// Kubernetes API has none, and without them the CEL rules exceed their cost limit.
fn selector_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Selects the objects that may be healed, by their labels. It must not be empty.",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that an object must have with exactly these values, at most 32.",
                "maxProperties": 32,
                "additionalProperties": {"type": "string", "maxLength": 63}
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements on labels, at most 32. All must be met.",
                "maxItems": 32,
                "items": {
                    "type": "object",
                    "description": "A requirement on one label.",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string", "maxLength": 317, "description": "The label, at most 317 characters."},
                        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"], "description": "How the label's value relates to values."},
                        "values": {
                            "type": "array",
                            "maxItems": 64,
                            "items": {"type": "string", "maxLength": 63},
                            "description": "The values, for In and NotIn only, at most 64."
                        }
                    }
                }
            }
        }
    })
}
