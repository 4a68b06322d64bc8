//! A reduced pod, and whether Prunella may act on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::ResourceExt;
use prunella_core::target::{NotHealable, Object, OptOut, ReplacementName, Target, Uid};
use prunella_core::time::after;

use crate::marks::opt_out;
use crate::owner::{controller_of, not_healable, protected_by, replacement_name};
use crate::pool::Pool;
use crate::startup::{is_crash_looping, startup_budget};
use crate::trouble::trouble;

/// The stored part of a watched pod. Pods of a workload share equal values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SlimPod {
    name: Box<str>,
    uid: Uid,
    labels: Arc<BTreeMap<String, String>>,
    created: Timestamp,
    ready: bool,
    /// Since when it is ready, or not ready.
    ready_changed: Timestamp,
    /// When it must have ended. `None`: it is not being deleted.
    terminating_until: Option<Timestamp>,
    controller: Option<Arc<Object>>,
    node: Option<Arc<str>>,
    opted_out: Option<OptOut>,
    not_healable: Option<NotHealable>,
    system_critical: bool,
    replacement_name: ReplacementName,
    protected_by: Option<&'static str>,
    grace: Option<SignedDuration>,
    startup: Option<SignedDuration>,
    crash_looping: bool,
    /// Why it is not Ready.
    trouble: Option<Box<str>>,
}

/// The role of a pod in its workload after an action has removed another pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemovalRole {
    /// It was created after the removal, and is ready.
    Replacement,
    /// It was created before the removal, and is ready.
    ReadyBefore,
    /// It was created before the removal, and has not been ready since before the removal.
    UnreadyBefore,
    /// Anything else.
    Other,
}

/// The priority classes of pods that the cluster depends on.
const SYSTEM_CRITICAL: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

/// How long after its grace period a pod that is being deleted hangs.
const HANGS_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// Reduces pods.
#[derive(Debug, Default)]
pub(crate) struct Slimmer {
    labels: Pool<BTreeMap<String, String>>,
    controllers: Pool<Object>,
    nodes: Pool<str>,
}

impl Slimmer {
    /// Reduces a pod. `None`: it has no name, uid or creation time. The API server never sends
    /// such a pod.
    pub(crate) fn slim(&self, pod: &Pod) -> Option<Arc<SlimPod>> {
        let meta = &pod.metadata;
        let status = pod.status.as_ref();
        let created = meta.creation_timestamp.as_ref()?.0;
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let condition = conditions.and_then(|all| all.iter().find(|one| one.type_ == "Ready"));
        let ready = condition.is_some_and(|condition| condition.status == "True");
        let changed = condition.and_then(|condition| condition.last_transition_time.as_ref());
        let controller = controller_of(meta.owner_references.as_deref());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        Some(Arc::new(SlimPod {
            name: meta.name.clone()?.into(),
            uid: meta.uid.clone()?.into(),
            labels: self.labels.of(pod.labels()),
            created,
            ready,
            ready_changed: changed.map_or(created, |time| time.0),
            terminating_until: meta.deletion_timestamp.as_ref().map(|time| time.0),
            node: node.map(|node| self.nodes.of(node)),
            opted_out: opt_out(pod),
            not_healable: not_healable(pod),
            replacement_name: replacement_name(pod, controller.as_ref()),
            protected_by: protected_by(pod),
            controller: controller.map(|controller| self.controllers.of(&controller)),
            grace: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.termination_grace_period_seconds)
                .map(SignedDuration::from_secs),
            trouble: if ready { None } else { trouble(pod).map(Into::into) },
            startup: pod.spec.as_ref().and_then(startup_budget),
            crash_looping: is_crash_looping(pod),
            system_critical: is_system_critical(pod.spec.as_ref()),
        }))
    }
}

impl SlimPod {
    /// Whether it has a system-critical priority class.
    pub(crate) fn is_system_critical(&self) -> bool {
        self.system_critical
    }

