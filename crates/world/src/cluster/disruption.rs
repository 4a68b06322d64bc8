//! The disruption controller: how many pods each budget lets go now.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{count, is_active, is_owned_by, ready};
use crate::api_server::{ApiServer, selects};

pub(super) fn reconcile(server: &ApiServer) {
    for mut budget in server.all::<PodDisruptionBudget>() {
        let spec = budget.spec.clone().unwrap_or_default();
        let namespace = budget.namespace();
        let mut pods: Vec<Pod> = server.all::<Pod>();
        pods.retain(|pod| pod.namespace() == namespace && selects(spec.selector.clone(), pod));
        let expected = expected(server, &pods);
        let healthy = ready(pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()));
        let desired = match (&spec.min_available, &spec.max_unavailable) {
            (Some(minimum), _) => rounded_up(minimum, expected),
            (None, Some(maximum)) => (expected - rounded_up(maximum, expected)).max(0),
            (None, None) => 0,
        };
        // A pod that was evicted counts as gone from then on, although it still runs.
        let mut disrupted = budget.status.clone().unwrap_or_default().disrupted_pods.unwrap_or_default();
        disrupted.retain(|name, _| pods.iter().any(|pod| pod.name_any() == *name && is_active(pod)));
        let healthy = healthy - i32::try_from(disrupted.len()).unwrap_or(0);
        budget.status = Some(PodDisruptionBudgetStatus {
            observed_generation: budget.metadata.generation,
            expected_pods: Some(expected),
            desired_healthy: Some(desired),
            current_healthy: Some(healthy),
            disruptions_allowed: Some((healthy - desired).max(0)),
            disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
            ..PodDisruptionBudgetStatus::default()
        });
        server.put(&budget);
    }
}

/// How many pods the owners of these pods want.
fn expected(server: &ApiServer, pods: &[Pod]) -> i32 {
    let sets = server.all::<ReplicaSet>();
    let owns = |set: &&ReplicaSet| pods.iter().any(|pod| is_owned_by(pod, &set.uid().unwrap_or_default()));
    let replicas = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let wanted: i32 = sets.iter().filter(owns).map(replicas).sum();
    let alone = count(pods.iter().filter(|pod| pod.owner_references().is_empty()));
    wanted + alone
}

fn rounded_up(of: &IntOrString, pods: i32) -> i32 {
    match of {
        IntOrString::Int(number) => *number,
        IntOrString::String(percent) => (pods * percent.trim_end_matches('%').parse::<i32>().unwrap_or(0) + 99) / 100,
    }
}
