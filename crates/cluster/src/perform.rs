//! One effect, one request. The client that is given here must not retry by
//! itself: an answer that was lost is read from the world, not asked for again.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Status};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use prunella_core::execute::Effect;
use prunella_core::target::Object;

use crate::{ClusterError, within};

/// How long a write may take. After it nobody knows; the world is looked at. Not longer
/// than what is left of the lease, by default, when the leader stops acting.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// What the API server answers when a disruption budget allows no eviction.
const TOO_MANY_REQUESTS: u16 = 429;

/// What came of an effect.
#[derive(Debug)]
pub enum Performed {
    /// The API server accepted it.
    Accepted,
    /// A `PodDisruptionBudget` allows none now; it provably had no effect.
    RefusedByBudget,
    /// The object is another one or gone; it provably had no effect.
    NoSuchObject,
    /// The API server refused it for good, or nobody knows: look at the world.
    Unclear(ClusterError),
}

/// The request that carries an effect out, as an audit log would name it.
#[must_use]
pub fn request(effect: &Effect) -> &'static str {
    match effect {
        Effect::EvictPod { .. } => "create pods/eviction",
        Effect::DeletePod { .. } => "delete pods",
    }
}

/// Carries out one effect with one request.
pub async fn perform(client: &Client, namespace: &str, target: &Object, effect: &Effect) -> Performed {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let uid = Some(target.uid.to_string());
    let answer = match effect {
        Effect::EvictPod { grace } => {
            let eviction = Eviction {
                metadata: ObjectMeta {
                    name: Some(target.name.clone()),
                    namespace: Some(namespace.to_owned()),
                    ..ObjectMeta::default()
                },
                delete_options: Some(DeleteOptions {
                    grace_period_seconds: grace.map(|grace| grace.as_secs()),
                    preconditions: Some(Preconditions { uid, resource_version: None }),
                    ..DeleteOptions::default()
                }),
            };
            let params = PostParams::default();
            let request = pods.create_subresource::<Eviction, Status>("eviction", &target.name, &params, &eviction);
            within(WRITE_DEADLINE, request).await.map(drop)
        }
        Effect::DeletePod { grace } => {
            let params = DeleteParams {
                grace_period_seconds: grace.and_then(|grace| u32::try_from(grace.as_secs()).ok()),
                preconditions: Some(kube::api::Preconditions { uid, resource_version: None }),
                ..DeleteParams::default()
            };
            within(WRITE_DEADLINE, pods.delete(&target.name, &params)).await.map(drop)
        }
    };
    match answer {
        Ok(()) => Performed::Accepted,
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.code == TOO_MANY_REQUESTS => {
            Performed::RefusedByBudget
        }
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() || status.is_conflict() => {
            Performed::NoSuchObject
        }
        Err(error) => Performed::Unclear(error),
    }
}
