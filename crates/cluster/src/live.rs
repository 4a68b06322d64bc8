//! How a target and its workload stand right now, read from the API server: a
//! cache may be a minute old, and the executor must not act on old news.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::core::{Selector, SelectorExt};
use kube::{Api, Client, ResourceExt};
use prunella_core::execute::{LiveSubject, LiveTarget};
use prunella_core::target::Object;

use crate::pod::SlimPod;
use crate::{ClusterError, REQUEST_DEADLINE, within};

/// The target pod, by uid: a namesake is not the target.
///
/// # Errors
/// When the API server does not say.
pub async fn pod(
    client: &Client,
    namespace: &str,
    target: &Object,
    selector: Option<&Selector>,
) -> Result<LiveTarget, ClusterError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let Some(pod) = within(REQUEST_DEADLINE, pods.get_opt(&target.name)).await? else { return Ok(LiveTarget::Gone) };
    if pod.uid().as_deref() != Some(target.uid.as_str()) {
        return Ok(LiveTarget::Gone);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Ok(LiveTarget::Terminating);
    }
    if selector.is_some_and(|selector| !selector.matches(pod.labels())) {
        return Ok(LiveTarget::NotSelected);
    }
    Ok(SlimPod::of(&pod).and_then(|slim| slim.not_healable()).map_or(LiveTarget::Present, LiveTarget::NotHealable))
}

/// Whether the workload has as many ready replicas as it asks for.
///
/// # Errors
/// When the API server does not say.
pub async fn subject(client: &Client, namespace: &str, subject: &Object) -> Result<LiveSubject, ClusterError> {
    /// Uid, wanted and ready replicas of a workload, or that it is gone.
    macro_rules! replicas {
        ($kind:ty, $wanted:expr, $ready:expr) => {{
            let api: Api<$kind> = Api::namespaced(client.clone(), namespace);
            let object = within(REQUEST_DEADLINE, api.get_opt(&subject.name)).await?;
            object.filter(|object| object.uid().as_deref() == Some(subject.uid.as_str())).map(|object| {
                let wanted: fn(&$kind) -> Option<i32> = $wanted;
                let ready: fn(&$kind) -> Option<i32> = $ready;
                // An absent spec.replicas means 1, an absent count means none.
                (wanted(&object).unwrap_or(1), ready(&object).unwrap_or(0))
            })
        }};
    }
    let replicas = match subject.kind.as_str() {
        "Deployment" => replicas!(Deployment, |d| d.spec.as_ref()?.replicas, |d| d.status.as_ref()?.ready_replicas),
        "StatefulSet" => replicas!(StatefulSet, |s| s.spec.as_ref()?.replicas, |s| s.status.as_ref()?.ready_replicas),
        "ReplicaSet" => replicas!(ReplicaSet, |r| r.spec.as_ref()?.replicas, |r| r.status.as_ref()?.ready_replicas),
        "DaemonSet" => replicas!(DaemonSet, |d| Some(d.status.as_ref()?.desired_number_scheduled), |d| Some(
            d.status.as_ref()?.number_ready
        )),
        // Somebody else's kind: whether it is whole is seen in its pods alone, and
        // verification looks at those.
        _ => Some((1, 1)),
    };
    Ok(match replicas {
        None | Some((0, _)) => LiveSubject::Gone,
        Some((wanted, ready)) if ready >= wanted => LiveSubject::Restored,
        Some(_) => LiveSubject::NotRestored,
    })
}
