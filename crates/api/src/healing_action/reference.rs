//! References to objects, by uid: an object of the same name is another object.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The policy that decided.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReference {
    /// The kind of the policy. Default: HealingPolicy, the only kind.
    #[serde(default)]
    pub kind: PolicyKind,
    /// The name of the policy, at most 40 characters. A HealingPolicy is in the same namespace as its actions.
    #[schemars(length(max = 40))]
    pub name: String,
    /// The uid of the policy, at most 64 characters.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The generation of the policy's spec at the time of the decision.
    pub generation: i64,
    /// A digest of the policy's condition, target and steps at the time of the decision, at most 64 characters.
    #[schemars(length(max = 64))]
    pub digest: String,
}

/// The kinds of policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyKind {
    /// A policy of one namespace.
    #[default]
    HealingPolicy,
}

impl PolicyKind {
    /// The kind as the Kubernetes API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HealingPolicy => "HealingPolicy",
        }
    }
}

/// A reference to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTarget {
    /// The API version of the object, for example `apps/v1`.
    pub api_version: String,
    /// The kind of the object.
    pub kind: String,
    /// The namespace of the object. Absent for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: String,
    /// The uid of the object.
    pub uid: String,
}

pub(super) fn target_schema(_: &mut SchemaGenerator) -> Schema {
    object_schema("target")
}

pub(super) fn subject_schema(_: &mut SchemaGenerator) -> Schema {
    object_schema("subject")
}

pub(crate) fn autoscaler_schema(_: &mut SchemaGenerator) -> Schema {
    object_schema("autoscaler")
}

/// The schema of an [`ActionTarget`], written out: a derived schema would describe target
/// and subject in the same words.
fn object_schema(whose: &str) -> Schema {
    let text = |what: &str, longest: u16, more: &str| {
        let description = format!("The {what} of the {whose}, at most {longest} characters.{more}");
        json!({"type": "string", "maxLength": longest, "description": description})
    };
    json_schema!({
        "type": "object",
        "required": ["apiVersion", "kind", "name", "uid"],
        "properties": {
            "apiVersion": text("API version", 317, ""),
            "kind": text("kind", 63, ""),
            "namespace": text("namespace", 63, " Absent for cluster-scoped objects."),
            "name": text("name", 253, ""),
            "uid": text("uid", 64, ""),
        },
    })
}
