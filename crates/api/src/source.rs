//! `ClusterPrometheusSource`: the server that answers queries.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::{ListMerge, Rule};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::duration::between;

/// A Prometheus that policies of every namespace may query.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "prunella.dev",
    version = "v1alpha1",
    kind = "ClusterPrometheusSource",
    plural = "clusterprometheussources",
    shortname = "cpsrc",
    category = "healing",
    status = "ClusterPrometheusSourceStatus",
    derive = "PartialEq",
    doc = "A Prometheus server that policies of every namespace may query. A policy uses the source named default unless it names another.",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.url.startsWith('https://') || has(self.caBundle)").message("an https url needs caBundle: give the certificate authorities that signed the server's certificate, as PEM"),
    validation = Rule::new("!has(self.matchLabels) || self.matchLabels.all(label, label.matches('^[a-zA-Z_][a-zA-Z0-9_]*$') && label != '__name__' && self.matchLabels[label].size() > 0)").message("matchLabels takes label names and values that are not empty, for example cluster: prod"),
    validation = Rule::new("!has(self.bearerTokenSecret) || self.url.startsWith('https://')").message("bearerTokenSecret needs an https url: a token sent over http can be read on the network")
)]
pub struct ClusterPrometheusSourceSpec {
    /// The base URL of the server's HTTP API, without `/api/v1`. http or https, without user information, at most 1024 characters.
    #[schemars(regex(pattern = r"^https?://[^@\s]+$"), length(min = 8, max = 1024))]
    pub url: String,
    /// The interval at which this server scrapes its targets, from 1s to 1h. It determines how old a sample may be to count as fresh. Default: read from the server's configuration, or 1m if the server does not report it.
    #[x_kube(validation = between("1s", "1h").message("scrapeInterval must be between 1s and 1h: give the interval at which the server scrapes, or leave it out"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_interval: Option<Duration>,
    /// The certificate authorities that are trusted for an https url, as PEM, at most 65536 characters. Required with https, because the controller's image contains no certificates.
    #[schemars(length(min = 1, max = 65536))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// A Secret in the controller's own namespace with the token to send as `Authorization: Bearer`, over https only. The controller may read only the Secret named prunella-prometheus, and only if `deploy/kustomize/prometheus-token` is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_secret: Option<SecretKey>,
    /// The namespaces whose policies may use this source, at most 256. A name that ends in `*` allows every namespace that starts with it. Default: all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "allowed_namespaces_schema")]
    pub allowed_namespaces: Option<Vec<String>>,
    /// Labels that every series of this Kubernetes cluster has in this source, at most 16, for example `cluster: prod`. They are added to every selector of every query, so a series without them is not read. Required if the source has series of several clusters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "match_labels_schema")]
    pub match_labels: BTreeMap<String, String>,
    /// Whether the queries of a policy read series of its own namespace only. Default: Namespace.
    #[serde(default)]
    pub isolation: SourceIsolation,
    /// The labels that may hold the namespace of a series, 1 to 16. A policy uses the one in its target.namespaceLabel. Default: namespace. Add exported_namespace if kube-state-metrics is scraped without honorLabels. Every application that is scraped without honorLabels can set exported_namespace on its own series, so it can show false series to the policies that use the label.
    #[serde(default = "default_namespace_labels")]
    #[schemars(schema_with = "namespace_labels_schema")]
    pub namespace_labels: Vec<String>,
}

/// Whether queries are restricted to the namespace of their policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SourceIsolation {
    /// Every selector of a query gets the namespace of its policy.
    #[default]
    Namespace,
    /// Queries are sent as they are written. Everybody who can write a policy can read every series of the source. Only for a source with the data of one tenant: set allowedNamespaces with it.
    None,
}

fn default_namespace_labels() -> Vec<String> {
    vec!["namespace".to_owned()]
}

fn allowed_namespaces_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 256,
        "items": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[a-z0-9]?[-a-z0-9]*\*?$"}
    })
}

fn match_labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 256}
    })
}

fn namespace_labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "items": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^[a-zA-Z_][a-zA-Z0-9_]*$"}
    })
}

/// One key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The name of the Secret, at most 253 characters.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"), length(min = 1, max = 253))]
    pub name: String,
    /// The key in the Secret, at most 253 characters. Default: token.
    #[serde(default = "default_key")]
    #[schemars(regex(pattern = r"^[-._a-zA-Z0-9]+$"), length(min = 1, max = 253))]
    pub key: String,
}

fn default_key() -> String {
    "token".to_owned()
}

/// What the controller knows about a source.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPrometheusSourceStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The conditions of the source. Ready says whether it answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::condition::conditions_schema")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
