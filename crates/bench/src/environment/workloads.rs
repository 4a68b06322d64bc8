//! The names of the bench's namespaces and workloads, and their manifests.

use serde_json::{Value, json};

/// The namespace of the Deployments that get faults.
pub(crate) const TARGETS: &str = "bench";
/// How many Deployments get faults. Each has a policy and an alert of its own.
pub(crate) const TARGET_COUNT: usize = 10;
/// The namespace of the quiet policies, which never act, and the name of the
/// `StatefulSet` that they select.
pub(crate) const QUIET: &str = "bench-quiet";
/// How many pods the quiet policies select.
pub(crate) const QUIET_PODS: usize = 3;
/// The namespace of the pods that the controller only watches.
pub(crate) const WATCHED: &str = "bench-watched";

/// The names of the Deployments that get faults.
pub(crate) fn targets() -> impl Iterator<Item = String> {
    (0..TARGET_COUNT).map(|number| format!("target-{number}"))
}

/// All namespaces and workloads, as a `List`. Every container runs an image that does
/// nothing.
pub(super) fn manifests() -> Value {
    let mut objects = [TARGETS, QUIET, WATCHED]
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .to_vec();
    for name in targets() {
        let mut target = workload("Deployment", &name, TARGETS, 1);
        // The old pod disappears at once, so a fault does not wait for the one before.
        target["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(0);
        objects.push(target);
    }
    let mut quiet = workload("StatefulSet", QUIET, QUIET, QUIET_PODS);
    quiet["spec"]["podManagementPolicy"] = json!("Parallel");
    quiet["spec"]["serviceName"] = json!(QUIET);
    objects.push(quiet);
    json!({"apiVersion": "v1", "kind": "List", "items": objects})
}

fn workload(kind: &str, name: &str, namespace: &str, replicas: usize) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "pause", "image": "localhost/pause:1", "imagePullPolicy": "Never"}]},
            },
        },
    })
}
