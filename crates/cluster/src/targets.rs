//! Selector → targets, from the caches. Nothing here sends a request.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::core::{PartialObjectMeta, Selector, SelectorExt};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use prunella_core::availability::Siblings;
use prunella_core::target::{NotHealable, Object, OptOut, Target, TargetWorkload, Uid};

use crate::cache::{Cache, watch_config};
use crate::marks::{NamespaceMarks, longer, opt_out};
use crate::owner::controller_of;
use crate::pod::{RemovalRole, SlimPod, Slimmer};
use crate::restartable::NodeLimit;
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
    nodes: Arc<Cache<NodeState>>,
}

/// The stored part of a watched node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NodeState {
    name: Arc<str>,
    is_ready: bool,
    /// Whether it takes new pods, as far as the node itself tells.
    takes_pods: bool,
}

/// The pods of a workload after an action has removed one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replaced {
    /// How many were created after the removal, and are ready.
    pub replacements: usize,
    /// How many were created before the removal, and are ready.
    pub ready_before: usize,
    /// How many were created before the removal, and have not been ready since before it.
    pub unready_before: usize,
    /// How many are on nodes that are not ready.
    pub on_dead: usize,
    /// The longest time that their startup probes let one of them take to start.
    pub startup: Option<SignedDuration>,
}

impl Replaced {
    /// Whether the workload has its Ready pods without the removed one, which is still ending.
    /// `wanted` is how many pods it asks for. `None`: unknown, and one replacement is enough.
    #[must_use]
    pub fn is_whole(self, wanted: Option<usize>) -> bool {
        let Some(wanted) = wanted else { return self.replacements > 0 };
        let ready = self.replacements.saturating_add(self.ready_before);
        let missing = wanted.saturating_sub(ready);
        missing == 0 || self.replaces(missing)
    }

