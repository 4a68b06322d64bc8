//! Selector → targets, from the caches. Nothing here asks the API server.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::core::{PartialObjectMeta, Selector, SelectorExt};
use kube::runtime::watcher;
use kube::{Api, Client};
use prunella_core::target::{NotHealable, Object, OptOut, Target, Uid, Workload};

use crate::cache::{Cache, watch_config};
use crate::marks::{NamespaceMarks, longer, opt_out};
use crate::pod::{Part, SlimPod, Slimmer, controller_of};
use crate::workloads::Workloads;

/// The selectable world. Of most objects next to nothing is kept: pods, workloads, and
/// of the rest what is out of the ordinary.
#[derive(Debug)]
pub struct Targets {
    pods: Arc<Cache<Arc<SlimPod>>>,
    /// A replica set's own controller (the `Deployment` behind a pod), and its opt-out.
    replica_sets: Arc<Cache<(Option<Object>, Option<OptOut>)>>,
    /// The workloads that can be changed, and their autoscalers.
    workloads: Workloads,
    /// The namespaces with marks.
    namespaces: Arc<Cache<NamespaceMarks>>,
    /// The nodes that are not ready.
    not_ready: Arc<Cache<()>>,
}

/// What became of a workload from which a pod was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// How many of its pods were made since, and are ready.
    pub replacements: usize,
    /// How many were there before, and were not ready even then.
    pub unready_before: usize,
}

