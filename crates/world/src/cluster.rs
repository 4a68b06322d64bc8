//! What runs in the cluster besides the controller: the controllers of `Deployment`s,
//! `ReplicaSet`s and disruption budgets, the scheduler, the kubelets, and the app in the pods.
//!
//! They look at the objects after every change and when one of them has something due, all at once:
//! the world has no slow controllers.

mod app;
mod deployments;
mod disruption;
mod kubelet;
mod metrics;
mod replica_sets;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use tokio::sync::Notify;

pub use app::Fault;

use crate::api_server::{ApiServer, is_ready};
use crate::chance::Chance;
use crate::prometheus::{PrometheusServer, Scraped};
use crate::time::WorldClock;
use kubelet::Kubelet;

/// The nodes.
const NODES: [&str; 2] = ["node-1", "node-2"];
/// When the first scrape is, after the start.
const FIRST_SCRAPE: Duration = Duration::from_millis(3_371);
/// More passes than any change needs until nothing changes any more.
const PASSES: u32 = 100;

/// The cluster. All copies are the same cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    server: ApiServer,
    clock: WorldClock,
    state: Arc<Mutex<ClusterState>>,
    /// Something has changed that is no object: an app has failed.
    disturbed: Arc<Notify>,
}

/// What the controllers of the cluster remember.
#[derive(Debug)]
struct ClusterState {
    chance: Chance,
    /// How many pods each `ReplicaSet` has created.
    created: BTreeMap<String, u64>,
    kubelet: Kubelet,
}

impl Cluster {
    /// A cluster with two nodes.
    pub(crate) fn new(server: ApiServer, clock: WorldClock, chance: Chance) -> Self {
        let state = ClusterState { chance, created: BTreeMap::new(), kubelet: Kubelet::new(chance) };
        let cluster = Self { server, clock, state: Arc::new(Mutex::new(state)), disturbed: Arc::default() };
        for name in NODES {
            let node = serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
            // A new server accepts it.
            let _ = cluster.server.apply("", &node);
        }
        for mut node in cluster.server.all::<k8s_openapi::api::core::v1::Node>() {
            let ready = serde_json::json!({"conditions": [{"type": "Ready", "status": "True"}]});
            node.status = serde_json::from_value(ready).ok();
            cluster.server.put(&node);
        }
        cluster
    }

    /// Runs the cluster for as long as it is polled.
    pub(crate) async fn run(&self) {
        loop {
            let (due, version) = (self.settle(), self.server.version());
            tokio::select! {
                () = self.server.cluster_changed_since(version) => {}
                () = self.disturbed.notified() => {}
                () = until(due, &self.clock) => {}
            }
        }
    }

    /// Scrapes all targets at the interval of `prometheus`, for as long as it is polled.
    pub(crate) async fn be_scraped(&self, prometheus: &PrometheusServer) {
        // Not at a full second, when everything else happens.
        tokio::time::sleep(FIRST_SCRAPE).await;
        loop {
            prometheus.store(self.clock.now(), self.metrics());
            tokio::time::sleep(prometheus.scrape_interval()).await;
        }
    }

    /// Causes a fault in the app of a pod.
    pub(crate) fn cause(&self, pod: &Pod, fault: Fault) {
        let now = self.clock.now();
        self.state().kubelet.cause(&pod.uid().unwrap_or_default(), fault, now);
        self.disturbed.notify_one();
    }

    /// Ends all faults.
    pub(crate) fn repair(&self) {
        self.state().kubelet.repair();
        self.disturbed.notify_one();
    }

    /// Lets every controller act until none has anything to do. Returns when one has.
    fn settle(&self) -> Option<Timestamp> {
        let mut state = self.state();
        let mut due = None;
        for _ in 0..PASSES {
            let before = self.server.version();
            deployments::reconcile(&self.server, state.chance);
            replica_sets::reconcile(&self.server, &mut state);
            schedule(&self.server, state.chance);
            due = state.kubelet.reconcile(&self.server, self.clock.now());
            disruption::reconcile(&self.server);
            if self.server.version() == before {
                break;
            }
        }
        due
    }

    fn metrics(&self) -> Vec<Scraped> {
        let pods: Vec<Pod> = self.server.all();
        metrics::scrape(&pods, &mut self.state().kubelet, self.clock.now())
    }

    fn state(&self) -> MutexGuard<'_, ClusterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn until(due: Option<Timestamp>, clock: &WorldClock) {
    match due {
        Some(due) => tokio::time::sleep_until(clock.instant(due)).await,
        None => std::future::pending().await,
    }
}

/// Gives each new pod a node.
fn schedule(server: &ApiServer, chance: Chance) {
    for mut pod in server.all::<Pod>() {
        let is_second = chance.number(&format!("node of {}", pod.name_any())).is_multiple_of(2);
        let Some(spec) = pod.spec.as_mut().filter(|spec| spec.node_name.is_none()) else { continue };
        spec.node_name = NODES.get(usize::from(is_second)).map(|&name| name.to_owned());
        server.put(&pod);
    }
}

/// Whether the object is controlled by the one with this uid.
fn is_owned_by(object: &impl ResourceExt, uid: &str) -> bool {
    object.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

fn owner<K: kube::Resource<DynamicType = ()>>(object: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Whether a pod counts for its workload.
fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// A number as the API counts.
fn count<T>(of: impl Iterator<Item = T>) -> i32 {
    i32::try_from(of.count()).unwrap_or(i32::MAX)
}

/// How many of the pods are Ready.
fn ready<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> i32 {
    count(pods.into_iter().filter(|pod| is_ready(pod)))
}