    /// Whether a replacement is Ready, and the `missing` pods were not Ready before the removal
    /// either.
    #[must_use]
    pub fn replaces(self, missing: usize) -> bool {
        self.replacements > 0 && missing <= self.unready_before
    }
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
            nodes: Cache::new("Node"),
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
        let nodes = Arc::clone(&self.nodes).follow(nodes, |node| Some(NodeState::of(node)), |_| {});
        tokio::join!(pods, replica_sets, namespaces, nodes, self.workloads.follow(&client));
    }

    /// Waits until everything was listed once.
    pub async fn until_complete(&self) {
        self.pods.until_complete().await;
        self.replica_sets.until_complete().await;
        self.workloads.until_complete().await;
        self.namespaces.until_complete().await;
        self.nodes.until_complete().await;
    }

    /// Whether everything was listed once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pods.is_complete()
            && self.replica_sets.is_complete()
            && self.workloads.is_complete()
            && self.namespaces.is_complete()
            && self.nodes.is_complete()
    }

    /// The reason of the hold in a namespace. `None`: no hold.
    #[must_use]
    pub fn hold(&self, namespace: &str) -> Option<String> {
        self.namespaces.get("", namespace)?.held
    }

    /// The pods of `namespace` that `selector` matches, ordered by name. A pod that is being deleted is
    /// one of them only if it hangs: its series would otherwise name no target. Unless `system_critical` is true, pods with a system-critical priority class
    /// are marked as not healable.
    #[must_use]
    pub fn pods(&self, namespace: &str, selector: &Selector, system_critical: bool, now: Timestamp) -> Vec<Target> {
        let chosen = self
            .pods
            .select(namespace, |pod| (selector.matches(pod.labels()) && !pod.ends_soon(now)).then(|| Arc::clone(pod)));
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
        // One pass over the pods: a namespace may have thousands of pods and hundreds of workloads.
        let mut pods_of = HashMap::<Uid, Vec<Object>>::new();
        let (dead_nodes, mut on_dead) = (self.dead_nodes(), HashMap::<Uid, usize>::new());
        for pod in &pods {
            let Some(owner) = self.top_controller(namespace, pod) else { continue };
            if pod.node().is_some_and(|node| dead_nodes.contains(node)) {
                *on_dead.entry(owner.uid.clone()).or_default() += 1;
            }
            pods_of.entry(owner.uid).or_default().push(pod.object());
        }
        let of_namespace = self.namespaces.get("", namespace).and_then(|marks| marks.opt_out);
        for target in &mut targets {
            target.pods = pods_of.remove(&target.object.uid).unwrap_or_default();
            if let Some(workload) = &mut target.workload {
                let on_dead = on_dead.get(&target.object.uid).copied().unwrap_or(0);
                self.held_by_nodes(namespace, &target.object, workload, on_dead);
            }
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
        let dead_nodes = self.dead_nodes();
        let own = |pod: &Arc<SlimPod>| {
            let is_own = self.top_controller(namespace, pod)?.uid == *workload;
            let is_on_dead = pod.node().is_some_and(|node| dead_nodes.contains(node));
            is_own.then(|| (pod.role_after_removal(target, removed), is_on_dead, pod.startup()))
        };
        let pods = self.pods.select(namespace, own);
        let count = |of| pods.iter().filter(|(role, _, _)| *role == of).count();
        Replaced {
            replacements: count(RemovalRole::Replacement),
            ready_before: count(RemovalRole::ReadyBefore),
            unready_before: count(RemovalRole::UnreadyBefore),
            on_dead: pods.iter().filter(|(_, is_on_dead, _)| *is_on_dead).count(),
            startup: pods.iter().filter_map(|(_, _, startup)| *startup).max(),
        }
    }

    /// A pod of the workload that was created at `since` or later and is not Ready, and the cause.
    #[must_use]
    pub fn unready_since(&self, namespace: &str, workload: &Uid, since: Timestamp) -> Option<(Object, String)> {
        let unready = self.pods.select(namespace, |pod| {
            let trouble = pod.trouble_since(since)?.to_owned();
            (self.top_controller(namespace, pod)?.uid == *workload).then(|| (pod.object(), trouble))
        });
        unready.into_iter().next()
    }

    /// The facts about a workload, as the caches have them. `None`: it is not in the cache, or
    /// Prunella cannot change its kind.
    #[must_use]
    pub fn workload(&self, namespace: &str, workload: &Object, now: Timestamp) -> Option<TargetWorkload> {
        self.workloads.get(namespace, workload, true, now).0
    }

    /// The pods of a namespace by their top controller, and the top controllers of pods that the
    /// selector does not match: an action on one of those would touch pods that the policy does
    /// not select. One pass, because a namespace may have thousands of pods.
    fn owners(&self, namespace: &str, selector: Option<&Selector>) -> Owners {
        let pods = self.pods.select(namespace, |pod| Some(Arc::clone(pod)));
        let (mut unselected, mut siblings) = (BTreeSet::new(), HashMap::<Uid, Siblings>::new());
        let (dead_nodes, mut on_dead) = (self.dead_nodes(), HashMap::<Uid, usize>::new());
        for pod in &pods {
            let Some(Object { uid: owner, .. }) = self.top_controller(namespace, pod) else { continue };
            if !pod.is_terminating() && selector.is_some_and(|selector| !selector.matches(pod.labels())) {
                unselected.insert(owner.clone());
            }
            if pod.is_finished() {
                continue;
            }
            if pod.node().is_some_and(|node| dead_nodes.contains(node)) {
                *on_dead.entry(owner.clone()).or_default() += 1;
            }
            let siblings = siblings.entry(owner).or_default();
            siblings.unfinished.insert(pod.uid().clone());
            if pod.is_ready() && !pod.is_terminating() {
                siblings.ready.insert(pod.uid().clone());
            }
        }
        let siblings = siblings.into_iter().map(|(owner, siblings)| (owner, Arc::new(siblings))).collect();
        Owners { unselected, siblings, on_dead }
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
                let (mut workload, opted_out) = self.workloads.get(namespace, subject, all_selected, now);
                if let Some(workload) = &mut workload {
                    let on_dead = owners.on_dead.get(&subject.uid).copied().unwrap_or(0);
                    self.held_by_nodes(namespace, subject, workload, on_dead);
                }
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
        if controller.native_kind() != "ReplicaSet" {
            return Some(controller);
        }
        // A `ReplicaSet` that is not in the cache yet may belong to a `Deployment`. Without that
        // owner, the actions on the other pods of the `Deployment` would not count.
        let (above, _) = self.replica_sets.get(namespace, &controller.name)?;
        Some(above.unwrap_or(controller))
    }

    fn controller_opt_out(&self, namespace: &str, pod: &SlimPod) -> Option<OptOut> {
        let set = pod.controller().filter(|controller| controller.native_kind() == "ReplicaSet")?;
        let (above, opt_out) = self.replica_sets.get(namespace, &set.name)?;
        // A `Deployment` copies its annotations to its `ReplicaSet`s and never removes them
        // there. So only the annotation on the `Deployment` counts.
        if above.is_some() { None } else { opt_out }
    }

    fn node_not_ready(&self, pod: &SlimPod) -> Option<NotHealable> {
        let node = self.nodes.get("", pod.node()?)?;
        (!node.is_ready).then_some(NotHealable::NodeNotReady)
    }

    /// The names of the nodes that are not ready.
    fn dead_nodes(&self) -> BTreeSet<Arc<str>> {
        self.nodes.select("", |node| (!node.is_ready).then(|| Arc::clone(&node.name))).into_iter().collect()
    }

    /// Adds why a restart would hang for lack of nodes. `on_dead`: how many pods of the workload are
    /// on nodes that are not ready.
    fn held_by_nodes(&self, namespace: &str, subject: &Object, workload: &mut TargetWorkload, on_dead: usize) {
        let limit = self.workloads.node_limit(namespace, subject);
        if workload.restart_held.is_some() || limit == NodeLimit::None {
            return;
        }
        let replicas = workload.replicas.and_then(|replicas| usize::try_from(replicas).ok()).unwrap_or(0);
        let nodes = self.nodes.select("", |node| node.takes_pods.then_some(())).len();
        workload.restart_held = limit.holds(replicas, nodes, on_dead);
    }
}

/// The owners of a namespace's pods.
#[derive(Debug, Default)]
struct Owners {
    /// The owners of pods that the selector does not match.
    unselected: BTreeSet<Uid>,
    /// The pods of each owner.
    siblings: HashMap<Uid, Arc<Siblings>>,
    /// How many pods of each owner are on nodes that are not ready.
    on_dead: HashMap<Uid, usize>,
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

impl NodeState {
    fn of(node: &Node) -> Self {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        let is_ready = conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
        let is_cordoned = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
        Self { name: node.name_any().into(), is_ready, takes_pods: is_ready && !is_cordoned }
    }
}
