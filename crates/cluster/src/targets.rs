//! Selector → targets, from the caches. Nothing here asks the API server.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::core::{PartialObjectMeta, Selector, SelectorExt};
use kube::runtime::watcher;
use kube::{Api, Client};
use prunella_core::target::{Object, Target};

use crate::cache::{Cache, watch_config};
use crate::pod::{SlimPod, controller_of};

/// The selectable world.
#[derive(Debug)]
pub struct Targets {
    pods: Arc<Cache<SlimPod>>,
    /// A replica set's own controller: the `Deployment` behind a pod.
    replica_sets: Arc<Cache<Option<Object>>>,
}

impl Targets {
    /// Empty caches.
    #[must_use]
    pub fn new() -> Self {
        Self { pods: Cache::new("Pod"), replica_sets: Cache::new("ReplicaSet") }
    }

    /// Follows the watches for as long as it is polled.
    ///
    /// Needs a client.
    pub async fn follow(&self, client: Client) {
        let pods = watcher(Api::<Pod>::all(client.clone()), watch_config());
        let replica_sets = watcher(Api::<PartialObjectMeta<ReplicaSet>>::all(client), watch_config());
        let pods = Arc::clone(&self.pods).follow(pods, SlimPod::of, |_| {});
        let replica_sets = Arc::clone(&self.replica_sets).follow(
            replica_sets,
            |set: &PartialObjectMeta<ReplicaSet>| Some(controller_of(set.metadata.owner_references.as_deref())),
            |_| {},
        );
        tokio::join!(pods, replica_sets);
    }

    /// Waits until everything was listed once.
    pub async fn until_complete(&self) {
        self.pods.until_complete().await;
        self.replica_sets.until_complete().await;
    }

    /// Whether everything was listed once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pods.is_complete() && self.replica_sets.is_complete()
    }

    /// The pods of `namespace` that `selector` chooses and that are not on their way
    /// out, in the order of their names.
    #[must_use]
    pub fn pods(&self, namespace: &str, selector: &Selector) -> Vec<Target> {
        let chosen = self
            .pods
            .select(namespace, |pod| (selector.matches(pod.labels()) && !pod.is_terminating()).then(|| pod.clone()));
        chosen.iter().map(|pod| pod.target(self.top_controller(namespace, pod))).collect()
    }

    fn top_controller(&self, namespace: &str, pod: &SlimPod) -> Option<Object> {
        let controller = pod.controller()?.clone();
        if controller.kind != "ReplicaSet" {
            return Some(controller);
        }
        let above = self.replica_sets.get(namespace, &controller.name).flatten();
        Some(above.unwrap_or(controller))
    }
}

impl Default for Targets {
    fn default() -> Self {
        Self::new()
    }
}
