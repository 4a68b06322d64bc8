//! Selector → targets, from the caches. Nothing here sends a request.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::core::{PartialObjectMeta, Selector, SelectorExt};
use kube::runtime::watcher;
use kube::{Api, Client};
use prunella_core::availability::Siblings;
use prunella_core::target::{NotHealable, Object, OptOut, Target, TargetWorkload, Uid};

use crate::cache::{Cache, watch_config};
use crate::marks::{NamespaceMarks, longer, opt_out};
use crate::pod::{RemovalRole, SlimPod, Slimmer, controller_of};
use crate::workloads::Workloads;

/// The caches of all objects that decisions read: every pod and workload, but only the
/// namespaces with marks and the nodes that are not ready.
#[derive(Debug)]
pub struct Targets {
    pods: Arc<Cache<Arc<SlimPod>>>,
    /// The controller of a `ReplicaSet`, for example a `Deployment`, and the opt-out on the
    /// `ReplicaSet`.
    replica_sets: Arc<Cache<(Option<Object>, Option<OptOut>)>>,
    /// The workloads that Prunella can change, and their autoscalers.
    workloads: Workloads,
    /// The namespaces with marks.
    namespaces: Arc<Cache<NamespaceMarks>>,
    /// The nodes that are not ready.
    not_ready: Arc<Cache<()>>,
}

