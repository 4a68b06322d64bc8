//! What the owner of a pod does with it: whether it replaces a pod that is removed, under which
//! name, and whether it asks not to evict it.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use prunella_core::target::{NotHealable, Object, ReplacementName};

/// The kubelet writes this annotation on the mirror of a static pod.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// The annotations with which an owner asks not to evict a pod, and the value of each. The
/// first one is of the Cluster Autoscaler, the others are of Karpenter.
const DO_NOT_EVICT: [(&str, &str); 3] = [
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("karpenter.sh/do-not-disrupt", "true"),
    ("karpenter.sh/do-not-evict", "true"),
];

/// Owners that run a pod to an end, by API group and kind. Their pods mostly have a
/// `restartPolicy` that says so. These are listed because some do not.
const RUNS_TO_END: [(&str, &str); 5] = [
    // The driver of a Spark job, for example, owns the pods of its executors.
    ("", "Pod"),
    ("argoproj.io", "Workflow"),
    ("tekton.dev", "TaskRun"),
    ("actions.github.com", "EphemeralRunner"),
    ("batch.volcano.sh", "Job"),
];

/// The characters of the five at the end of a generated name. Kubernetes leaves out vowels and
/// what looks like another character: `k8s.io/apimachinery/pkg/util/rand`.
const GENERATED: &str = "bcdfghjklmnpqrstvwxz2456789";
/// How many of them there are.
const GENERATED_LENGTH: usize = 5;

/// Why Prunella must not act on a pod.
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
        not_replaced(pod)
    }
}

/// Why nobody would replace a pod that is removed.
fn not_replaced(pod: &Pod) -> Option<NotHealable> {
    let Some(controller) = controller_of(pod.metadata.owner_references.as_deref()) else {
        return Some(NotHealable::NoController);
    };
    if controller.native_kind() == "Job" {
        return Some(NotHealable::OwnedByJob);
    }
    // A pod that is not restarted when it ends is made for one run, and so is a container that is
    // restarted only until it succeeds. All workloads of Kubernetes that replace pods demand
    // `Always`.
    let restarts = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always") == "Always";
    let runs_to_end = RUNS_TO_END.contains(&(controller.group(), controller.kind.as_str()));
    (runs_to_end || !restarts).then_some(NotHealable::OwnerRunsToEnd)
}

/// The annotation with which the owner of a pod asks not to evict it.
pub(crate) fn protected_by(pod: &Pod) -> Option<&'static str> {
    let annotations = pod.metadata.annotations.as_ref()?;
    let asks = |(name, value): &&(&str, &str)| annotations.get(*name).is_some_and(|given| given == value);
    DO_NOT_EVICT.iter().find(asks).map(|(name, _)| *name)
}

/// Which name the replacement of a pod will have.
pub(crate) fn replacement_name(pod: &Pod, controller: Option<&Object>) -> ReplacementName {
    if !is_stable_name(pod, controller) {
        return ReplacementName::Generated;
    }
    if controller.is_some_and(|one| one.native_kind().is_empty()) {
        ReplacementName::Numbered
    } else {
        ReplacementName::Same
    }
}

/// Whether the replacement of a pod will have its name. A `StatefulSet` and most operators number
/// their pods. A name that ends with a number and was not generated recurs.
fn is_stable_name(pod: &Pod, controller: Option<&Object>) -> bool {
    let Some(controller) = controller else { return false };
    if controller.native_kind() == "StatefulSet" {
        return true;
    }
    let name = pod.name_any();
    let is_numbered =
        name.rsplit_once('-').is_some_and(|(_, end)| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()));
    is_numbered && !is_generated(&name, pod.metadata.generate_name.as_deref())
}

/// Whether the API server has made the name from `prefix`. It cuts off the end of a long prefix.
fn is_generated(name: &str, prefix: Option<&str>) -> bool {
    let Some(prefix) = prefix else { return false };
    let Some((start, end)) = name.len().checked_sub(GENERATED_LENGTH).and_then(|at| name.split_at_checked(at)) else {
        return false;
    };
    prefix.starts_with(start) && end.chars().all(|one| GENERATED.contains(one))
}

