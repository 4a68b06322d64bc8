//! Whether a change of the pod template replaces all pods of a workload, as far as the workload
//! itself tells.
//!
//! Harmful case: the new pod waits for the old one, and the old one for the new one. The rollout
//! hangs for hours, and the unhealthy pod runs on.

use k8s_openapi::api::apps::v1::{DaemonSetSpec, DeploymentSpec, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{Selector, SelectorExt};
use prunella_core::action::Inapplicable;

/// With this update strategy a pod is replaced only after somebody deletes it.
const ON_DELETE: &str = "OnDelete";
/// With this strategy all old pods end before the first new one starts.
const RECREATE: &str = "Recreate";
/// With this policy a `StatefulSet` does not wait for its pods one by one.
const PARALLEL: &str = "Parallel";
/// The label of a node that holds its name: one pod per value is one pod per node.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What the nodes of the cluster decide about a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeLimit {
    /// Nothing.
    None,
    /// A restart needs one node more than there are replicas.
    OneMore,
    /// A restart stops when so many pods of a `DaemonSet` are unavailable.
    Unavailable(usize),
}

impl NodeLimit {
    /// Why a restart would hang with so many `replicas`, `nodes` that take pods, and pods `on_dead`
    /// nodes.
    pub(crate) fn holds(self, replicas: usize, nodes: usize, on_dead: usize) -> Option<Inapplicable> {
        match self {
            Self::OneMore if nodes <= replicas => Some(Inapplicable::NoRoomToSurge),
            Self::Unavailable(most) if on_dead > 0 && on_dead >= most => Some(Inapplicable::NodesNotReady),
            Self::None | Self::OneMore | Self::Unavailable(_) => None,
        }
    }
}

/// Why a restart of a Deployment would not happen or hang.
pub(crate) fn deployment(spec: &DeploymentSpec, replicas: i32) -> (Option<Inapplicable>, NodeLimit) {
    if spec.paused == Some(true) {
        return (Some(Inapplicable::RolloutPaused), NodeLimit::None);
    }
    let strategy = spec.strategy.as_ref();
    let recreates = strategy.and_then(|strategy| strategy.type_.as_deref()) == Some(RECREATE);
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    // Kubernetes' default is 25 %. It rounds down what may be unavailable.
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let keeps_all = !recreates && share(unavailable, replicas, false).unwrap_or(replicas / 4) < 1;
    let surges = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), replicas, true) != Some(0);
    if !keeps_all || !surges {
        return (None, NodeLimit::None);
    }
    let pod = spec.template.spec.as_ref();
    if replicas == 1 && pod.is_some_and(may_hold_a_volume) {
        return (Some(Inapplicable::VolumeInUse), NodeLimit::None);
    }
    (None, if needs_own_node(&spec.template) { NodeLimit::OneMore } else { NodeLimit::None })
}

/// Why a restart of a `StatefulSet` would not happen or hang. `ready`: all its pods are Ready.
pub(crate) fn stateful_set(spec: &StatefulSetSpec, ready: bool) -> Option<Inapplicable> {
    let strategy = spec.update_strategy.as_ref();
    let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0);
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some(ON_DELETE) {
        Some(Inapplicable::OnDelete)
    } else if partition > 0 {
        Some(Inapplicable::Partitioned)
    } else if !ready && spec.pod_management_policy.as_deref() != Some(PARALLEL) {
        Some(Inapplicable::OrderedPodUnready)
    } else {
        None
    }
}

/// Why a restart of a `DaemonSet` for so many `nodes` would not happen or hang.
pub(crate) fn daemon_set(spec: &DaemonSetSpec, nodes: i32) -> (Option<Inapplicable>, NodeLimit) {
    let strategy = spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some(ON_DELETE) {
        return (Some(Inapplicable::OnDelete), NodeLimit::None);
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let unavailable = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), nodes, true).unwrap_or(1);
    let surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), nodes, true).unwrap_or(0);
    (None, NodeLimit::Unavailable(usize::try_from(unavailable.max(surge)).unwrap_or(0)))
}

/// A number of pods, or a percentage of `all`. `None`: not given.
fn share(given: Option<&IntOrString>, all: i32, rounds_up: bool) -> Option<i32> {
    match given? {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let hundredths = percent.saturating_mul(all.into());
            let rounded = if rounds_up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 };
            i32::try_from(rounded).ok()
        }
    }
}

/// Whether the pod has a volume that two pods on different nodes may not be able to use at once. The
/// access mode of a claim is not read: the controller has no right to, and most claims are
/// `ReadWriteOnce`.
fn may_hold_a_volume(pod: &PodSpec) -> bool {
    pod.volumes.iter().flatten().any(|volume| {
        volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.read_only != Some(true))
            || volume.aws_elastic_block_store.is_some()
            || volume.azure_disk.is_some()
            || volume.gce_persistent_disk.is_some()
            || volume.iscsi.is_some()
            || volume.rbd.is_some()
    })
}