    /// The pod itself.
    pub(crate) fn object(&self) -> Object {
        Object::known("Pod", self.name.to_string(), self.uid.clone())
    }

    /// The pod's labels.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The role of this pod after the pod `target` was removed. `removed` is a time shortly before
    /// that, by the API server's clock.
    pub(crate) fn role_after_removal(&self, target: &Uid, removed: Timestamp) -> RemovalRole {
        let counts = !self.is_terminating() && self.not_healable != Some(NotHealable::Completed);
        if !counts || self.uid == *target {
            RemovalRole::Other
        } else if self.created >= removed {
            if self.ready { RemovalRole::Replacement } else { RemovalRole::Other }
        } else if self.ready {
            RemovalRole::ReadyBefore
        } else if self.ready_changed < removed {
            RemovalRole::UnreadyBefore
        } else {
            RemovalRole::Other
        }
    }

    /// The pod's uid.
    pub(crate) fn uid(&self) -> &Uid {
        &self.uid
    }

    /// Whether all its containers have ended for good.
    pub(crate) fn is_finished(&self) -> bool {
        self.not_healable == Some(NotHealable::Completed)
    }

    /// Whether the pod is Ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether the pod is being deleted.
    pub(crate) fn is_terminating(&self) -> bool {
        self.terminating_until.is_some()
    }

    /// Whether it is being deleted and may still end by itself. A pod that is there a minute after
    /// its grace period hangs: a finalizer, a volume or its node holds it.
    pub(crate) fn ends_soon(&self, now: Timestamp) -> bool {
        self.terminating_until.is_some_and(|until| now < after(until, HANGS_AFTER))
    }

    /// Why a pod that was created at `since` or later is not Ready.
    pub(crate) fn trouble_since(&self, since: Timestamp) -> Option<&str> {
        self.trouble.as_deref().filter(|_| self.created >= since && !self.is_terminating())
    }

    /// How long its startup probes let it take to start.
    pub(crate) fn startup(&self) -> Option<SignedDuration> {
        self.startup
    }

    /// The pod's direct controller, for example a `ReplicaSet`.
    pub(crate) fn controller(&self) -> Option<&Object> {
        self.controller.as_deref()
    }

    /// The node it runs on. `None`: it is not scheduled.
    pub(crate) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// The pod as a target. `top` is its top controller.
    pub(crate) fn target(&self, top: Option<Object>) -> Target {
        Target {
            subject: top.unwrap_or_else(|| self.object()),
            object: self.object(),
            created: self.created,
            ready: self.ready,
            ready_since: self.ready.then_some(self.ready_changed),
            terminating: self.is_terminating(),
            replacement_name: self.replacement_name,
            protected_by: self.protected_by,
            opted_out: self.opted_out,
            not_healable: self.not_healable,
            pods: Vec::new(),
            grace: self.grace,
            startup: self.startup,
            crash_looping: self.crash_looping,
            workload: None,
            siblings: None,
        }
    }
}

