//! What the API server makes of an object of a built-in kind: it keeps the fields that it knows, and
//! shows the numbers of some statuses also where they are zero.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::kinds::Kind;
use super::refusal::Refusal;

/// Fields of a status that are shown although nobody has set them, because the types of the API
/// server cannot leave them out.
const SHOWN: [(&str, &[&str]); 5] = [
    ("StatefulSet", &["replicas", "availableReplicas"]),
    ("ReplicaSet", &["replicas"]),
    ("DaemonSet", &["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"]),
    ("PodDisruptionBudget", &["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"]),
    ("HorizontalPodAutoscaler", &["desiredReplicas"]),
];

/// Reads the object as its type, and sets what every object of its kind has.
///
/// # Errors
/// 400: a field has another type.
pub(super) fn complete(kind: &Kind, object: &mut Value) -> Result<(), Refusal> {
    *object = match kind.name.as_str() {
        "Namespace" => read::<Namespace>(kind, object)?,
        "Node" => read::<Node>(kind, object)?,
        "Pod" => read::<Pod>(kind, object)?,
        "Secret" => read::<Secret>(kind, object)?,
        "Deployment" => read::<Deployment>(kind, object)?,
        "ReplicaSet" => read::<ReplicaSet>(kind, object)?,
        "StatefulSet" => read::<StatefulSet>(kind, object)?,
        "DaemonSet" => read::<DaemonSet>(kind, object)?,
        "HorizontalPodAutoscaler" => read::<HorizontalPodAutoscaler>(kind, object)?,
        "Lease" => read::<Lease>(kind, object)?,
        "Event" => read::<Event>(kind, object)?,
        "PodDisruptionBudget" => read::<PodDisruptionBudget>(kind, object)?,
        _ => return Ok(()),
    };
    let Some(fields) = object.as_object_mut() else { return Ok(()) };
    if kind.name == "Lease" {
        fields.entry("spec").or_insert_with(|| json!({}));
    }
    if !kind.has_status {
        return Ok(());
    }
    let status = fields.entry("status").or_insert_with(|| json!({}));
    let shown = SHOWN.iter().find(|(of, _)| *of == kind.name).map_or(&[][..], |(_, shown)| shown);
    if let Some(status) = status.as_object_mut() {
        for field in shown {
            status.entry(*field).or_insert(json!(0));
        }
        if kind.name == "HorizontalPodAutoscaler" {
            status.entry("currentMetrics").or_insert(Value::Null);
        }
    }
    Ok(())
}

fn read<K: DeserializeOwned + Serialize>(kind: &Kind, object: &Value) -> Result<Value, Refusal> {
    let read = K::deserialize(object).and_then(serde_json::to_value);
    read.map_err(|error| {
        Refusal::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {error}",
            kind.name, kind.version, kind.name
        ))
    })
}