/// The pods of a workload after an action has removed one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// How many were created after the removal, and are ready.
    pub replacements: usize,
    /// How many were created before the removal, and have not been ready since before it.
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

    /// The reason of the hold in a namespace. `None`: no hold.
    #[must_use]
    pub fn hold(&self, namespace: &str) -> Option<String> {
        self.namespaces.get("", namespace)?.held
    }

    /// The pods of `namespace` that `selector` matches and that are not being deleted, ordered
    /// by name. Unless `system_critical` is true, pods with a system-critical priority class
    /// are marked as not healable.
    #[must_use]
    pub fn pods(&self, namespace: &str, selector: &Selector, system_critical: bool, now: Timestamp) -> Vec<Target> {
        let chosen = self.pods.select(namespace, |pod| {
            (selector.matches(pod.labels()) && !pod.is_terminating()).then(|| Arc::clone(pod))
        });
        let owners = self.owners(namespace, Some(selector));
        // Most pods of a selector belong to one workload, so the last one is kept.
        let mut last_owner = None;
        let marked = |pod: &Arc<SlimPod>| {
            let mut target = self.target(namespace, pod, &owners, &mut last_owner, now);
            if pod.is_system_critical() && !system_critical {
                target.not_healable.get_or_insert(NotHealable::SystemCritical);
            }
            target
        };
        chosen.iter().map(marked).collect()
    }

    /// The workloads of a kind that `selector` matches, each with its pods. The kind is
    /// `Deployment`, `StatefulSet` or `DaemonSet`.
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

    /// One pod as a target of a policy with this selector. `None`: it is not in the cache.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str, selector: Option<&Selector>, now: Timestamp) -> Option<Target> {
        let pod = self.pods.get(namespace, name)?;
        let owners = self.owners(namespace, selector);
        Some(self.target(namespace, &pod, &owners, &mut None, now))
    }

    /// The pods of a workload after the pod `target` was removed. `removed` is the creation time
    /// of the action, by the API server's clock.
    #[must_use]
    pub fn replaced(&self, namespace: &str, workload: &Uid, target: &Uid, removed: Timestamp) -> Replaced {
        let role = |pod: &Arc<SlimPod>| match pod.role_after_removal(target, removed) {
            RemovalRole::Other => None,
            role => (self.top_controller(namespace, pod)?.uid == *workload).then_some(role),
        };
        let roles = self.pods.select(namespace, role);
        let count = |of| roles.iter().filter(|role| **role == of).count();
        Replaced { replacements: count(RemovalRole::Replacement), unready_before: count(RemovalRole::UnreadyBefore) }
    }

    /// The pods of a namespace by their top controller, and the top controllers of pods that the
    /// selector does not match: an action on one of those would touch pods that the policy does
    /// not select. One pass, because a namespace may have thousands of pods.
    fn owners(&self, namespace: &str, selector: Option<&Selector>) -> Owners {
        let pods = self.pods.select(namespace, |pod| Some(Arc::clone(pod)));
        let (mut unselected, mut siblings) = (BTreeSet::new(), HashMap::<Uid, Siblings>::new());
        for pod in &pods {
            let Some(Object { uid: owner, .. }) = self.top_controller(namespace, pod) else { continue };
            if !pod.is_terminating() && selector.is_some_and(|selector| !selector.matches(pod.labels())) {
                unselected.insert(owner.clone());
            }
            if pod.is_finished() {
                continue;
            }
            let siblings = siblings.entry(owner).or_default();
            siblings.unfinished.insert(pod.uid().clone());
            if pod.is_ready() && !pod.is_terminating() {
                siblings.ready.insert(pod.uid().clone());
            }
        }
        let siblings = siblings.into_iter().map(|(owner, siblings)| (owner, Arc::new(siblings))).collect();
        Owners { unselected, siblings }
    }

    /// One pod as a target. `last_owner` is the workload of the pod before it.
    fn target(
        &self,
        namespace: &str,
        pod: &SlimPod,
        owners: &Owners,
        last_owner: &mut Option<PodOwner>,
        now: Timestamp,
    ) -> Target {
        let top = self.top_controller(namespace, pod);
        let owner_unknown = top.is_none() && pod.controller().is_some();
        let mut target = pod.target(top);
        if owner_unknown {
            target.not_healable.get_or_insert(NotHealable::OwnerUnknown);
        }
        let subject = &target.subject;
        let owner = match last_owner {
            Some(known) if known.uid == subject.uid => known,
            other => {
                let all_selected = !owners.unselected.contains(&subject.uid);
                let (workload, opted_out) = self.workloads.get(namespace, subject, all_selected, now);
                let of_namespace = self.namespaces.get("", namespace).and_then(|marks| marks.opt_out);
                let opted_out = longer(opted_out, of_namespace);
                other.insert(PodOwner { uid: subject.uid.clone(), workload, opted_out })
            }
        };
        let of_owners = longer(self.controller_opt_out(namespace, pod), owner.opted_out);
        target.workload.clone_from(&owner.workload);
        target.siblings = owners.siblings.get(&target.subject.uid).cloned();
        target.opted_out = longer(target.opted_out, of_owners);
        target.not_healable = target.not_healable.or_else(|| self.node_not_ready(pod));
        target
    }

    fn top_controller(&self, namespace: &str, pod: &SlimPod) -> Option<Object> {
        let controller = pod.controller()?.clone();
        if controller.kind != "ReplicaSet" {
            return Some(controller);
        }
        // A `ReplicaSet` that is not in the cache yet may belong to a `Deployment`. Without that
        // owner, the actions on the other pods of the `Deployment` would not count.
        let (above, _) = self.replica_sets.get(namespace, &controller.name)?;
        Some(above.unwrap_or(controller))
    }

    fn controller_opt_out(&self, namespace: &str, pod: &SlimPod) -> Option<OptOut> {
        let set = pod.controller().filter(|controller| controller.kind == "ReplicaSet")?;
        let (above, opt_out) = self.replica_sets.get(namespace, &set.name)?;
        // A `Deployment` copies its annotations to its `ReplicaSet`s and never removes them
        // there. So only the annotation on the `Deployment` counts.
        if above.is_some() { None } else { opt_out }
    }

    fn node_not_ready(&self, pod: &SlimPod) -> Option<NotHealable> {
        self.not_ready.get("", pod.node()?).map(|()| NotHealable::NodeNotReady)
    }
}

/// The owners of a namespace's pods.
#[derive(Debug, Default)]
struct Owners {
    /// The owners of pods that the selector does not match.
    unselected: BTreeSet<Uid>,
    /// The pods of each owner.
    siblings: HashMap<Uid, Arc<Siblings>>,
}

/// The workload of a pod, and the longer opt-out of the workload and its namespace.
struct PodOwner {
    uid: Uid,
    workload: Option<TargetWorkload>,
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
