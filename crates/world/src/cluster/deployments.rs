//! The controller of `Deployment`s: one `ReplicaSet` for each template, and a rolling update within
//! `maxSurge` and `maxUnavailable`.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetSpec,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::{is_owned_by, owner};
use crate::api_server::ApiServer;
use crate::chance::Chance;

/// The label that tells the pods of one template from those of another.
const HASH_LABEL: &str = "pod-template-hash";

/// The reason of the condition `Progressing` when a rollout is complete.
const COMPLETE: &str = "NewReplicaSetAvailable";

pub(super) fn reconcile(server: &ApiServer, chance: Chance) {
    for deployment in server.all::<Deployment>() {
        let Some(spec) = deployment.spec.clone() else { continue };
        let uid = deployment.uid().unwrap_or_default();
        let sets: Vec<ReplicaSet> =
            server.all::<ReplicaSet>().into_iter().filter(|set| is_owned_by(set, &uid)).collect();
        let name = format!("{}-{}", deployment.name_any(), hash(&spec.template, chance));
        let (new, old): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| set.name_any() == name);
        match new.into_iter().next() {
            Some(new) => {
                roll(server, &spec, &new, &old);
                write_status(server, &deployment, &spec, &name, &uid);
            }
            None => {
                server.put_new(&new_set(&deployment, &spec, &name));
            }
        }
    }
}

fn hash(template: &PodTemplateSpec, chance: Chance) -> String {
    chance.suffix(&serde_json::to_string(template).unwrap_or_default(), 10)
}

/// The `ReplicaSet` of the newest template, without pods yet.
fn new_set(deployment: &Deployment, spec: &DeploymentSpec, name: &str) -> ReplicaSet {
    let hash = name.rsplit('-').next().unwrap_or_default().to_owned();
    let mut template = spec.template.clone();
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash);
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: deployment.namespace(),
            labels: metadata.labels.clone(),
            annotations: deployment.metadata.annotations.clone(),
            owner_references: Some(vec![owner(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            selector,
            template: Some(template),
            min_ready_seconds: spec.min_ready_seconds,
        }),
        status: None,
    }
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// One step of a rolling update: up as far as the surge allows, down as far as availability does.
fn roll(server: &ApiServer, spec: &DeploymentSpec, new: &ReplicaSet, old: &[ReplicaSet]) {
    let wanted = spec.replicas.unwrap_or(1);
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), wanted, true);
    let mut unavailable = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), wanted, false);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    let total = replicas(new) + old.iter().map(replicas).sum::<i32>();
    let up = (wanted - replicas(new)).min(wanted + surge - total);
    if replicas(new) > wanted {
        scale(server, new, wanted);
    } else if up > 0 {
        scale(server, new, replicas(new) + up);
        return;
    }
    // New pods that are not available yet may never be: they count as missing.
    let pending = replicas(new) - available(new);
    let mut spare = total - (wanted - unavailable) - pending;
    for set in old {
        // Old pods that are not available serve nobody, so they go first.
        let down = (replicas(set) - available(set)).min(spare).max(0);
        scale(server, set, replicas(set) - down);
        spare -= down;
    }
    let mut spare = available(new) + old.iter().map(available).sum::<i32>() - (wanted - unavailable);
    for set in old {
        let healthy = available(set).min(replicas(set));
        let down = healthy.min(spare).max(0);
        let broken = (replicas(set) - available(set)).max(0);
        if down > 0 && broken == 0 {
            scale(server, set, replicas(set) - down);
            spare -= down;
        }
    }
}

/// A number or a share of the pods. Shares are rounded up for a surge, and down otherwise.
fn share(of: Option<&IntOrString>, pods: i32, up: bool) -> i32 {
    match of {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(percent)) => {
            let percent = percent.trim_end_matches('%').parse::<i32>().unwrap_or(25);
            (pods * percent + if up { 99 } else { 0 }) / 100
        }
        None => (pods * 25 + if up { 99 } else { 0 }) / 100,
    }
}

fn scale(server: &ApiServer, set: &ReplicaSet, to: i32) {
    let mut next = set.clone();
    if let Some(spec) = next.spec.as_mut().filter(|spec| spec.replicas != Some(to)) {
        spec.replicas = Some(to);
        server.put(&next);
    }
}

fn write_status(server: &ApiServer, before: &Deployment, spec: &DeploymentSpec, new: &str, uid: &str) {
    let sets: Vec<ReplicaSet> = server.all::<ReplicaSet>().into_iter().filter(|set| is_owned_by(set, uid)).collect();
    let status = |set: &ReplicaSet| set.status.clone().unwrap_or_default();
    let sum = |of: fn(&ReplicaSet) -> i32| sets.iter().map(of).sum::<i32>();
    let (all, ready, available) = (
        sets.iter().map(|set| status(set).replicas).sum::<i32>(),
        sets.iter().map(|set| status(set).ready_replicas.unwrap_or(0)).sum::<i32>(),
        sum(available),
    );
    let updated = sets.iter().filter(|set| set.name_any() == new).map(|set| status(set).replicas).sum::<i32>();
    let wanted = spec.replicas.unwrap_or(1);
    // Once a rollout is complete, it stays so until the template changes: pods that fail later, or a
    // new number of pods, are no rollout.
    let earlier = before.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let was_complete = earlier.iter().any(|one| one.reason.as_deref() == Some(COMPLETE));
    let complete = all == updated && (was_complete || (updated == wanted && available == wanted));
    let progressing = if complete { COMPLETE } else { "ReplicaSetUpdated" };
    let minimum = wanted - share(rolling_unavailable(spec), wanted, false);
    let condition = |kind: &str, is: bool, reason: &str| DeploymentCondition {
        type_: kind.to_owned(),
        status: if is { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        ..DeploymentCondition::default()
    };
    let mut deployment = before.clone();
    deployment.status = Some(DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(all),
        updated_replicas: Some(updated),
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        unavailable_replicas: Some((all.max(wanted) - available).max(0)),
        conditions: Some(vec![
            condition("Available", available >= minimum, "MinimumReplicasAvailable"),
            condition("Progressing", true, progressing),
        ]),
        ..DeploymentStatus::default()
    });
    server.put(&deployment);
}

fn rolling_unavailable(spec: &DeploymentSpec) -> Option<&IntOrString> {
    spec.strategy.as_ref()?.rolling_update.as_ref()?.max_unavailable.as_ref()
}
