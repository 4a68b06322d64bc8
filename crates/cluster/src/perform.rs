//! One effect, one request. The client that is given here must not retry by
//! itself: an answer that was lost is read from the world, not asked for again.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Status};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client};
use prunella_api::{FIELD_MANAGER, RESTARTED_BY_ANNOTATION};
use prunella_core::execute::Effect;
use prunella_core::target::{Object, Uid};
use serde_json::json;

use crate::{ClusterError, within};

/// How long a write may take. After it nobody knows; the world is looked at. Not longer
/// than what is left of the lease, by default, when the leader stops acting.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// What the API server answers when a disruption budget allows no eviction.
const TOO_MANY_REQUESTS: u16 = 429;
/// What it answers when the test in a JSON patch fails.
const UNPROCESSABLE: u16 = 422;

/// What came of an effect.
#[derive(Debug)]
pub enum Performed {
    /// The API server accepted it.
    Accepted,
    /// A `PodDisruptionBudget` allows none now; it provably had no effect.
    RefusedByBudget,
    /// The object is another one or gone, or what it was to be changed from is not there;
    /// it provably had no effect.
    NotAsExpected,
    /// The controller lacks the right, or an admission policy is against it, in the API
    /// server's words; it provably had no effect.
    Forbidden(String),
    /// The API server refused it for good, or nobody knows: look at the world.
    Unclear(ClusterError),
}

/// The request that carries an effect out, as an audit log would name it, and the object
/// that it goes to.
#[must_use]
pub fn request(target: &Object, subject: &Object, effect: &Effect) -> (String, Object) {
    let resource = format!("{}s", subject.kind.to_lowercase());
    match effect {
        Effect::EvictPod { .. } => ("create pods/eviction".to_owned(), target.clone()),
        Effect::DeletePod { .. } => ("delete pods".to_owned(), target.clone()),
        Effect::Restart { .. } => (format!("patch {resource}"), subject.clone()),
        Effect::Scale { .. } => (format!("patch {resource}/scale"), subject.clone()),
        Effect::RaiseMinimum { autoscaler, .. } => ("patch horizontalpodautoscalers".to_owned(), autoscaler.clone()),
    }
}

/// Carries out one effect with one request. A workload or an autoscaler is changed only as
/// long as it is in the `version` that the change was decided on: a request that arrives
/// late, when another was sent in its stead and somebody has gone on from there, changes
/// nothing any more.
pub async fn perform(
    client: &Client,
    namespace: &str,
    target: &Object,
    subject: &Object,
    effect: &Effect,
    version: Option<&str>,
) -> Performed {
    let answer = match effect {
        Effect::EvictPod { grace } => evict(client, namespace, target, *grace).await,
        Effect::DeletePod { grace } => delete(client, namespace, target, *grace).await,
        Effect::Restart { mark } => restart(client, namespace, subject, mark, version).await,
        Effect::Scale { from, to } => match test_and_set(subject, version, "/spec/replicas", *from, *to) {
            Ok(patch) => scale(client, namespace, subject, &patch).await,
            Err(error) => Err(error),
        },
        Effect::RaiseMinimum { autoscaler, from, to } => {
            match test_and_set(autoscaler, version, "/spec/minReplicas", *from, *to) {
                Ok(patch) => raise_minimum(client, namespace, autoscaler, &patch).await,
                Err(error) => Err(error),
            }
        }
    };
    match answer {
        Ok(()) => Performed::Accepted,
        Err(ClusterError::Kube(kube::Error::Api(status)))
            if status.code == TOO_MANY_REQUESTS && matches!(effect, Effect::EvictPod { .. }) =>
        {
            Performed::RefusedByBudget
        }
        Err(ClusterError::Kube(kube::Error::Api(status)))
            if status.is_not_found() || status.is_conflict() || status.code == UNPROCESSABLE =>
        {
            Performed::NotAsExpected
        }
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_forbidden() => {
            Performed::Forbidden(status.message.clone())
        }
        Err(error) => Performed::Unclear(error),
    }
}

