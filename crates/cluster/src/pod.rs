//! A pod as the judgement knows it, and whether it may be healed at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use prunella_core::target::{NotHealable, Object, OptOut, Target, Uid};

use crate::marks::opt_out;
use crate::pool::Pool;

/// On the mirror of a static pod, put there by the kubelet.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What is kept of a watched pod. What a workload's pods have in common is kept once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SlimPod {
    name: Box<str>,
    uid: Uid,
    labels: Arc<BTreeMap<String, String>>,
    created: Timestamp,
    /// `None` while it is ready.
    unready_since: Option<Timestamp>,
    terminating: bool,
    controller: Option<Arc<Object>>,
    node: Option<Arc<str>>,
    opted_out: Option<OptOut>,
    not_healable: Option<NotHealable>,
    system_critical: bool,
    grace: Option<SignedDuration>,
}

/// What a pod is to its workload after another was removed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It was made since, and is ready.
    Replacement,
    /// It was there before, and was not ready even then.
    UnreadyBefore,
    /// Anything else.
    None,
}

/// The priority classes of what a cluster cannot do without.
const SYSTEM_CRITICAL: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

/// Reduces pods.
#[derive(Debug, Default)]
pub(crate) struct Slimmer {
    labels: Pool<BTreeMap<String, String>>,
    controllers: Pool<Object>,
    nodes: Pool<str>,
}

impl Slimmer {
    /// Reduces a pod; `None` for one without name, uid or creation time, which the
    /// API server never sends.
    pub(crate) fn slim(&self, pod: &Pod) -> Option<Arc<SlimPod>> {
        let meta = &pod.metadata;
        let status = pod.status.as_ref();
        let created = meta.creation_timestamp.as_ref()?.0;
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let unready_since = match conditions.and_then(|all| all.iter().find(|one| one.type_ == "Ready")) {
            Some(ready) if ready.status == "True" => None,
            Some(unready) => Some(unready.last_transition_time.as_ref().map_or(created, |time| time.0)),
            None => Some(created),
        };
        let controller = controller_of(meta.owner_references.as_deref());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        Some(Arc::new(SlimPod {
            name: meta.name.clone()?.into(),
            uid: meta.uid.clone()?.into(),
            labels: self.labels.of(pod.labels()),
            created,
            unready_since,
            terminating: meta.deletion_timestamp.is_some(),
            node: node.map(|node| self.nodes.of(node)),
            opted_out: opt_out(pod),
            not_healable: not_healable(pod),
            controller: controller.map(|controller| self.controllers.of(&controller)),
            grace: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.termination_grace_period_seconds)
                .map(SignedDuration::from_secs),
            system_critical: is_system_critical(pod.spec.as_ref()),
        }))
    }
}

impl SlimPod {
    /// Whether the cluster cannot do without it.
    pub(crate) fn is_system_critical(&self) -> bool {
        self.system_critical
    }

    /// The pod itself.
    pub(crate) fn object(&self) -> Object {
        Object { kind: "Pod".into(), name: self.name.to_string(), uid: self.uid.clone() }
    }

    /// The pod's labels.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// What it is to a workload from which the pod `target` was removed: both times are the
    /// API server's, `removed` is that of the record of it.
    pub(crate) fn part(&self, target: &Uid, removed: Timestamp) -> Part {
        let counts = !self.terminating && self.not_healable != Some(NotHealable::Completed);
        let ready = self.unready_since.is_none();
        if !counts || self.uid == *target {
            Part::None
        } else if self.created >= removed {
            if ready { Part::Replacement } else { Part::None }
        } else if self.unready_since.is_some_and(|since| since < removed) {
            Part::UnreadyBefore
        } else {
            Part::None
        }
    }

    /// Whether the pod is being deleted.
    pub(crate) fn is_terminating(&self) -> bool {
        self.terminating
    }

    /// The pod's own controller, like a `ReplicaSet`.
    pub(crate) fn controller(&self) -> Option<&Object> {
        self.controller.as_deref()
    }

    /// The node it runs on, once it was scheduled.
    pub(crate) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// The pod as a target. `top` is the controller at the top of its owners.
    pub(crate) fn target(&self, top: Option<Object>) -> Target {
        let stable_name = matches!(&self.controller, Some(controller) if controller.kind == "StatefulSet");
        Target {
            subject: top.unwrap_or_else(|| self.object()),
            object: self.object(),
            created: self.created,
            ready: self.unready_since.is_none(),
            terminating: self.terminating,
            stable_name,
            opted_out: self.opted_out,
            not_healable: self.not_healable,
            pods: Vec::new(),
            grace: self.grace,
            workload: None,
        }
    }
}

/// What speaks against healing a pod at all.
pub(crate) fn not_healable(pod: &Pod) -> Option<NotHealable> {
    let annotations = pod.metadata.annotations.as_ref();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if annotations.is_some_and(|all| all.contains_key(MIRROR_ANNOTATION)) {
        Some(NotHealable::StaticPod)
    } else if pod.metadata.deletion_timestamp.is_some() {
        Some(NotHealable::Terminating)
    } else if matches!(phase, Some("Succeeded" | "Failed")) {
        Some(NotHealable::Completed)
    } else {
        let controller = controller_of(pod.metadata.owner_references.as_deref());
        match controller.as_ref().map(|controller| controller.kind.as_str()) {
            None => Some(NotHealable::NoController),
            Some("Job") => Some(NotHealable::OwnedByJob),
            Some(_) => None,
        }
    }
}

/// Whether pods of this kind are what the cluster cannot do without.
pub(crate) fn is_system_critical(spec: Option<&PodSpec>) -> bool {
    let class = spec.and_then(|spec| spec.priority_class_name.as_deref());
    class.is_some_and(|class| SYSTEM_CRITICAL.contains(&class))
}

/// The owner that controls the object.
pub(crate) fn controller_of(owners: Option<&[OwnerReference]>) -> Option<Object> {
    owners.unwrap_or_default().iter().find(|owner| owner.controller == Some(true)).map(|owner| Object {
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_counts_as_replacement_or_as_unready_before_or_not_at_all() {
        let pod = |uid: &str, created: &str, ready: &str, since: &str, phase: &str, going: Option<&str>| {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "web", "uid": uid, "creationTimestamp": created, "deletionTimestamp": going},
                "status": {
                    "phase": phase,
                    "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}],
                },
            }))
            .unwrap();
            Slimmer::default().slim(&pod).unwrap().part(&"target".into(), "2026-01-01T12:00:00Z".parse().unwrap())
        };
        let (before, then, after) = ("2026-01-01T11:00:00Z", "2026-01-01T12:00:00Z", "2026-01-01T12:00:09Z");
        for (expected, got) in [
            (Part::Replacement, pod("a", then, "True", after, "Running", None)),
            (Part::None, pod("a", then, "False", then, "Pending", None)),
            (Part::None, pod("a", after, "True", after, "Running", Some(after))),
            (Part::None, pod("a", before, "True", before, "Running", None)),
            (Part::UnreadyBefore, pod("a", before, "False", before, "Running", None)),
            // What the removal itself has overloaded is not what was sick before.
            (Part::None, pod("a", before, "False", then, "Running", None)),
            (Part::None, pod("a", before, "False", before, "Running", Some(after))),
            // The corpse of a pod that its node has evicted stays until somebody clears it.
            (Part::None, pod("a", before, "False", before, "Failed", None)),
            (Part::None, pod("target", before, "False", before, "Running", None)),
        ] {
            assert_eq!(got, expected);
        }
    }
}
