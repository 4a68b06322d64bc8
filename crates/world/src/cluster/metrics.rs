//! What Prometheus scrapes: the app itself, cAdvisor, and kube-state-metrics.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;

use super::kubelet::Kubelet;
use crate::api_server::is_ready;
use crate::prometheus::Scraped;

/// The requests of all clients together, in a second.
const LOAD: f64 = 20.0;
const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Unknown", "Running"];

/// All samples of one scrape at `now`.
pub(super) fn scrape(pods: &[Pod], kubelet: &mut Kubelet, now: Timestamp) -> Vec<Scraped> {
    let mut all = Scrape { samples: Vec::new() };
    let serving = |pod: &&Pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
    let servers = pods.iter().filter(serving).map(|_| 1.0).sum::<f64>();
    let by_uid: BTreeMap<String, &Pod> = pods.iter().map(|pod| (pod.uid().unwrap_or_default(), pod)).collect();
    for (uid, app) in kubelet.running() {
        let Some(pod) = by_uid.get(uid) else { continue };
        app.count(now, if serving(pod) { LOAD / servers } else { 0.0 });
        let container = [("container", container(pod).map(|one| one.name.as_str()).unwrap_or_default())];
        all.add(pod, "container_memory_working_set_bytes", &container, app.memory(now));
        all.add(pod, "container_cpu_usage_seconds_total", &container, app.cpu_seconds);
        all.add(pod, "up", &[("job", "pods")], 1.0);
        for (code, count) in [("200", app.succeeded), ("500", app.failed), ("502", 0.0)] {
            all.add(pod, "http_requests_total", &[("code", code), ("method", "GET"), ("path", "/")], count.floor());
        }
    }
    for pod in pods {
        of_state(&mut all, pod);
    }
    all.samples
}

/// kube-state-metrics.
fn of_state(all: &mut Scrape, pod: &Pod) {
    let uid = pod.uid().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    for (condition, is) in [("true", is_ready(pod)), ("false", !is_ready(pod)), ("unknown", false)] {
        all.add(pod, "kube_pod_status_ready", &[("uid", &uid), ("condition", condition)], is.into());
    }
    for phase in PHASES {
        let is = status.phase.as_deref() == Some(phase);
        all.add(pod, "kube_pod_status_phase", &[("uid", &uid), ("phase", phase)], f64::from(u8::from(is)));
    }
    for container in status.container_statuses.iter().flatten() {
        let labels = [("uid", uid.as_str()), ("container", &container.name)];
        all.add(pod, "kube_pod_container_status_restarts_total", &labels, container.restart_count.into());
    }
    let limits = container(pod).and_then(|one| one.resources.clone()).and_then(|resources| resources.limits);
    for (resource, quantity) in limits.into_iter().flatten() {
        let unit = if resource == "cpu" { "core" } else { "byte" };
        let name = container(pod).map(|one| one.name.clone()).unwrap_or_default();
        let labels = [("uid", uid.as_str()), ("container", &name), ("resource", &resource), ("unit", unit)];
        all.add(pod, "kube_pod_container_resource_limits", &labels, number(&quantity.0));
    }
}

fn container(pod: &Pod) -> Option<&Container> {
    pod.spec.as_ref()?.containers.first()
}

/// A quantity as a number: `100m`, `256Mi`, `2`.
fn number(quantity: &str) -> f64 {
    let digits = quantity.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = quantity.get(digits.len()..).unwrap_or_default();
    let factor = match unit {
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => 1.0,
    };
    digits.parse::<f64>().unwrap_or_default() * factor
}

struct Scrape {
    samples: Vec<Scraped>,
}

impl Scrape {
    fn add(&mut self, pod: &Pod, metric: &'static str, more: &[(&str, &str)], value: f64) {
        let own = [("namespace", pod.namespace().unwrap_or_default()), ("pod", pod.name_any())];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.samples.push(Scraped { metric, labels: own.chain(more).collect(), value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers() {
        for (quantity, expected) in [("100m", 0.1), ("256Mi", 268_435_456.0), ("2", 2.0), ("1G", 1e9)] {
            assert!((number(quantity) - expected).abs() < 1e-9, "{quantity}");
        }
    }
}
