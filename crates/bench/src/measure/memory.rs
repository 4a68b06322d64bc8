//! Resident memory: without policies, with pods that are only watched, and with policies.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::console::Console;
use crate::environment::workloads::WATCHED;
use crate::environment::{Controller, Environment, policies};
use crate::machine;

/// The interval of the policies. Two cores can evaluate 10 000 policies at this interval,
/// and memory does not depend on it.
pub(crate) const INTERVAL: &str = "5m";
/// Memory counts as stable if it changes by no more than this share for [`STABLE_FOR`].
const STABLE_WITHIN: f64 = 0.01;
const STABLE_FOR: Duration = Duration::from_secs(10);
/// The time limit: memory is measured then even if it still grows.
const STABLE_BY: Duration = Duration::from_mins(1);
/// Concurrent requests to the API server.
const CONCURRENCY: usize = 16;

/// Resident memory in kB, including the pages of the program file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    /// A controller without policies that has listed the cluster.
    pub(crate) idle_kb: f64,
    /// The pages of the program file in that.
    pub(crate) program_kb: f64,
    /// How many pods were added for the next figure.
    pub(crate) pods: usize,
    /// The memory with these pods.
    pub(crate) with_pods_kb: f64,
    /// Numbers of policies, and the memory with them and the pods.
    pub(crate) policies: Vec<(usize, f64)>,
    /// A new process that starts with these pods and policies.
    pub(crate) restarted_kb: f64,
}

impl Memory {
    /// kB per watched pod.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn per_pod(&self) -> f64 {
        (self.with_pods_kb - self.idle_kb) / self.pods as f64
    }

    /// kB per policy, at the largest number of policies.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn per_policy(&self) -> f64 {
        self.policies.last().map_or(f64::NAN, |(count, kb)| (kb - self.with_pods_kb) / *count as f64)
    }
}

/// Measures memory. The pods and policies that it creates disappear with the testbed.
///
/// # Errors
/// An object cannot be created, or a server does not answer.
pub(crate) async fn measure(
    environment: &Environment,
    numbers: &[usize],
    pods: usize,
    console: &Console,
) -> Result<Memory> {
    environment.prometheus.configure(0, 0).await?;
    let controller = environment.restart_controller().await?;
    let idle_kb = until_stable(&controller).await?;
    let program_kb = machine::program_kb(controller.pid)?;
    console.print(&format!("{:.1} MB resident without policies; creating {pods} pods", idle_kb / 1000.0));
    create_pods(environment, pods).await?;
    let with_pods_kb = until_stable(&controller).await?;
    console.print(&format!("{:.1} MB with {pods} pods", with_pods_kb / 1000.0));
    let mut measured = Vec::new();
    let mut existing = 0;
    for &number in numbers {
        let before = environment.evaluations(&controller).await?;
        let query = policies::quiet_query;
        policies::create_quiet(&environment.client, existing..number, INTERVAL, query, console).await?;
        environment.until_evaluated(&controller, before, number - existing).await?;
        existing = number;
        let kb = until_stable(&controller).await?;
        console.print(&format!("{:.1} MB with {number} policies", kb / 1000.0));
        measured.push((number, kb));
    }
    let controller = environment.restart_controller().await?;
    environment.until_evaluated(&controller, 0.0, existing).await?;
    let restarted_kb = until_stable(&controller).await?;
    console.print(&format!("{:.1} MB for a new process with the same policies and pods", restarted_kb / 1000.0));
    Ok(Memory { idle_kb, program_kb, pods, with_pods_kb, policies: measured, restarted_kb })
}

/// The memory as soon as it is stable.
async fn until_stable(controller: &Controller) -> Result<f64> {
    let by = Instant::now() + STABLE_BY;
    let (mut since, mut at) = (Instant::now(), machine::resident_kb(controller.pid)?);
    while since.elapsed() < STABLE_FOR && Instant::now() < by {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = machine::resident_kb(controller.pid)?;
        if (now - at).abs() > at * STABLE_WITHIN {
            (since, at) = (Instant::now(), now);
        }
    }
    machine::resident_kb(controller.pid)
}

/// Creates pods that never run: a scheduling gate keeps them from every node.
async fn create_pods(environment: &Environment, count: usize) -> Result<()> {
    let owners: Api<ConfigMap> = Api::namespaced(environment.client.clone(), WATCHED);
    let owner = json!({"metadata": {"name": "watched"}});
    let owner: ConfigMap = serde_json::from_value(owner)?;
    let owner = owners.create(&PostParams::default(), &owner).await.context("cannot create the pods' owner")?;
    let uid = owner.uid().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(environment.client.clone(), WATCHED);
    stream::iter(0..count)
        .map(|number| {
            let (api, uid) = (api.clone(), uid.clone());
            async move {
                let pod: Pod = serde_json::from_value(pod(number, &uid))?;
                api.create(&PostParams::default(), &pod).await.context("cannot create a pod")?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// A pod with typical labels and a typical owner.
fn pod(number: usize, owner: &str) -> serde_json::Value {
    json!({
        "metadata": {
            "name": format!("watched-7d9f8b6c54-{number:05}"),
            "labels": {
                "app.kubernetes.io/name": "watched", "app.kubernetes.io/instance": format!("watched-{}", number % 50),
                "app.kubernetes.io/part-of": "bench", "pod-template-hash": "7d9f8b6c54",
            },
            // Any kind whose controller does not delete pods.
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "watched", "uid": owner, "controller": true},
            ],
        },
        "spec": {
            "schedulingGates": [{"name": "bench.prunella.dev/never"}],
            "containers": [{
                "name": "main", "image": "localhost/pause:1",
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            }],
        },
    })
}
