//! The app as a workload of each kind, and policies that act on the whole workload.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
pub(crate) use prunella_e2e::what;
use prunella_e2e::{PATIENCE, Room, eventually};
use serde_json::{Value, json};
use testbed::audit::Event;

/// The name of the policy in each test.
pub(crate) const POLICY: &str = "gauge";
/// The name of its only step.
pub(crate) const STEP: &str = "heal";

/// A workload of the app.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// The kind.
    pub(crate) kind: &'static str,
    /// The resource in the API server's log.
    pub(crate) resource: &'static str,
    /// Its name, which is also the label `app` of its pods.
    pub(crate) name: &'static str,
    manifest: &'static str,
}

pub(crate) const DEPLOYMENT: Workload = Workload {
    kind: "Deployment",
    resource: "deployments",
    name: "sample-app",
    manifest: "sample-app/deployment.yaml",
};

pub(crate) const STATEFUL_SET: Workload = Workload {
    kind: "StatefulSet",
    resource: "statefulsets",
    name: "sample-app-stateful",
    manifest: "sample-app/statefulset/statefulset.yaml",
};

/// The Deployment's pods, one on each of the two nodes.
pub(crate) const DAEMON_SET: Workload = Workload { kind: "DaemonSet", resource: "daemonsets", ..DEPLOYMENT };

/// The Deployment's pods without the Deployment.
pub(crate) const REPLICA_SET: Workload = Workload { kind: "ReplicaSet", resource: "replicasets", ..DEPLOYMENT };

impl Workload {
    /// Creates it with this number of replicas. Returns its pods when all are ready.
    pub(crate) async fn deploy(&self, room: &Room<'_>, replicas: usize) -> Result<Vec<Pod>> {
        let mut manifest = room.example(self.manifest)?;
        manifest["kind"] = json!(self.kind);
        let spec = manifest["spec"].as_object_mut().context("no spec")?;
        spec.insert("replicas".into(), json!(replicas));
        match self.kind {
            "DaemonSet" => spec.retain(|field, _| ["selector", "template"].contains(&field.as_str())),
            "ReplicaSet" => spec.retain(|field, _| ["selector", "template", "replicas"].contains(&field.as_str())),
            _ => {}
        }
        // So that tests do not wait for pods that are terminating.
        manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
        manifest["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(1);
        room.apply(&manifest).await?;
        self.ready_pods(room, replicas).await
    }

    /// Waits until it has this number of pods and all are ready.
    pub(crate) async fn ready_pods(&self, room: &Room<'_>, count: usize) -> Result<Vec<Pod>> {
        eventually(PATIENCE, &format!("{count} ready pods of {}", self.name), async || {
            let chosen = ListParams::default().labels(&format!("app={}", self.name));
            let mut pods = room.api::<Pod>().list(&chosen).await?.items;
            pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            ensure!((ready, pods.len()) == (count, count), "{ready} of {} pods are ready", pods.len());
            pods.sort_by_key(kube::ResourceExt::name_any);
            Ok(pods)
        })
        .await
    }

    /// A policy with one step, for its pods whose gauge is above 5.
    pub(crate) fn policy(&self, room: &Room<'_>, action: &Value) -> Value {
        let query = format!(r#"sample_app_gauge{{namespace="{}", pod=~"{}-.*"}} > 5"#, room.name(), self.name);
        let mut policy = room.policy(POLICY, &query);
        let spec = &mut policy["spec"];
        spec["target"]["selector"]["matchLabels"] = json!({"app": self.name});
        spec["steps"] = json!([{"name": STEP, "action": action, "verify": {"within": "2m"}}]);
        policy
    }
}

/// The controller's only write request for a workload.
pub(crate) fn one_write(room: &Room<'_>) -> Result<Event> {
    let mut writes = room.healing_writes()?;
    ensure!(writes.len() == 1, "the controller sent {writes:#?}");
    writes.pop().context("no write")
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}
