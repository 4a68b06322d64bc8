//! What every testbed's cluster holds from the start: Services for what runs
//! in the hub, with endpoints written by hand, and the rights of its users.

use crate::layout::DNS_SERVICE;
use crate::options::Part;
use crate::plan::Plan;
use serde_json::{Value, json};

/// One `List` for `kubectl apply`.
#[must_use]
pub(crate) fn all(plan: &Plan) -> Value {
    let mut items = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "testbed:reader"},
            "rules": [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
                {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
            ],
        }),
        bind("testbed:reader", &["prometheus", "kube-state-metrics", "coredns"]),
    ];
    let hub = plan.layout.hub_ip();
    if plan.options.has(Part::Coredns) {
        let ports = [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")];
        items.extend(service("kube-system", "kube-dns", Some(DNS_SERVICE), &hub, &ports));
    }
    if plan.options.has(Part::Prometheus) {
        items.extend(service("monitoring", "prometheus", None, &hub, &[("http", 9090, "TCP")]));
    }
    if plan.options.has(Part::KubeStateMetrics) {
        items.extend(service("monitoring", "kube-state-metrics", None, &hub, &[("http", 8080, "TCP")]));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn bind(role: &str, users: &[&str]) -> Value {
    let subjects: Vec<_> = users
        .iter()
        .map(|user| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}))
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}

/// A Service without a selector, and its endpoints.
fn service(
    namespace: &str,
    name: &str,
    cluster_ip: Option<&str>,
    endpoint: &str,
    ports: &[(&str, u16, &str)],
) -> [Value; 2] {
    let ports: Vec<_> =
        ports.iter().map(|(name, port, protocol)| json!({"name": name, "port": port, "protocol": protocol})).collect();
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ports": ports},
    });
    if let Some(ip) = cluster_ip {
        service["spec"]["clusterIP"] = json!(ip);
    }
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace, "name": format!("{name}-hub"),
            "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "testbed"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [endpoint], "conditions": {"ready": true}}],
        "ports": ports,
    });
    [service, endpoints]
}
