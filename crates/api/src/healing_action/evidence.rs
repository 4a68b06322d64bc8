//! What was observed that led to a decision.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was observed. Exactly one kind of evidence is given.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.promql)").message("give exactly one kind of evidence: promql"))]
pub struct ActionEvidence {
    /// Since when the target had been unhealthy.
    pub since: Time,
    /// When the newest answer was received.
    pub observed_at: Time,
    /// The answer of a PromQL query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<PromqlEvidence>,
}

/// The answer of a `PromQL` query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromqlEvidence {
    /// The query, at most 4096 characters.
    #[schemars(length(max = 4096))]
    pub query: String,
    /// The value of the worst series that named the target, as a decimal number of at most 32 characters.
    #[schemars(length(max = 32))]
    pub value: String,
    /// The labels of that series, at most 64.
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
}