/// The owner that is the controller of the object.
pub(crate) fn controller_of(owners: Option<&[OwnerReference]>) -> Option<Object> {
    owners.unwrap_or_default().iter().find(|owner| owner.controller == Some(true)).map(|owner| Object {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A running pod of this owner with `change` in its metadata.
    fn pod(api_version: &str, kind: &str, name: &str, change: &Value, restart_policy: &str) -> Pod {
        let owner = json!({"apiVersion": api_version, "kind": kind, "name": "owner", "uid": "uid", "controller": true});
        let mut metadata = json!({"name": name, "uid": "uid-pod", "ownerReferences": [owner]});
        for (key, value) in change.as_object().unwrap() {
            metadata[key] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": metadata, "spec": {"containers": [], "restartPolicy": restart_policy},
            "status": {"phase": "Running"},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_healed_only_if_its_owner_replaces_it() {
        for (api_version, kind, restart_policy, expected) in [
            ("apps/v1", "ReplicaSet", "Always", None),
            ("apps/v1", "StatefulSet", "Always", None),
            ("apps.kruise.io/v1beta1", "StatefulSet", "Always", None),
            ("postgresql.cnpg.io/v1", "Cluster", "Always", None),
            ("batch/v1", "Job", "Never", Some(NotHealable::OwnedByJob)),
            ("batch.volcano.sh/v1alpha1", "Job", "Always", Some(NotHealable::OwnerRunsToEnd)),
            ("argoproj.io/v1alpha1", "Workflow", "Always", Some(NotHealable::OwnerRunsToEnd)),
            ("tekton.dev/v1", "TaskRun", "Never", Some(NotHealable::OwnerRunsToEnd)),
            ("actions.github.com/v1alpha1", "EphemeralRunner", "Never", Some(NotHealable::OwnerRunsToEnd)),
            ("v1", "Pod", "Always", Some(NotHealable::OwnerRunsToEnd)),
            ("example.org/v1", "NightlyImport", "OnFailure", Some(NotHealable::OwnerRunsToEnd)),
        ] {
            let pod = pod(api_version, kind, "web-7d9c-x2x4z", &json!({}), restart_policy);
            assert_eq!(not_healable(&pod), expected, "{api_version} {kind} {restart_policy}");
        }
        let bare = pod("v1", "ReplicaSet", "web", &json!({"ownerReferences": []}), "Always");
        assert_eq!(not_healable(&bare), Some(NotHealable::NoController));
    }

    #[test]
    fn a_name_recurs_if_it_ends_with_a_number_and_was_not_generated() {
        for (api_version, kind, name, prefix, expected) in [
            ("apps/v1", "StatefulSet", "db-0", Some("db-"), true),
            ("apps.kruise.io/v1beta1", "StatefulSet", "db-0", Some("db-"), true),
            ("postgresql.cnpg.io/v1", "Cluster", "cluster-example-1", None, true),
            ("core.strimzi.io/v1beta2", "StrimziPodSet", "my-cluster-kafka-12", None, true),
            ("apps/v1", "ReplicaSet", "web-7d9c5b6f4-x2x4z", Some("web-7d9c5b6f4-"), false),
            // Five digits that the API server chose.
            ("apps/v1", "ReplicaSet", "web-7d9c5b6f4-24567", Some("web-7d9c5b6f4-"), false),
            ("apps/v1", "ReplicaSet", "a-very-long-na-24567", Some("a-very-long-na-me-"), false),
            ("example.org/v1", "Cache", "cache-east", None, false),
        ] {
            let pod = pod(api_version, kind, name, &json!({"generateName": prefix}), "Always");
            let controller = controller_of(pod.metadata.owner_references.as_deref());
            assert_eq!(is_stable_name(&pod, controller.as_ref()), expected, "{kind} {name}");
        }
    }

    #[test]
    fn an_owner_that_asks_not_to_evict_a_pod_is_heard() {
        for (annotation, value, expected) in [
            ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false", true),
            ("cluster-autoscaler.kubernetes.io/safe-to-evict", "true", false),
            ("karpenter.sh/do-not-disrupt", "true", true),
            ("karpenter.sh/do-not-disrupt", "false", false),
            ("karpenter.sh/do-not-evict", "true", true),
        ] {
            let pod = pod("apps/v1", "ReplicaSet", "web", &json!({"annotations": {annotation: value}}), "Always");
            assert_eq!(protected_by(&pod), expected.then_some(annotation), "{annotation}: {value}");
        }
    }
}
