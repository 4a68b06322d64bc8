//! Facts about a selected object.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::action::Inapplicable;
use crate::availability::Siblings;
use crate::readiness::ReadyTimes;

/// The uid of an object. A recreated object has another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(String);

impl Uid {
    /// The uid as the API server wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Into<String>> From<S> for Uid {
    fn from(uid: S) -> Self {
        Self(uid.into())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reference to one object. The uid distinguishes it from other objects of its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// The API version, for example `v1` or `apps/v1`.
    pub api_version: String,
    /// The kind, for example `Pod` or `Deployment`.
    pub kind: String,
    /// The name within its namespace.
    pub name: String,
    /// The uid.
    pub uid: Uid,
}

impl Object {
    /// An object of a kind that Prunella knows. The API version follows from the kind; it is
    /// empty for any other kind.
    #[must_use]
    pub fn known(kind: &str, name: impl Into<String>, uid: impl Into<Uid>) -> Self {
        let api_version = match kind {
            "Pod" => "v1",
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => "apps/v1",
            "Job" => "batch/v1",
            "HorizontalPodAutoscaler" => "autoscaling/v2",
            _ => "",
        };
        Self { api_version: api_version.to_owned(), kind: kind.to_owned(), name: name.into(), uid: uid.into() }
    }

    /// The API group, for example `apps`. Empty: the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The kind, if it is one of Kubernetes' own that Prunella knows. Empty for any other: a
    /// `StatefulSet` of `apps.kruise.io` is not one of `apps`, and a request for the one would
    /// find another object or none.
    #[must_use]
    pub fn native_kind(&self) -> &str {
        let group = match self.kind.as_str() {
            "Pod" => "",
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => "apps",
            "Job" => "batch",
            "HorizontalPodAutoscaler" => "autoscaling",
            _ => return "",
        };
        if self.group() == group { &self.kind } else { "" }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Which name the replacement of an object has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplacementName {
    /// Another one: the API server generates it.
    Generated,
    /// The same one, like that of a pod of a `StatefulSet`.
    Same,
    /// The same one or one with a higher number: its owner, of an unknown kind, numbers its pods.
    Numbered,
}

/// A selected object, as of the newest watch event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The object itself.
    pub object: Object,
    /// Its creation time, in whole seconds by the API server's clock. Compare it with times
    /// of the API server's clock only.
    pub created: Timestamp,
    /// Whether it is ready: a pod by its `Ready` condition, a workload by its replicas.
    pub ready: bool,
    /// Since when a pod is ready. `None`: it is not, or the target is a workload.
    pub ready_since: Option<Timestamp>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// The stable object behind it, which keeps its history: the top controller of a pod, or
    /// the object itself.
    pub subject: Object,
    /// Which name its replacement has.
    pub replacement_name: ReplacementName,
    /// The annotation with which its owner asks not to evict it. `None`: no such annotation, or
    /// not a pod.
    pub protected_by: Option<&'static str>,
    /// Whether its owner opted out, and until when.
    pub opted_out: Option<OptOut>,
    /// Why Prunella must not act on it.
    pub not_healable: Option<NotHealable>,
    /// The pods of a workload. A series may name the workload by one of them. Empty for a
    /// pod.
    pub pods: Vec<Object>,
    /// The pod's termination grace period. `None`: not set, or not a pod.
    pub grace: Option<SignedDuration>,
    /// How long the pod's startup probes let it take to start. `None`: it has none, or not a pod.
    pub startup: Option<SignedDuration>,
    /// Whether it is in a crash loop that is certainly no slow start.
    pub crash_looping: bool,
    /// The facts that actions on the workload need. `None`: the subject is not a workload
    /// that Prunella can change, or it was not read yet.
    pub workload: Option<TargetWorkload>,
    /// The pods of its subject, shared by all targets of that subject. `None`: not known, or
    /// the target is a workload.
    pub siblings: Option<Arc<Siblings>>,
}

impl Target {
    /// Whether its name may be that of an earlier object, or of a later one.
    #[must_use]
    pub fn name_recurs(&self) -> bool {
        self.replacement_name != ReplacementName::Generated
    }

    /// Whether its replacement may have a higher number.
    #[must_use]
    pub fn may_be_renumbered(&self) -> bool {
        self.replacement_name == ReplacementName::Numbered
    }

