//! The sample app under load, and the five policies for it.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{PATIENCE, Room, eventually, repository};
use serde_json::Value;

use crate::rules;

/// As many replicas as in the example. With fewer, one unhealthy pod may already be a storm.
const REPLICAS: usize = 3;

/// A folder of policies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Folder {
    pub(crate) path: &'static str,
}

/// The policies with their real thresholds.
pub(crate) const CLASSIC: Folder = Folder { path: "policies" };

/// Creates the app with its load and all five policies. Returns the app's pods when Prometheus
/// has samples of each, and the query of every policy finds series.
pub(crate) async fn governed(room: &Room<'_>, folder: Folder) -> Result<Vec<Pod>> {
    for part in ["service", "load"] {
        room.apply(&room.example(&format!("sample-app/{part}.yaml"))?).await?;
    }
    let pods = room.deploy(REPLICAS).await?;
    for rule in rules::ALL {
        room.apply(&policy(folder, rule.name)?).await?;
    }
    for rule in rules::ALL {
        room.until_evaluated(rule.name).await?;
    }
    until_sampled(room).await?;
    Ok(pods)
}

/// A policy of the examples. It names no namespace, so it is about the one that it is applied to.
fn policy(folder: Folder, name: &str) -> Result<Value> {
    let path = repository("examples").join(folder.path).join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(!text.contains("namespace=\""), "the query in {} names a namespace", path.display());
    serde_yaml::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))
}

/// Waits until Prometheus has the metrics of each pod that the rules use: two samples of a
/// counter, because one that is high from its first sample on never increased.
async fn until_sampled(room: &Room<'_>) -> Result<()> {
    let of = format!(r#"namespace="{}", container="sample-app""#, room.name());
    for query in [
        format!("container_memory_working_set_bytes{{{of}}}"),
        format!("rate(container_cpu_usage_seconds_total{{{of}}}[1m])"),
        format!("increase(kube_pod_container_status_restarts_total{{{of}}}[1m])"),
        format!(r#"sum by (pod) (rate(http_requests_total{{namespace="{}"}}[1m])) > 0"#, room.name()),
    ] {
        eventually(PATIENCE, &format!("every pod in {query}"), async || {
            let series = room.ground.ask(&query).await?;
            ensure!(series.len() == REPLICAS, "there are {} series", series.len());
            Ok(())
        })
        .await?;
    }
    Ok(())
}
