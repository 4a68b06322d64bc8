//! Which field manager has written a field of an object last.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::ObjectMeta;
use prunella_api::FIELD_MANAGER;

/// The pod template, as `managedFields` names it.
pub(crate) const TEMPLATE: [&str; 2] = ["f:spec", "f:template"];
/// The number of replicas.
pub(crate) const REPLICAS: [&str; 2] = ["f:spec", "f:replicas"];
/// The minimum of an autoscaler.
pub(crate) const MIN_REPLICAS: [&str; 2] = ["f:spec", "f:minReplicas"];

/// The name that KEDA's operator writes with. It scales a workload to and from zero itself, without
/// a `HorizontalPodAutoscaler`.
const KEDA: &str = "keda";

/// The manager, other than Prunella, that wrote something below `path` last. A field that was
/// removed has no manager, so what is beside it tells.
pub(crate) fn changed_by(meta: &ObjectMeta, path: &[&str]) -> Option<String> {
    let others = entries(meta, path).filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER));
    others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0)).and_then(|entry| entry.manager.clone())
}

/// The tool, other than a `HorizontalPodAutoscaler`, that scales a workload.
pub(crate) fn scaled_by(meta: &ObjectMeta) -> Option<String> {
    let is_keda = |manager: &&String| manager.starts_with(KEDA);
    entries(meta, &REPLICAS).filter_map(|entry| entry.manager.as_ref()).find(is_keda).cloned()
}

fn entries<'a>(meta: &'a ObjectMeta, path: &'a [&str]) -> impl Iterator<Item = &'a ManagedFieldsEntry> {
    let owns = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        // The status belongs to the controllers.
        entry.subresource.as_deref() != Some("status")
            && path.iter().try_fold(fields, |at, name| Some(at?.get(name))).flatten().is_some()
    };
    meta.managed_fields.iter().flatten().filter(owns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn meta(entries: &Value) -> ObjectMeta {
        serde_json::from_value(json!({"name": "web", "managedFields": entries})).unwrap()
    }

    #[test]
    fn the_newest_manager_of_a_field_is_named() {
        let entry = |manager: &str, minute: u32, fields: Value| {
            json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                   "time": format!("2026-11-21T10:{minute:02}:00Z"), "fieldsV1": {"f:spec": fields}})
        };
        let all = meta(&json!([
            entry("kubectl", 1, json!({"f:replicas": {}, "f:template": {}})),
            entry("argocd-controller", 5, json!({"f:replicas": {}})),
            entry(FIELD_MANAGER, 9, json!({"f:replicas": {}, "f:template": {}})),
            entry("kubelet", 8, json!({"f:paused": {}})),
        ]));
        assert_eq!(changed_by(&all, &REPLICAS).as_deref(), Some("argocd-controller"));
        assert_eq!(changed_by(&all, &TEMPLATE).as_deref(), Some("kubectl"));
        assert_eq!(changed_by(&all, &MIN_REPLICAS), None);
        assert_eq!(scaled_by(&all), None);
        let keda = meta(&json!([entry("keda", 1, json!({"f:replicas": {}}))]));
        assert_eq!(scaled_by(&keda).as_deref(), Some("keda"));
    }
}
