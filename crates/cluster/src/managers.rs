//! Which field manager has written a field of an object last.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::ObjectMeta;
use prunella_api::FIELD_MANAGER;
use prunella_core::time::whole_seconds;

/// The pod template, as `managedFields` names it.
pub(crate) const TEMPLATE: [&str; 2] = ["f:spec", "f:template"];
/// The number of replicas.
pub(crate) const REPLICAS: [&str; 2] = ["f:spec", "f:replicas"];
/// The minimum of an autoscaler.
pub(crate) const MIN_REPLICAS: [&str; 2] = ["f:spec", "f:minReplicas"];

/// The name that KEDA's operator writes with. It scales a workload to and from zero itself, without
/// a `HorizontalPodAutoscaler`.
const KEDA: &str = "keda";

/// A client that has written a field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldWriter {
    /// The name of the field manager.
    pub manager: String,
    /// When it last wrote a field of the object, in whole seconds, by the API server's clock. `None`: it
    /// wrote the value that the field has now, at a time that is not known.
    pub at: Option<Timestamp>,
}

impl FieldWriter {
    /// The manager, if it has written since `start`, or if nobody knows when. Otherwise it has not
    /// written what was changed since then.
    #[must_use]
    pub fn since(self, start: Timestamp) -> Option<String> {
        let has_written = self.at.is_none_or(|at| at >= whole_seconds(start));
        has_written.then_some(self.manager)
    }
}

/// The client, other than Prunella, that wrote something below `path` last. A field that was
/// removed has no manager, so what is beside it tells.
pub(crate) fn changed_by(meta: &ObjectMeta, path: &[&str]) -> Option<FieldWriter> {
    let others = entries(meta, path).filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER));
    let writers = others.filter_map(|entry| {
        let at = entry.time.as_ref().map(|time| time.0);
        (at.is_some() || is_scale(entry)).then_some(FieldWriter { manager: entry.manager.clone()?, at })
    });
    writers.max_by_key(|writer| (writer.at.is_none(), writer.at))
}

/// Whether the entry is of `kubectl scale` or another client of the subresource `scale`. The API server
/// writes no time into a new one (`ScaleHandler.ToParent` in apimachinery). It owns the number of replicas
/// only. A write that changes this number takes it from all other managers, so the manager that owns it
/// wrote the value that it has now.
fn is_scale(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource.as_deref() == Some("scale")
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
    fn a_manager_is_named_if_it_wrote_the_field_since() {
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
        let since = |path: &[&str], start: &str| changed_by(&all, path)?.since(start.parse().unwrap());
        let replicas = |start| since(&REPLICAS, start);
        assert_eq!(replicas("2026-11-21T10:04:00Z").as_deref(), Some("argocd-controller"));
        assert_eq!(since(&TEMPLATE, "2026-11-21T10:01:00Z").as_deref(), Some("kubectl"));
        assert_eq!(since(&MIN_REPLICAS, "2026-11-21T10:01:00Z"), None);
        // The API server keeps whole seconds.
        assert_eq!(replicas("2026-11-21T10:05:00.9Z").as_deref(), Some("argocd-controller"));
        assert_eq!(replicas("2026-11-21T10:05:01Z"), None, "it wrote before, so it is not the one who changed it");
        assert_eq!(scaled_by(&all), None);
        let keda = meta(&json!([entry("keda", 1, json!({"f:replicas": {}}))]));
        assert_eq!(scaled_by(&keda).as_deref(), Some("keda"));
    }

    /// As the API server stores it after `kubectl scale`.
    #[test]
    fn a_manager_that_scaled_is_named_although_its_entry_has_no_time() {
        let all = meta(&json!([
            {"manager": "argocd-controller", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
             "time": "2026-11-21T10:05:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {}}}},
            {"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
             "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "old-client", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}},
        ]));
        let since = |path: &[&str]| changed_by(&all, path)?.since("2026-11-21T10:04:00Z".parse().unwrap());
        assert_eq!(since(&REPLICAS).as_deref(), Some("kubectl"));
        assert_eq!(since(&TEMPLATE).as_deref(), Some("argocd-controller"), "of a part of it, nobody knows when");
    }
}