async fn evict(
    client: &Client,
    namespace: &str,
    pod: &Object,
    grace: Option<SignedDuration>,
) -> Result<(), ClusterError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(pod.name.clone()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            grace_period_seconds: grace.map(|grace| grace.as_secs()),
            preconditions: Some(Preconditions { uid: Some(pod.uid.to_string()), resource_version: None }),
            ..DeleteOptions::default()
        }),
    };
    let params = PostParams::default();
    let request = pods.create_subresource::<Eviction, Status>("eviction", &pod.name, &params, &eviction);
    within(WRITE_DEADLINE, request).await.map(drop)
}

async fn delete(
    client: &Client,
    namespace: &str,
    pod: &Object,
    grace: Option<SignedDuration>,
) -> Result<(), ClusterError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = DeleteParams {
        grace_period_seconds: grace.and_then(|grace| u32::try_from(grace.as_secs()).ok()),
        preconditions: Some(kube::api::Preconditions { uid: Some(pod.uid.to_string()), resource_version: None }),
        ..DeleteParams::default()
    };
    within(WRITE_DEADLINE, pods.delete(&pod.name, &params)).await.map(drop)
}

/// Marks the pod template. The same mark a second time changes nothing; the uid, which
/// cannot be changed, refuses a namesake.
async fn restart(
    client: &Client,
    namespace: &str,
    workload: &Object,
    mark: &Uid,
    version: Option<&str>,
) -> Result<(), ClusterError> {
    let patch = Patch::Merge(json!({
        // Null takes nothing away here: a version that is not given is not asked for.
        "metadata": {"uid": workload.uid.as_str(), "resourceVersion": version},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_BY_ANNOTATION: mark.as_str()}}}},
    }));
    let (name, params) = (workload.name.as_str(), params());
    match workload.kind.as_str() {
        "Deployment" => patched(api::<Deployment>(client, namespace).patch(name, &params, &patch)).await,
        "StatefulSet" => patched(api::<StatefulSet>(client, namespace).patch(name, &params, &patch)).await,
        "DaemonSet" => patched(api::<DaemonSet>(client, namespace).patch(name, &params, &patch)).await,
        _ => Err(ClusterError::NoSuchAction(workload.kind.clone())),
    }
}

async fn scale(client: &Client, namespace: &str, workload: &Object, patch: &Patch<()>) -> Result<(), ClusterError> {
    let (name, params) = (workload.name.as_str(), params());
    match workload.kind.as_str() {
        "Deployment" => patched(api::<Deployment>(client, namespace).patch_scale(name, &params, patch)).await,
        "StatefulSet" => patched(api::<StatefulSet>(client, namespace).patch_scale(name, &params, patch)).await,
        _ => Err(ClusterError::NoSuchAction(workload.kind.clone())),
    }
}

async fn raise_minimum(
    client: &Client,
    namespace: &str,
    autoscaler: &Object,
    patch: &Patch<()>,
) -> Result<(), ClusterError> {
    let autoscalers = api::<HorizontalPodAutoscaler>(client, namespace);
    patched(autoscalers.patch(&autoscaler.name, &params(), patch)).await
}

/// Changes one number of one object, and nothing if any of these is another by then.
fn test_and_set(
    object: &Object,
    version: Option<&str>,
    path: &str,
    from: i32,
    to: i32,
) -> Result<Patch<()>, ClusterError> {
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": object.uid.as_str()}),
        json!({"op": "test", "path": path, "value": from}),
        json!({"op": "replace", "path": path, "value": to}),
    ];
    operations.extend(version.map(|it| json!({"op": "test", "path": "/metadata/resourceVersion", "value": it})));
    Ok(Patch::Json(serde_json::from_value(operations.into()).map_err(kube::Error::SerdeError)?))
}

async fn patched<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<(), ClusterError> {
    within(WRITE_DEADLINE, request).await.map(drop)
}

fn api<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}
