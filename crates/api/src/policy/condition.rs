//! `spec.condition`: when a target is unhealthy.

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::duration::at_most;

/// When a target is unhealthy.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.promql)").message("give exactly one kind of condition: promql")
)]
pub struct Condition {
    /// A PromQL expression. Every series it returns marks the target that it names as breached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<Promql>,
    /// How long the condition must be breached, in every evaluation, before the target is unhealthy and may be acted on. At most 24h. Default: 0s.
    #[x_kube(validation = at_most("24h").message("for must be at most 24h"))]
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub breach_for: Option<Duration>,
    /// How long a target must be clear, with evidence, before it counts as healthy again. At most 24h. Default: the larger of interval and the widest range in the query.
    #[x_kube(validation = at_most("24h").message("clearFor must be at most 24h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear_for: Option<Duration>,
    /// How to treat a target that has no data. Hold keeps its state and does nothing. Clear treats it as healthy. Default: Hold.
    #[serde(default)]
    pub on_no_data: OnNoData,
}

/// How to treat a target that has no data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    /// Keep its state and do nothing.
    #[default]
    Hold,
    /// Treat it as healthy.
    Clear,
}

/// A condition in `PromQL`.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promql {
    /// The expression, written like an alert's: it must filter with a comparison, so that every returned series means breached. The policy's namespace is added to every selector. At most 4096 characters.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// A query that returns a series for every target that has data, breached or not. Default: derived from query. Required if it cannot be derived. At most 4096 characters.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// How far back the query looks, at most 24h. A healed target may look unhealthy for that long, so verification waits for it. Default: the widest range in the query; a shorter value is ignored. Required, together with evidence, for a query that only the server understands. Set it if the query uses a recording rule: the range of the rule is not visible in the query.
    #[x_kube(validation = at_most("24h").message("signalWindow must be at most 24h: it says how far back the query looks"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_window: Option<Duration>,
    /// The server to ask. Default: the ClusterPrometheusSource named default.
    #[serde(default)]
    pub source: SourceReference,
}

/// A reference to a source.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReference {
    /// The kind of the source. Default: ClusterPrometheusSource, the only kind.
    #[serde(default)]
    pub kind: SourceKind,
    /// The name of the source, at most 253 characters. Default: default.
    #[serde(default = "default_source")]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn default_source() -> String {
    "default".to_owned()
}

impl Default for SourceReference {
    fn default() -> Self {
        Self { kind: SourceKind::default(), name: default_source() }
    }
}

/// The kinds of sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SourceKind {
    /// A Prometheus that policies of every namespace may query.
    #[default]
    ClusterPrometheusSource,
}
