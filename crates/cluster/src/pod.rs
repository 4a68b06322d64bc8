//! A pod as the judgement knows it, and whether it may be healed at all.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use prunella_core::target::{NotHealable, Object, OptOut, Target};

use crate::marks::opt_out;

/// On the mirror of a static pod, put there by the kubelet.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What is kept of a watched pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlimPod {
    object: Object,
    labels: BTreeMap<String, String>,
    created: Timestamp,
    ready: bool,
    terminating: bool,
    controller: Option<Object>,
    node: Option<String>,
    opted_out: Option<OptOut>,
    not_healable: Option<NotHealable>,
    system_critical: bool,
    grace: Option<SignedDuration>,
}

/// The priority classes of what a cluster cannot do without.
const SYSTEM_CRITICAL: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

impl SlimPod {
    /// Reduces a pod; `None` for one without name, uid or creation time, which the
    /// API server never sends.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let status = pod.status.as_ref();
        let ready = status
            .and_then(|status| status.conditions.as_ref())
            .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
        let controller = controller_of(meta.owner_references.as_deref());
        Some(Self {
            object: Object { kind: "Pod".into(), name: meta.name.clone()?, uid: meta.uid.clone()?.into() },
            labels: meta.labels.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref()?.0,
            ready,
            terminating: meta.deletion_timestamp.is_some(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            opted_out: opt_out(pod),
            not_healable: not_healable(pod, controller.as_ref()),
            controller,
            grace: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.termination_grace_period_seconds)
                .map(SignedDuration::from_secs),
            system_critical: is_system_critical(pod.spec.as_ref()),
        })
    }

    /// Whether the cluster cannot do without it.
    #[must_use]
    pub fn is_system_critical(&self) -> bool {
        self.system_critical
    }

    /// The pod itself.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The pod's labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Whether it takes requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether the pod is being deleted.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.terminating
    }

    /// The pod's own controller, like a `ReplicaSet`.
    #[must_use]
    pub fn controller(&self) -> Option<&Object> {
        self.controller.as_ref()
    }

    /// The node it runs on, once it was scheduled.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Why the pod may not be healed, if so.
    #[must_use]
    pub fn not_healable(&self) -> Option<NotHealable> {
        self.not_healable
    }

    /// The pod as a target. `top` is the controller at the top of its owners.
    #[must_use]
    pub fn target(&self, top: Option<Object>) -> Target {
        let stable_name = matches!(&self.controller, Some(controller) if controller.kind == "StatefulSet");
        Target {
            subject: top.unwrap_or_else(|| self.object.clone()),
            object: self.object.clone(),
            created: self.created,
            ready: self.ready,
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

fn not_healable(pod: &Pod, controller: Option<&Object>) -> Option<NotHealable> {
    let annotations = pod.metadata.annotations.as_ref();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if annotations.is_some_and(|all| all.contains_key(MIRROR_ANNOTATION)) {
        Some(NotHealable::StaticPod)
    } else if pod.metadata.deletion_timestamp.is_some() {
        Some(NotHealable::Terminating)
    } else if matches!(phase, Some("Succeeded" | "Failed")) {
        Some(NotHealable::Completed)
    } else {
        match controller.map(|controller| controller.kind.as_str()) {
            None => Some(NotHealable::NoController),
            Some("Job") => Some(NotHealable::OwnedByJob),
            Some(_) => None,
        }
    }
}

/// Whether pods of this kind are what the cluster cannot do without.
#[must_use]
pub(crate) fn is_system_critical(spec: Option<&PodSpec>) -> bool {
    let class = spec.and_then(|spec| spec.priority_class_name.as_deref());
    class.is_some_and(|class| SYSTEM_CRITICAL.contains(&class))
}

/// The owner that controls the object.
#[must_use]
pub fn controller_of(owners: Option<&[OwnerReference]>) -> Option<Object> {
    owners.unwrap_or_default().iter().find(|owner| owner.controller == Some(true)).map(|owner| Object {
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone().into(),
    })
}