    /// Whether it has finished: it is neither healthy nor unhealthy, and nothing can heal it.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.not_healable == Some(NotHealable::Completed)
    }
}

/// The facts about a workload that decisions need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetWorkload {
    /// The number of replicas in its spec. For a `DaemonSet`: the number of nodes that need a
    /// pod. `None`: not known yet.
    pub replicas: Option<i32>,
    /// Why a change of its pod template would not replace all its pods. `None`: it would.
    pub restart_held: Option<Inapplicable>,
    /// Whether the policy's selector matches all its pods.
    pub all_selected: bool,
    /// The autoscaler that owns the number of replicas.
    pub autoscaler: Option<Autoscaler>,
    /// A tool other than an autoscaler that owns the number of replicas, for example `keda`.
    pub scaled_by: Option<String>,
    /// Whether scaling it down deletes volumes.
    pub deletes_volumes: bool,
    /// Whether all its containers have a readiness probe. Without one, a pod is Ready as soon as
    /// it runs.
    pub has_readiness_probe: bool,
    /// When the current rollout last made progress. `None`: no rollout.
    pub rollout_progress: Option<Timestamp>,
    /// How long its owner lets its pods take to become Ready.
    pub ready_times: ReadyTimes,
}

/// An autoscaler that owns a number of replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autoscaler {
    /// The autoscaler itself.
    pub object: Object,
    /// Its `minReplicas`.
    pub minimum: i32,
    /// Its `maxReplicas`.
    pub maximum: i32,
    /// Whether another object controls it and would undo a change of it.
    pub controlled: bool,
}

/// An opt-out by the owner of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptOut {
    /// When it ends. `None`: when the owner removes it.
    pub until: Option<Timestamp>,
}

impl OptOut {
    /// Whether it is in effect at `now`.
    #[must_use]
    pub fn holds(self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Why Prunella must not act on an object, healthy or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotHealable {
    /// The mirror of a static pod. The kubelet owns the pod, not the API server.
    StaticPod,
    /// No controller would replace it.
    NoController,
    /// Its controller is a Job, which retries on its own.
    OwnedByJob,
    /// Its controller runs the pod to an end once, and does not replace it.
    OwnerRunsToEnd,
    /// It is already being deleted.
    Terminating,
    /// Its phase is `Succeeded` or `Failed`: no container runs any more.
    Completed,
    /// Its node is not ready, so the status of the pod is not up to date.
    NodeNotReady,
    /// Its top controller is not known yet.
    OwnerUnknown,
    /// Its workload is in a rollout that makes progress.
    MidRollout,
    /// It is not Ready yet, and it may still be starting.
    Starting,
    /// It has a system-critical priority class.
    SystemCritical,
    /// It is a pod of Prunella itself.
    OwnPod,
    /// The action would also touch pods of its workload that the policy does not select.
    PodsNotSelected,
}

impl NotHealable {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::StaticPod,
        Self::NoController,
        Self::OwnedByJob,
        Self::OwnerRunsToEnd,
        Self::Terminating,
        Self::Completed,
        Self::NodeNotReady,
        Self::OwnerUnknown,
        Self::MidRollout,
        Self::Starting,
        Self::SystemCritical,
        Self::OwnPod,
        Self::PodsNotSelected,
    ];

    /// Whether it stays so, whatever happens in the cluster. Other reasons are of this moment:
    /// many pods on nodes that are not ready are as good a sign of a storm as any.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        match self {
            Self::StaticPod
            | Self::NoController
            | Self::OwnedByJob
            | Self::OwnerRunsToEnd
            | Self::Terminating
            | Self::Completed
            | Self::SystemCritical
            | Self::OwnPod
            | Self::PodsNotSelected => true,
            Self::NodeNotReady | Self::OwnerUnknown | Self::MidRollout | Self::Starting => false,
        }
    }

    /// The word in status, Events, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StaticPod => "StaticPod",
            Self::NoController => "NoController",
            Self::OwnedByJob => "OwnedByJob",
            Self::OwnerRunsToEnd => "OwnerRunsToEnd",
            Self::Terminating => "Terminating",
            Self::Completed => "Completed",
            Self::NodeNotReady => "NodeNotReady",
            Self::OwnerUnknown => "OwnerUnknown",
            Self::MidRollout => "MidRollout",
            Self::Starting => "Starting",
            Self::SystemCritical => "SystemCritical",
            Self::OwnPod => "OwnPod",
            Self::PodsNotSelected => "PodsNotSelected",
        }
    }
}
