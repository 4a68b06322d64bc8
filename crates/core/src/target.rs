//! What is known of a selected object.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

/// An object's identity over its whole life; a recreated object has another.
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

/// One object, named so that a namesake cannot be taken for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// The kind, like `Pod` or `Deployment`.
    pub kind: String,
    /// The name within its namespace.
    pub name: String,
    /// The uid.
    pub uid: Uid,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// A selected object as the newest watch event showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The object itself.
    pub object: Object,
    /// Its creation time, whole seconds by the API server's clock. Compared with
    /// creation times only.
    pub created: Timestamp,
    /// Whether it passes its own readiness.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// The stable object behind it, to which a history can be laid: the top
    /// controller of a pod with a generated name, else the object itself.
    pub subject: Object,
    /// Whether names recur, so that a successor carries its predecessor's name.
    pub stable_name: bool,
    /// Whether its owner wants it left alone, and until when.
    pub opted_out: Option<OptOut>,
    /// Why it may not be healed, if so.
    pub not_healable: Option<NotHealable>,
    /// The pods of a workload, by which a series may name it; empty for a pod.
    pub pods: Vec<Object>,
    /// How long it may take to end once it is told to; `None` where it does not say.
    pub grace: Option<SignedDuration>,
    /// What actions on the subject as a whole depend on; `None` where it is no workload
    /// that can be changed, or nothing is known of it yet.
    pub workload: Option<Workload>,
}

/// What decisions need to know of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// How many replicas it asks for; `None` for a kind without such a number.
    pub replicas: Option<i32>,
    /// Whether a change of its pod template replaces all its pods by itself.
    pub rolls_out: bool,
    /// Whether the policy's selector chooses all its pods.
    pub all_selected: bool,
    /// The autoscaler that owns the number of replicas.
    pub autoscaler: Option<Autoscaler>,
    /// When the rollout under way last made progress; `None` when none is.
    pub rollout_progress: Option<Timestamp>,
}

/// An autoscaler that owns a number of replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autoscaler {
    /// The autoscaler itself.
    pub object: Object,
    /// The fewest replicas it asks for.
    pub minimum: i32,
    /// The most replicas it asks for.
    pub maximum: i32,
    /// Whether something else made it, and would undo a change of it.
    pub controlled: bool,
}

/// That an object's owner wants it left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptOut {
    /// Until when; `None`: until it is taken back.
    pub until: Option<Timestamp>,
}

impl OptOut {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Why an object may not be healed whatever its signals say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotHealable {
    /// A mirror of a static pod: the kubelet owns it, the API server only shows it.
    StaticPod,
    /// No controller would make another.
    NoController,
    /// Its controller is a Job, which has its own idea of retrying.
    OwnedByJob,
    /// It is on its way out already.
    Terminating,
    /// It finished: there is nothing to heal.
    Completed,
    /// Its node is not ready: what the node cannot say the pod cannot show.
    NodeNotReady,
    /// Who owns it is not known yet.
    OwnerUnknown,
    /// Its workload is in the middle of a rollout that makes progress.
    MidRollout,
    /// The cluster cannot do without it.
    SystemCritical,
    /// It is a pod of the controller itself.
    OwnPod,
    /// The action would touch pods of its workload that the policy does not select.
    PodsNotSelected,
}

impl NotHealable {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::StaticPod,
        Self::NoController,
        Self::OwnedByJob,
        Self::Terminating,
        Self::Completed,
        Self::NodeNotReady,
        Self::OwnerUnknown,
        Self::MidRollout,
        Self::SystemCritical,
        Self::OwnPod,
        Self::PodsNotSelected,
    ];

    /// The word used in status, Events, metrics and logs alike.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StaticPod => "StaticPod",
            Self::NoController => "NoController",
            Self::OwnedByJob => "OwnedByJob",
            Self::Terminating => "Terminating",
            Self::Completed => "Completed",
            Self::NodeNotReady => "NodeNotReady",
            Self::OwnerUnknown => "OwnerUnknown",
            Self::MidRollout => "MidRollout",
            Self::SystemCritical => "SystemCritical",
            Self::OwnPod => "OwnPod",
            Self::PodsNotSelected => "PodsNotSelected",
        }
    }
}
