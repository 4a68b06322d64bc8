//! The sample app under load, and the five policies for it.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{PATIENCE, Room, eventually, repository};
use serde_json::Value;

use crate::rules;

/// As many copies as the example has: with fewer, one sick copy is a storm soon.
const COPIES: usize = 3;

/// Where a folder's policies say that the app lives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Folder {
    pub(crate) path: &'static str,
    pub(crate) namespace: &'static str,
}

/// The classic numbers.
pub(crate) const CLASSIC: Folder = Folder { path: "policies", namespace: "demo" };

/// Lays out the app with its load and all five policies; the app's pods when Prometheus
/// knows all of each, and every policy finds what it asks for.
pub(crate) async fn governed(room: &Room<'_>, folder: Folder) -> Result<Vec<Pod>> {
    for part in ["service", "load"] {
        room.apply(&room.example(&format!("sample-app/{part}.yaml"))?).await?;
    }
    let pods = room.deploy(COPIES).await?;
    for rule in rules::ALL {
        room.apply(&policy(room, folder, rule.name)?).await?;
    }
    for rule in rules::ALL {
        room.until_judged(rule.name).await?;
    }
    until_known(room).await?;
    Ok(pods)
}

/// A policy of the examples, for the app in this room.
fn policy(room: &Room<'_>, folder: Folder, name: &str) -> Result<Value> {
    let path = repository("examples").join(folder.path).join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let pinned = format!(r#"namespace="{}""#, folder.namespace);
    ensure!(text.contains(&pinned), "{} is not pinned to {}", path.display(), folder.namespace);
    let here = text.replace(&pinned, &format!(r#"namespace="{}""#, room.name()));
    serde_yaml::from_str(&here).with_context(|| format!("{} is no YAML", path.display()))
}

/// Waits until Prometheus has of each copy what the rules ask about: of a counter two
/// samples, for what is high from its first sample on never increased.
async fn until_known(room: &Room<'_>) -> Result<()> {
    let of = format!(r#"namespace="{}", container="sample-app""#, room.name());
    for known in [
        format!("container_memory_working_set_bytes{{{of}}}"),
        format!("rate(container_cpu_usage_seconds_total{{{of}}}[1m])"),
        format!("increase(kube_pod_container_status_restarts_total{{{of}}}[1m])"),
        format!(r#"sum by (pod) (rate(http_requests_total{{namespace="{}"}}[1m])) > 0"#, room.name()),
    ] {
        eventually(PATIENCE, &format!("every copy in {known}"), async || {
            let series = room.ground.ask(&known).await?;
            ensure!(series.len() == COPIES, "there are {}", series.len());
            Ok(())
        })
        .await?;
    }
    Ok(())
}
