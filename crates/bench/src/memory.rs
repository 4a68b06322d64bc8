//! Resident memory: of nothing, of pods that are only watched, of policies.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::json;

use crate::console::Console;
use crate::ground::{CROWD, Controller, Ground};
use crate::{policies, proc, prometheus};

/// How often policies are judged while they are counted by the thousand: two cores bear
/// ten thousand of them at this, and memory does not depend on it.
pub(crate) const INTERVAL: &str = "5m";
/// Memory counts as settled when it has stayed within this share for [`SETTLED_FOR`].
const SETTLED_WITHIN: f64 = 0.01;
const SETTLED_FOR: Duration = Duration::from_secs(10);
/// A process that goes on growing is measured after this.
const SETTLED_BY: Duration = Duration::from_mins(1);
/// Requests to the API server at once.
const AT_ONCE: usize = 16;

/// Resident memory in kB, the program's own pages included.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    /// A process that has listed the world and has nothing to do.
    pub(crate) idle_kb: f64,
    /// Of that, the pages of the program's file.
    pub(crate) program_kb: f64,
    /// How many pods there were more for the next figure.
    pub(crate) pods: usize,
    /// The same with the pods.
    pub(crate) with_pods_kb: f64,
    /// Numbers of policies, on top of the pods, and the memory then.
    pub(crate) policies: Vec<(usize, f64)>,
    /// A new process that finds pods and policies there.
    pub(crate) restarted_kb: f64,
}

impl Memory {
    /// kB for each pod that is watched.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn per_pod(&self) -> f64 {
        (self.with_pods_kb - self.idle_kb) / self.pods as f64
    }

    /// kB for each policy, by the largest number of them.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn per_policy(&self) -> f64 {
        self.policies.last().map_or(f64::NAN, |(count, kb)| (kb - self.with_pods_kb) / *count as f64)
    }
}

/// Measures all of it. What it creates goes with the testbed.
///
/// # Errors
/// When something cannot be created or asked.
pub(crate) async fn measure(ground: &Ground, numbers: &[usize], pods: usize, console: &Console) -> Result<Memory> {
    prometheus::configure(ground, 0, 0).await?;
    let controller = ground.restart_controller().await?;
    let idle_kb = settled(&controller).await?;
    let program_kb = proc::program_kb(controller.pid)?;
    console.say(&format!("{:.1} MB resident with nothing to do; creating {pods} pods", idle_kb / 1000.0));
    crowd(ground, pods).await?;
    let with_pods_kb = settled(&controller).await?;
    console.say(&format!("{:.1} MB with {pods} pods", with_pods_kb / 1000.0));
    let mut measured = Vec::new();
    let mut there = 0;
    for &number in numbers {
        let before = ground.evaluations(&controller).await?;
        let query = policies::quiet_query;
        policies::create_quiet(&ground.client, there..number, INTERVAL, query, console).await?;
        ground.until_evaluated(&controller, before, number - there).await?;
        there = number;
        let kb = settled(&controller).await?;
        console.say(&format!("{:.1} MB with {number} policies", kb / 1000.0));
        measured.push((number, kb));
    }
    let controller = ground.restart_controller().await?;
    ground.until_evaluated(&controller, 0.0, there).await?;
    let restarted_kb = settled(&controller).await?;
    console.say(&format!("{:.1} MB for a new process that finds them there", restarted_kb / 1000.0));
    Ok(Memory { idle_kb, program_kb, pods, with_pods_kb, policies: measured, restarted_kb })
}

/// The memory when it no longer changes.
async fn settled(controller: &Controller) -> Result<f64> {
    let by = Instant::now() + SETTLED_BY;
    let (mut since, mut at) = (Instant::now(), proc::resident_kb(controller.pid)?);
    while since.elapsed() < SETTLED_FOR && Instant::now() < by {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = proc::resident_kb(controller.pid)?;
        if (now - at).abs() > at * SETTLED_WITHIN {
            (since, at) = (Instant::now(), now);
        }
    }
    proc::resident_kb(controller.pid)
}

/// Pods as objects alone: a scheduling gate keeps them from any node.
async fn crowd(ground: &Ground, count: usize) -> Result<()> {
    let owners: Api<ConfigMap> = Api::namespaced(ground.client.clone(), CROWD);
    let owner = json!({"metadata": {"name": "crowd"}});
    let owner: ConfigMap = serde_json::from_value(owner)?;
    let owner = owners.create(&PostParams::default(), &owner).await.context("cannot create the pods' owner")?;
    let uid = owner.uid().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(ground.client.clone(), CROWD);
    stream::iter(0..count)
        .map(|number| {
            let (api, uid) = (api.clone(), uid.clone());
            async move {
                let pod: Pod = serde_json::from_value(pod(number, &uid))?;
                api.create(&PostParams::default(), &pod).await.context("cannot create a pod")?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// With the labels and the owner that most pods have.
fn pod(number: usize, owner: &str) -> serde_json::Value {
    json!({
        "metadata": {
            "name": format!("crowd-7d9f8b6c54-{number:05}"),
            "labels": {
                "app.kubernetes.io/name": "crowd", "app.kubernetes.io/instance": format!("crowd-{}", number % 50),
                "app.kubernetes.io/part-of": "bench", "pod-template-hash": "7d9f8b6c54",
            },
            // Any kind will do that looks after no pods.
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "crowd", "uid": owner, "controller": true},
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
