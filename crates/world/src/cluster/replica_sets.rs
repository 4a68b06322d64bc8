//! The controller of `ReplicaSet`s: creates and deletes pods until there are as many as wanted.

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::{ClusterState, count, is_active, is_owned_by, owner, ready};
use crate::api_server::{ApiServer, is_ready};

pub(super) fn reconcile(server: &ApiServer, state: &mut ClusterState) {
    for set in server.all::<ReplicaSet>() {
        let uid = set.uid().unwrap_or_default();
        let mut pods: Vec<Pod> = server.all::<Pod>().into_iter().filter(|pod| is_owned_by(pod, &uid)).collect();
        pods.retain(is_active);
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let missing = wanted - count(pods.iter());
        for _ in 0..missing {
            server.put_new(&new_pod(&set, state));
        }
        // Those that are not Ready go first, then the newest.
        pods.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(pod.creation_timestamp().map(|time| time.0))));
        for pod in pods.iter().take(usize::try_from(-missing).unwrap_or(0)) {
            server.remove(pod, None);
        }
        write_status(server, set, &uid);
    }
}

fn new_pod(set: &ReplicaSet, state: &mut ClusterState) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    let number = state.created.entry(set.name_any()).or_default();
    *number += 1;
    let suffix = state.chance.suffix(&format!("{}/{number}", set.name_any()), 5);
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("{}-{suffix}", set.name_any())),
            namespace: set.namespace(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            owner_references: Some(vec![owner(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

fn write_status(server: &ApiServer, mut set: ReplicaSet, uid: &str) {
    let pods: Vec<Pod> =
        server.all::<Pod>().into_iter().filter(|pod| is_owned_by(pod, uid) && is_active(pod)).collect();
    let all = count(pods.iter());
    let ready = ready(&pods);
    set.status = Some(ReplicaSetStatus {
        replicas: all,
        fully_labeled_replicas: Some(all),
        ready_replicas: Some(ready),
        available_replicas: Some(ready),
        observed_generation: set.metadata.generation,
        ..ReplicaSetStatus::default()
    });
    server.put(&set);
}