impl Targets {
    /// Empty caches.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pods: Cache::new("Pod"),
            replica_sets: Cache::new("ReplicaSet"),
            workloads: Workloads::new(),
            namespaces: Cache::new("Namespace"),
            not_ready: Cache::new("Node"),
        }
    }

    /// Follows the watches for as long as it is polled.
    ///
    /// Needs a client.
    pub async fn follow(&self, client: Client) {
        let pods = watcher(Api::<Pod>::all(client.clone()), watch_config());
        let slimmer = Slimmer::default();
        let pods = Arc::clone(&self.pods).follow(pods, |pod| slimmer.slim(pod), |_| {});
        let replica_sets = watcher(Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone()), watch_config());
        let of_set = |set: &PartialObjectMeta<ReplicaSet>| {
            Some((controller_of(set.metadata.owner_references.as_deref()), opt_out(set)))
        };
        let replica_sets = Arc::clone(&self.replica_sets).follow(replica_sets, of_set, |_| {});
        let namespaces = watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), watch_config());
        let namespaces = Arc::clone(&self.namespaces).follow(namespaces, NamespaceMarks::of, |_| {});
        let nodes = watcher(Api::<Node>::all(client.clone()), watch_config());
        let nodes = Arc::clone(&self.not_ready).follow(nodes, |node| (!is_ready(node)).then_some(()), |_| {});
        tokio::join!(pods, replica_sets, namespaces, nodes, self.workloads.follow(&client));
    }

    /// Waits until everything was listed once.
    pub async fn until_complete(&self) {
        self.pods.until_complete().await;
        self.replica_sets.until_complete().await;
        self.workloads.until_complete().await;
        self.namespaces.until_complete().await;
        self.not_ready.until_complete().await;
    }

    /// Whether everything was listed once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pods.is_complete()
            && self.replica_sets.is_complete()
            && self.workloads.is_complete()
            && self.namespaces.is_complete()
            && self.not_ready.is_complete()
    }

    /// Why somebody holds healing back in a namespace, in their words; `None` when nobody
    /// does.
    #[must_use]
    pub fn hold(&self, namespace: &str) -> Option<String> {
        self.namespaces.get("", namespace)?.held
    }

    /// The pods of `namespace` that `selector` chooses and that are not on their way
    /// out, in the order of their names. Those the cluster cannot do without are marked,
    /// unless they are meant.
    #[must_use]
    pub fn pods(&self, namespace: &str, selector: &Selector, system_critical: bool, now: Timestamp) -> Vec<Target> {
        let chosen = self.pods.select(namespace, |pod| {
            (selector.matches(pod.labels()) && !pod.is_terminating()).then(|| Arc::clone(pod))
        });
        let strangers = self.owners_of_others(namespace, selector);
        // Most pods of a selector are of one workload.
        let mut behind = None;
        let marked = |pod: &Arc<SlimPod>| {
            let mut target = self.target(namespace, pod, &strangers, &mut behind, now);
            if pod.is_system_critical() && !system_critical {
                target.not_healable.get_or_insert(NotHealable::SystemCritical);
            }
            target
        };
        chosen.iter().map(marked).collect()
    }

    /// The workloads of a kind, `Deployment`, `StatefulSet` or `DaemonSet`, that
    /// `selector` chooses, each with its pods.
    #[must_use]
    pub fn workloads(
        &self,
        namespace: &str,
        kind: &str,
        selector: &Selector,
        system_critical: bool,
        now: Timestamp,
    ) -> Vec<Target> {
        let mut targets = self.workloads.targets(namespace, kind, selector, system_critical, now);
        let pods = self.pods.select(namespace, |pod| (!pod.is_terminating()).then(|| Arc::clone(pod)));
        let owned: Vec<(Object, Object)> =
            pods.iter().filter_map(|pod| Some((self.top_controller(namespace, pod)?, pod.object()))).collect();
        let of_namespace = self.namespaces.get("", namespace).and_then(|marks| marks.opt_out);
        for target in &mut targets {
            let own = owned.iter().filter(|(owner, _)| owner.uid == target.object.uid);
            target.pods = own.map(|(_, pod)| pod.clone()).collect();
            target.opted_out = longer(target.opted_out, of_namespace);
        }
        targets
    }

    /// One pod as a target of a policy with this selector, as far as the caches know it.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str, selector: Option<&Selector>, now: Timestamp) -> Option<Target> {
        let pod = self.pods.get(namespace, name)?;
        let strangers = selector.map(|selector| self.owners_of_others(namespace, selector)).unwrap_or_default();
        Some(self.target(namespace, &pod, &strangers, &mut None, now))
    }

    /// What became of a workload from which the pod `target` was removed: how many of its
    /// pods are ready that were made since, and how many were not ready even before.
    #[must_use]
    pub fn replaced(&self, namespace: &str, workload: &Uid, target: &Uid, removed: Timestamp) -> Replaced {
        let part = |pod: &Arc<SlimPod>| match pod.part(target, removed) {
            Part::None => None,
            part => (self.top_controller(namespace, pod)?.uid == *workload).then_some(part),
        };
        let parts = self.pods.select(namespace, part);
        let count = |of| parts.iter().filter(|part| **part == of).count();
        Replaced { replacements: count(Part::Replacement), unready_before: count(Part::UnreadyBefore) }
    }

    /// The top controllers of the pods that `selector` does not choose: what is done to
    /// one of these as a whole is done to pods that nobody gave leave for.
    fn owners_of_others(&self, namespace: &str, selector: &Selector) -> BTreeSet<Uid> {
        let owner = |pod: &Arc<SlimPod>| {
            let other = !selector.matches(pod.labels()) && !pod.is_terminating();
            if other { Some(self.top_controller(namespace, pod)?.uid) } else { None }
        };
        self.pods.select(namespace, owner).into_iter().collect()
    }

    /// `behind` is the workload that was looked up last.
    fn target(
        &self,
        namespace: &str,
        pod: &SlimPod,
        strangers: &BTreeSet<Uid>,
        behind: &mut Option<Behind>,
        now: Timestamp,
    ) -> Target {
        let top = self.top_controller(namespace, pod);
        let owner_unknown = top.is_none() && pod.controller().is_some();
        let mut target = pod.target(top);
        if owner_unknown {
            target.not_healable.get_or_insert(NotHealable::OwnerUnknown);
        }
        let subject = &target.subject;
        let behind = match behind {
            Some(known) if known.uid == subject.uid => known,
            other => {
                let all_selected = !strangers.contains(&subject.uid);
                let (workload, opted_out) = self.workloads.get(namespace, subject, all_selected, now);
                let of_namespace = self.namespaces.get("", namespace).and_then(|marks| marks.opt_out);
                let opted_out = longer(opted_out, of_namespace);
                other.insert(Behind { uid: subject.uid.clone(), workload, opted_out })
            }
        };
        let of_owners = longer(self.controller_opt_out(namespace, pod), behind.opted_out);
        target.workload.clone_from(&behind.workload);
        target.opted_out = longer(target.opted_out, of_owners);
        target.not_healable = target.not_healable.or_else(|| self.node_not_ready(pod));
        target
    }

    fn top_controller(&self, namespace: &str, pod: &SlimPod) -> Option<Object> {
        let controller = pod.controller()?.clone();
        if controller.kind != "ReplicaSet" {
            return Some(controller);
        }
        // One that is not in the cache yet may belong to a Deployment: what was done to
        // that one's other pods must not be forgotten over it.
        let (above, _) = self.replica_sets.get(namespace, &controller.name)?;
        Some(above.unwrap_or(controller))
    }

    fn controller_opt_out(&self, namespace: &str, pod: &SlimPod) -> Option<OptOut> {
        let set = pod.controller().filter(|controller| controller.kind == "ReplicaSet")?;
        let (above, opt_out) = self.replica_sets.get(namespace, &set.name)?;
        // A Deployment copies its annotations to its replica sets and never takes them
        // back: there only its own word counts.
        if above.is_some() { None } else { opt_out }
    }

    fn node_not_ready(&self, pod: &SlimPod) -> Option<NotHealable> {
        self.not_ready.get("", pod.node()?).map(|()| NotHealable::NodeNotReady)
    }
}

/// What is known of a pod's workload, and the longer of its opt-out and its namespace's.
struct Behind {
    uid: Uid,
    workload: Option<Workload>,
    opted_out: Option<OptOut>,
}

impl Default for Targets {
    fn default() -> Self {
        Self::new()
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}
