//! Prometheus, kube-state-metrics, and Alertmanager where it is asked for.
//!
//! Labels follow what people know from the usual cluster set-ups: pods
//! annotated `prometheus.io/scrape: "true"` (with `port` and `path`) get
//! `namespace`, `pod`, `node`; cAdvisor's metrics carry `namespace`, `pod`,
//! `container` of their own; kube-state-metrics keeps its labels.

use crate::layout::{Layout, Place};
use crate::options::{Extra, Part};
use crate::plan::{Plan, flags, write_json};
use crate::process::Server;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Prometheus 3.
#[must_use]
pub(crate) fn prometheus(plan: &Plan) -> Server {
    let hub = plan.layout.hub_ip();
    let mut args = flags([
        ("config.file", config(&plan.layout).display().to_string()),
        ("storage.tsdb.path", plan.layout.dir(Place::Hub).join("prometheus").display().to_string()),
        ("storage.tsdb.retention.time", "12h".into()),
        ("web.listen-address", format!("{hub}:9090")),
        ("log.level", "warn".into()),
    ]);
    // The lock file would outlive a kill; reload and remote write are for tests.
    args.extend(
        ["--storage.tsdb.no-lockfile", "--web.enable-lifecycle", "--web.enable-remote-write-receiver"]
            .map(String::from),
    );
    let health = format!("http://{hub}:9090/-/ready");
    plan.in_hub("prometheus", args, health)
}

/// kube-state-metrics.
#[must_use]
pub(crate) fn kube_state_metrics(plan: &Plan) -> Server {
    let hub = plan.layout.hub_ip();
    let args = flags([
        ("kubeconfig", plan.kubeconfig("kube-state-metrics")),
        ("host", hub.clone()),
        ("port", "8080".into()),
        ("telemetry-host", hub.clone()),
        ("telemetry-port", "8081".into()),
    ]);
    let health = format!("http://{hub}:8080/livez");
    plan.in_hub("kube-state-metrics", args, health)
}

/// Alertmanager, alone: it looks for no peers.
#[must_use]
pub(crate) fn alertmanager(plan: &Plan) -> Server {
    let hub = plan.layout.hub_ip();
    let args = flags([
        ("config.file", plan.layout.alertmanager_config().display().to_string()),
        ("storage.path", plan.layout.dir(Place::Hub).join("alertmanager").display().to_string()),
        ("web.listen-address", format!("{hub}:9093")),
        ("cluster.listen-address", String::new()),
        ("log.level", "warn".into()),
    ]);
    let health = format!("{}/-/ready", plan.layout.alertmanager_url());
    plan.in_hub("alertmanager", args, health)
}

/// Writes Prometheus' configuration, and Alertmanager's.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn configure(plan: &Plan) -> Result<()> {
    let hub = plan.layout.hub_ip();
    let mut jobs = vec![pods(plan), cadvisor(plan), api_server(plan)];
    jobs.push(json!({"job_name": "prometheus", "static_configs": [{"targets": [format!("{hub}:9090")]}]}));
    if plan.options.has(Part::KubeStateMetrics) {
        jobs.push(json!({
            "job_name": "kube-state-metrics",
            "honor_labels": true,
            "static_configs": [{"targets": [format!("{hub}:8080")]}],
        }));
    }
    if plan.options.has(Part::Coredns) {
        jobs.push(json!({"job_name": "coredns", "static_configs": [{"targets": [format!("{hub}:9153")]}]}));
    }
    let interval = &plan.options.scrape_interval;
    let (scrapes, rules) = (plan.layout.scrape_files(), plan.layout.rule_files());
    for folder in [&scrapes, &rules] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut config = json!({
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": jobs,
        "scrape_config_files": [scrapes.join("*.json")],
        "rule_files": [rules.join("*.json")],
    });
    if plan.options.asks_for(Extra::Alertmanager) {
        config["alerting"] = json!({"alertmanagers": [{"static_configs": [{"targets": [format!("{hub}:9093")]}]}]});
        let nobody = json!({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]});
        write_json(&plan.layout.alertmanager_config(), &nobody)?;
    }
    write_json(&self::config(&plan.layout), &config)
}

fn config(layout: &Layout) -> PathBuf {
    layout.dir(Place::Hub).join("prometheus.json")
}

fn pods(plan: &Plan) -> Value {
    let annotation = |name: &str| format!("__meta_kubernetes_pod_annotation_prometheus_io_{name}");
    json!({
        "job_name": "pods",
        "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": plan.kubeconfig("prometheus")}],
        "relabel_configs": [
            {"source_labels": [annotation("scrape")], "action": "keep", "regex": "true"},
            {"source_labels": ["__meta_kubernetes_pod_phase"], "action": "drop", "regex": "Pending|Succeeded|Failed"},
            {"source_labels": ["__meta_kubernetes_pod_container_init"], "action": "drop", "regex": "true"},
            {"source_labels": [annotation("path")], "target_label": "__metrics_path__", "regex": "(.+)"},
            {"source_labels": [annotation("scheme")], "target_label": "__scheme__", "regex": "(https?)"},
            {
                "source_labels": ["__meta_kubernetes_pod_ip", annotation("port")],
                "target_label": "__address__", "separator": ";", "regex": "(.+);([0-9]+)", "replacement": "$1:$2",
            },
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            {"source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "node"},
        ],
    })
}

fn cadvisor(plan: &Plan) -> Value {
    json!({
        "job_name": "kubelet-cadvisor",
        "scheme": "https",
        "metrics_path": "/metrics/cadvisor",
        "tls_config": tls(plan),
        // cAdvisor gives times of its own; without this a dead pod's last
        // value would stay for five minutes.
        "track_timestamps_staleness": true,
        "kubernetes_sd_configs": [{"role": "node", "kubeconfig_file": plan.kubeconfig("prometheus")}],
        "relabel_configs": [{"source_labels": ["__meta_kubernetes_node_name"], "target_label": "node"}],
    })
}

fn api_server(plan: &Plan) -> Value {
    json!({
        "job_name": "kube-apiserver",
        "scheme": "https",
        "tls_config": tls(plan),
        "static_configs": [{"targets": [format!("{}:6443", plan.layout.hub_ip())]}],
        // Nine tenths of the series, and nobody here asks for them.
        "metric_relabel_configs": [{"source_labels": ["__name__"], "action": "drop", "regex": ".*_bucket"}],
    })
}

fn tls(plan: &Plan) -> Value {
    json!({
        "ca_file": plan.pki("ca.crt"),
        "cert_file": plan.pki("prometheus.crt"),
        "key_file": plan.pki("prometheus.key"),
    })
}
