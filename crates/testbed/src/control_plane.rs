//! etcd, the API server, the controller manager and the scheduler.

use crate::layout::{Layout, Place, SERVICE_CIDR};
use crate::options::Part;
use crate::plan::{Plan, flags, write_json};
use crate::process::Server;
use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

/// A node counts as failed after this; the default, 40 s, makes tests slow.
/// Kubelets renew their lease every 5 s here, see [`crate::node`].
const NODE_GRACE: &str = "20s";

/// The servers, in starting order.
#[must_use]
pub(crate) fn servers(plan: &Plan) -> Vec<Server> {
    let mut servers = vec![etcd(plan), api_server(plan)];
    if plan.options.has(Part::Controllers) {
        servers.extend([controller_manager(plan), scheduler(plan)]);
    }
    servers
}

fn etcd(plan: &Plan) -> Server {
    let hub = plan.layout.hub_ip();
    let (clients, peers) = ("http://127.0.0.1:2379".to_owned(), "http://127.0.0.1:2380".to_owned());
    let args = flags([
        ("name", "etcd".into()),
        ("data-dir", plan.layout.dir(Place::Hub).join("etcd").display().to_string()),
        ("listen-client-urls", clients.clone()),
        ("advertise-client-urls", clients),
        ("listen-peer-urls", peers.clone()),
        ("initial-advertise-peer-urls", peers.clone()),
        ("initial-cluster", format!("etcd={peers}")),
        ("listen-metrics-urls", format!("http://{hub}:2381")),
        // The data need not outlive the machine; a killed etcd loses nothing by it.
        ("unsafe-no-fsync", "true".into()),
        ("log-level", "warn".into()),
    ]);
    plan.in_hub("etcd", args, format!("http://{hub}:2381/health"))
}

fn api_server(plan: &Plan) -> Server {
    let layout = &plan.layout;
    let hub = layout.hub_ip();
    let mut args = flags([
        ("etcd-servers", "http://127.0.0.1:2379".into()),
        ("bind-address", hub.clone()),
        ("advertise-address", hub),
        ("secure-port", "6443".into()),
        ("tls-cert-file", plan.pki("server.crt")),
        ("tls-private-key-file", plan.pki("server.key")),
        ("client-ca-file", plan.pki("ca.crt")),
        ("authorization-mode", "Node,RBAC".into()),
        ("enable-admission-plugins", "NodeRestriction".into()),
        ("authentication-config", config(layout, "authentication.json")),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".into()),
        ("service-account-key-file", plan.pki("service-accounts.pub")),
        ("service-account-signing-key-file", plan.pki("service-accounts.key")),
        ("service-cluster-ip-range", SERVICE_CIDR.into()),
        ("allow-privileged", "true".into()),
        ("profiling", "false".into()),
    ]);
    args.extend(flags([
        ("kubelet-certificate-authority", plan.pki("ca.crt")),
        ("kubelet-client-certificate", plan.pki("server.crt")),
        ("kubelet-client-key", plan.pki("server.key")),
        // Node names resolve nowhere.
        ("kubelet-preferred-address-types", "InternalIP".into()),
        // The hub has no kube-proxy: webhooks are reached at their endpoints.
        ("enable-aggregator-routing", "true".into()),
        ("audit-policy-file", config(layout, "audit-policy.json")),
        ("audit-log-path", layout.audit_log().display().to_string()),
        ("audit-log-format", "json".into()),
        // Rotation would hide from a test what it asks for.
        ("audit-log-maxsize", "4096".into()),
    ]));
    let health = format!("{}/readyz", layout.api_url());
    plan.in_hub("kube-apiserver", args, health)
}

fn controller_manager(plan: &Plan) -> Server {
    let mut args = authenticated(plan, "kube-controller-manager");
    args.extend(flags([
        ("use-service-account-credentials", "true".into()),
        ("service-account-private-key-file", plan.pki("service-accounts.key")),
        ("root-ca-file", plan.pki("ca.crt")),
        ("allocate-node-cidrs", "false".into()),
        ("node-monitor-grace-period", NODE_GRACE.into()),
        ("node-monitor-period", "2s".into()),
    ]));
    let health = format!("https://{}:10257/healthz", plan.layout.hub_ip());
    plan.in_hub("kube-controller-manager", args, health)
}

fn scheduler(plan: &Plan) -> Server {
    let args = authenticated(plan, "kube-scheduler");
    let health = format!("https://{}:10259/healthz", plan.layout.hub_ip());
    plan.in_hub("kube-scheduler", args, health)
}

/// What the controller manager and the scheduler have in common.
fn authenticated(plan: &Plan, user: &str) -> Vec<String> {
    let kubeconfig = plan.kubeconfig(user);
    flags([
        ("kubeconfig", kubeconfig.clone()),
        ("authentication-kubeconfig", kubeconfig.clone()),
        ("authorization-kubeconfig", kubeconfig),
        ("bind-address", plan.layout.hub_ip()),
        ("tls-cert-file", plan.pki("server.crt")),
        ("tls-private-key-file", plan.pki("server.key")),
        ("leader-elect", "false".into()),
        ("profiling", "false".into()),
    ])
}

/// Writes the API server's two policies.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn configure(plan: &Plan) -> Result<()> {
    let health = ["/livez", "/readyz", "/healthz"].map(|path| json!({"path": path}));
    let authentication = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": true, "conditions": health},
    });
    write_json(&file(&plan.layout, "authentication.json"), &authentication)?;

    // Secret, or much and of no use to a test: heartbeats, elections, reviews.
    let without_body = json!([
        {"group": "", "resources": ["secrets", "serviceaccounts/token"]},
        {"group": "coordination.k8s.io"},
        {"group": "authentication.k8s.io"},
        {"group": "authorization.k8s.io"},
    ]);
    let audit = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "resources": without_body},
            {"level": "Metadata", "userGroups": ["system:nodes"]},
            {"level": "Metadata", "users": ["system:apiserver"]},
            {"level": "Request", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
            {"level": "Metadata"},
        ],
    });
    write_json(&file(&plan.layout, "audit-policy.json"), &audit)
}

fn file(layout: &Layout, name: &str) -> PathBuf {
    layout.dir(Place::Hub).join(name)
}

fn config(layout: &Layout, name: &str) -> String {
    file(layout, name).display().to_string()
}