/// Whether pods with this spec have a system-critical priority class.
pub(crate) fn is_system_critical(spec: Option<&PodSpec>) -> bool {
    let class = spec.and_then(|spec| spec.priority_class_name.as_deref());
    class.is_some_and(|class| SYSTEM_CRITICAL.contains(&class))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_a_replacement_or_unready_before_the_removal_or_neither() {
        let pod = |uid: &str, created: &str, ready: &str, since: &str, phase: &str, going: Option<&str>| {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "web", "uid": uid, "creationTimestamp": created, "deletionTimestamp": going},
                "status": {
                    "phase": phase,
                    "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}],
                },
            }))
            .unwrap();
            Slimmer::default()
                .slim(&pod)
                .unwrap()
                .role_after_removal(&"target".into(), "2026-01-01T12:00:00Z".parse().unwrap())
        };
        let (before, then, after) = ("2026-01-01T11:00:00Z", "2026-01-01T12:00:00Z", "2026-01-01T12:00:09Z");
        for (expected, got) in [
            (RemovalRole::Replacement, pod("a", then, "True", after, "Running", None)),
            (RemovalRole::Other, pod("a", then, "False", then, "Pending", None)),
            (RemovalRole::Other, pod("a", after, "True", after, "Running", Some(after))),
            (RemovalRole::ReadyBefore, pod("a", before, "True", before, "Running", None)),
            (RemovalRole::UnreadyBefore, pod("a", before, "False", before, "Running", None)),
            // Not ready since the removal: the removal may have overloaded it.
            (RemovalRole::Other, pod("a", before, "False", then, "Running", None)),
            (RemovalRole::Other, pod("a", before, "False", before, "Running", Some(after))),
            // A pod that its node has evicted stays in phase `Failed` until somebody deletes it.
            (RemovalRole::Other, pod("a", before, "False", before, "Failed", None)),
            (RemovalRole::Other, pod("target", before, "False", before, "Running", None)),
        ] {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn only_an_unknown_owner_that_numbers_its_pods_may_go_on_counting() {
        for (api_version, kind, name, expected) in [
            ("apps/v1", "StatefulSet", "db-7", ReplacementName::Same),
            ("apps/v1", "ReplicaSet", "web-7d9c5b6f4-x2x4z", ReplacementName::Generated),
            ("apps.kruise.io/v1beta1", "StatefulSet", "db-7", ReplacementName::Numbered),
            ("games.example.org/v1", "Fleet", "game-7", ReplacementName::Numbered),
            ("games.example.org/v1", "Fleet", "game-east", ReplacementName::Generated),
        ] {
            let owner = json!({"apiVersion": api_version, "kind": kind, "name": "o", "uid": "u", "controller": true});
            let metadata = json!({"name": name, "uid": "a", "creationTimestamp": "2026-01-01T11:00:00Z", "ownerReferences": [owner]});
            let pod = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            let target = Slimmer::default().slim(&pod).unwrap().target(None);
            assert_eq!(target.replacement_name, expected, "{kind} {name}");
        }
    }

    #[test]
    fn a_crash_loop_is_a_fact_of_the_target() {
        let (before, after) = ("2026-01-01T12:00:00Z", "2026-01-01T12:05:00Z");
        for (waits_for, expected) in [("CrashLoopBackOff", true), ("ImagePullBackOff", false)] {
            let pod = json!({
                "metadata": {"name": "web", "uid": "a", "creationTimestamp": before},
                "spec": {"containers": [{"name": "app"}]},
                "status": {
                    "startTime": before,
                    "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": after}],
                    "containerStatuses": [{
                        "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                        "state": {"waiting": {"reason": waits_for}}, "lastState": {"terminated": {"exitCode": 1}},
                    }],
                },
            });
            let target = Slimmer::default().slim(&serde_json::from_value(pod).unwrap()).unwrap().target(None);
            assert_eq!(target.crash_looping, expected, "{waits_for}");
        }
    }

    #[test]
    fn a_pod_that_hangs_in_terminating_is_seen() {
        let (now, minute) = ("2026-01-01T12:00:00Z", SignedDuration::from_mins(1));
        let now: Timestamp = now.parse().unwrap();
        let pod = |until: Option<Timestamp>| {
            let until = until.map(|until| until.to_string());
            let pod = json!({"metadata": {"name": "web", "uid": "a", "creationTimestamp": "2026-01-01T11:00:00Z", "deletionTimestamp": until}});
            Slimmer::default().slim(&serde_json::from_value(pod).unwrap()).unwrap()
        };
        for (until, ends_soon, is_terminating) in [
            (None, false, false),
            (Some(now + minute), true, true),
            (Some(now - minute + SignedDuration::from_secs(1)), true, true),
            (Some(now - minute), false, true),
        ] {
            let pod = pod(until);
            assert_eq!((pod.ends_soon(now), pod.is_terminating()), (ends_soon, is_terminating), "{until:?}");
        }
    }
}
