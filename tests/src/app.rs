//! The sample app in a test's namespace. It is healthy until a test simulates a fault.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::Value;

use crate::ground::repository;
use crate::room::Room;
use crate::wait::{PATIENCE, eventually};

const APP: &str = "app=sample-app";

impl Room<'_> {
    /// Creates the Deployment of `examples/sample-app` with this number of replicas. Returns its
    /// pods when all are ready.
    ///
    /// # Errors
    /// When they do not become ready.
    pub async fn deploy(&self, replicas: usize) -> Result<Vec<Pod>> {
        let mut deployment = self.example("sample-app/deployment.yaml")?;
        deployment["spec"]["replicas"] = replicas.into();
        self.apply(&deployment).await?;
        self.ready_pods(replicas).await
    }

    /// A manifest of `examples`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn example(&self, path: &str) -> Result<Value> {
        let path = repository("examples").join(path);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_yaml::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))
    }

    /// The app's pods that are not terminating, by name.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let pods = self.api::<Pod>().list(&ListParams::default().labels(APP)).await?;
        let mut pods: Vec<_> = pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// Waits until the app has this number of pods and all are ready.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn ready_pods(&self, count: usize) -> Result<Vec<Pod>> {
        eventually(PATIENCE, &format!("{count} ready pods of the app"), async || {
            let pods = self.pods().await?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            ensure!(ready == count && pods.len() == count, "{ready} of {} pods are ready", pods.len());
            Ok(pods)
        })
        .await
    }

    /// Simulates a fault, for example `gauge?value=10` or `memory-leak?rate=50Mi`.
    ///
    /// # Errors
    /// When the pod cannot be reached or refuses the request.
    pub async fn simulate(&self, pod: &Pod, fault: &str) -> Result<()> {
        let answer = self.ground.http.post(address(pod, &format!("/simulate/{fault}"))?).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "{fault} was answered {status}: {}", answer.text().await?);
        Ok(())
    }

    /// The metrics of a pod of the app, as text.
    ///
    /// # Errors
    /// When the pod cannot be reached.
    pub async fn metrics(&self, pod: &Pod) -> Result<String> {
        Ok(self.ground.http.get(address(pod, "/metrics")?).send().await?.error_for_status()?.text().await?)
    }
}

fn address(pod: &Pod, path: &str) -> Result<String> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
    Ok(format!("http://{}:8080{path}", ip.with_context(|| format!("{} has no address", pod.name_any()))?))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// The pod's name.
#[must_use]
pub fn name_of(pod: &Pod) -> String {
    pod.name_any()
}

/// The pod's uid.
#[must_use]
pub fn uid_of(pod: &Pod) -> String {
    pod.uid().unwrap_or_default()
}

/// How often the containers of the pod were restarted.
#[must_use]
pub fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    containers.map_or(0, |all| all.iter().map(|one| one.restart_count).sum())
}