/// Whether two of the pods cannot run on the same node.
fn needs_own_node(template: &PodTemplateSpec) -> bool {
    let Some(pod) = template.spec.as_ref() else { return false };
    let has_host_port = pod
        .containers
        .iter()
        .any(|container| container.ports.iter().flatten().any(|port| port.host_port.is_some_and(|port| port > 0)));
    let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let anti = pod.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = anti.and_then(|anti| anti.required_during_scheduling_ignored_during_execution.as_ref());
    let is_against_itself = required.into_iter().flatten().any(|term| {
        let selector = term.label_selector.clone().map(Selector::try_from);
        let is_own = matches!(selector, Some(Ok(selector)) if selector.matches(&labels));
        term.topology_key == HOSTNAME && is_own
    });
    has_host_port || is_against_itself
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    fn read<T: DeserializeOwned>(change: &Value) -> T {
        let mut spec = json!({"selector": {}, "template": {}, "serviceName": "web"});
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_restart_of_a_deployment_that_would_hang_is_seen() {
        let claim = json!({"spec": {"containers": [], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}});
        let apart = json!({"metadata": {"labels": {"app": "edge"}}, "spec": {"containers": [], "affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "edge"}}}]}}}});
        let port = json!({"spec": {"containers": [{"name": "app", "ports": [{"containerPort": 80, "hostPort": 80}]}]}});
        let one_out = json!({"rollingUpdate": {"maxUnavailable": 1}});
        let none_more = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
        let (free, room) = (NodeLimit::None, NodeLimit::OneMore);
        for (change, replicas, expected) in [
            (json!({}), 3, (None, free)),
            (json!({"paused": false}), 3, (None, free)),
            (json!({"paused": true}), 3, (Some(Inapplicable::RolloutPaused), free)),
            (json!({"template": claim}), 1, (Some(Inapplicable::VolumeInUse), free)),
            (json!({"template": claim, "strategy": {"type": "Recreate"}}), 1, (None, free)),
            (json!({"template": claim, "strategy": none_more}), 1, (None, free)),
            (json!({"template": apart}), 3, (None, room)),
            (json!({"template": port}), 3, (None, room)),
            // A quarter of four pods may be away.
            (json!({"template": apart}), 4, (None, free)),
            (json!({"template": apart, "strategy": one_out}), 3, (None, free)),
        ] {
            assert_eq!(deployment(&read(&change), replicas), expected, "{change} with {replicas}");
        }
    }

    #[test]
    fn a_restart_of_a_set_that_would_not_happen_is_seen() {
        let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
        let partition =
            |at: i32| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": at}}});
        for (change, ready, expected) in [
            (json!({}), true, None),
            (partition(0), true, None),
            (partition(1), true, Some(Inapplicable::Partitioned)),
            (on_delete.clone(), true, Some(Inapplicable::OnDelete)),
            (json!({}), false, Some(Inapplicable::OrderedPodUnready)),
            (json!({"podManagementPolicy": "OrderedReady"}), false, Some(Inapplicable::OrderedPodUnready)),
            (json!({"podManagementPolicy": "Parallel"}), false, None),
        ] {
            assert_eq!(stateful_set(&read(&change), ready), expected, "{change} {ready}");
        }
        assert_eq!(daemon_set(&read(&on_delete), 3), (Some(Inapplicable::OnDelete), NodeLimit::None));
        let rolling = |change: Value| daemon_set(&read(&json!({"updateStrategy": {"rollingUpdate": change}})), 10).1;
        for (change, most) in [
            (json!({}), 1),
            (json!({"maxUnavailable": 3}), 3),
            (json!({"maxUnavailable": "25%"}), 3),
            (json!({"maxUnavailable": 0, "maxSurge": 2}), 2),
        ] {
            assert_eq!(rolling(change.clone()), NodeLimit::Unavailable(most), "{change}");
        }
    }

    #[test]
    fn the_nodes_decide_whether_a_restart_would_hang() {
        for (limit, replicas, nodes, on_dead, expected) in [
            (NodeLimit::None, 3, 1, 3, None),
            (NodeLimit::OneMore, 3, 3, 0, Some(Inapplicable::NoRoomToSurge)),
            (NodeLimit::OneMore, 3, 4, 0, None),
            (NodeLimit::Unavailable(1), 3, 2, 0, None),
            (NodeLimit::Unavailable(1), 3, 2, 1, Some(Inapplicable::NodesNotReady)),
            (NodeLimit::Unavailable(2), 3, 2, 1, None),
        ] {
            assert_eq!(limit.holds(replicas, nodes, on_dead), expected, "{limit:?} {replicas} {nodes} {on_dead}");
        }
    }
}
