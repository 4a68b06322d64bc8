//! How a target and its workload stand right now, read from the API server: a
//! cache may be a minute old, and the executor must not act on old news.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::future::join;
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::core::{NamespaceResourceScope, Selector, SelectorExt};
use kube::{Api, Client, ResourceExt};
use prunella_api::RESTARTED_BY_ANNOTATION;
use prunella_core::action::Action;
use prunella_core::execute::{LiveField, LiveSubject, LiveTarget};
use prunella_core::target::{NotHealable, Object, Uid};
use serde::de::DeserializeOwned;

use crate::pod::not_healable;
use crate::{ClusterError, REQUEST_DEADLINE, within};

/// An object that an action is for, at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    labels: BTreeMap<String, String>,
    is_terminating: bool,
    not_healable: Option<NotHealable>,
}

impl Found {
    /// What is said of an object of any kind.
    fn of(object: &impl ResourceExt) -> Self {
        let is_terminating = object.meta().deletion_timestamp.is_some();
        Self { labels: object.labels().clone(), is_terminating, not_healable: None }
    }

    /// How it stands to what chooses it.
    #[must_use]
    pub fn standing(&self, chosen_by: Option<&Selector>) -> LiveTarget {
        if self.is_terminating {
            LiveTarget::Terminating
        } else if chosen_by.is_some_and(|selector| !selector.matches(&self.labels)) {
            LiveTarget::NotSelected
        } else {
            self.not_healable.map_or(LiveTarget::Present, LiveTarget::NotHealable)
        }
    }
}

/// The target, by uid: a namesake is not the target.
///
/// # Errors
/// When the API server does not say.
pub async fn target(client: &Client, namespace: &str, target: &Object) -> Result<Option<Found>, ClusterError> {
    match target.kind.as_str() {
        "Deployment" => metadata::<Deployment>(client, namespace, target).await,
        "StatefulSet" => metadata::<StatefulSet>(client, namespace, target).await,
        "DaemonSet" => metadata::<DaemonSet>(client, namespace, target).await,
        _ => {
            let pod = get::<Pod>(client, namespace, target).await?;
            Ok(pod.map(|pod| Found { not_healable: not_healable(&pod), ..Found::of(&pod) }))
        }
    }
}

async fn metadata<K>(client: &Client, namespace: &str, target: &Object) -> Result<Option<Found>, ClusterError>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let found = within(REQUEST_DEADLINE, api.get_metadata_opt(&target.name)).await?;
    Ok(found.filter(|found| found.uid().as_deref() == Some(target.uid.as_str())).map(|found| Found::of(&found)))
}

/// A workload at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The object itself, which may be the target; `None` when it is gone, or of a kind
    /// that is not read.
    pub found: Option<Found>,
    /// Whether it is whole, as the action asked for it.
    pub subject: LiveSubject,
    /// How many of the replicas that it asks for are not ready.
    pub missing: usize,
    /// What the action writes.
    pub field: LiveField,
    /// The time without progress after which its own controller gives up.
    pub progress_deadline: Option<SignedDuration>,
    /// The version that was read of the object that the action writes.
    pub version: Option<String>,
}

impl Workload {
    /// What a workload is taken for that nothing is asked of.
    #[must_use]
    pub fn of_no_concern(subject: LiveSubject) -> Self {
        Self { found: None, subject, missing: 0, field: LiveField::None, progress_deadline: None, version: None }
    }
}

/// How the workload stands to `action`, whose own uid is `mark`.
///
/// # Errors
/// When the API server does not say.
pub async fn workload(
    client: &Client,
    namespace: &str,
    subject: &Object,
    action: &Action,
    mark: &Uid,
) -> Result<Workload, ClusterError> {
    let minimum = async {
        match action {
            Action::Scale { autoscaler: Some(autoscaler), .. } => {
                minimum(client, namespace, autoscaler).await.map(Some)
            }
            _ => Ok(None),
        }
    };
    let (seen, minimum) = join(read(client, namespace, subject), minimum).await;
    let Some(seen) = seen? else { return Ok(Workload::of_no_concern(LiveSubject::Gone)) };
    let found = seen.found;
    if seen.wanted < 1 {
        return Ok(Workload { found, ..Workload::of_no_concern(LiveSubject::Gone) });
    }
    // Only now: of a workload that is gone its autoscaler is no concern.
    let minimum = minimum?;
    let mut version = seen.version;
    let (whole, field) = match action {
        Action::DeletePod { .. } => (seen.ready >= seen.wanted, LiveField::None),
        Action::RolloutRestart => {
            (seen.is_rolled_out, LiveField::Restarted { by_this: seen.mark.as_deref() == Some(mark.as_str()) })
        }
        Action::Scale { to, .. } => match minimum {
            None => (seen.is_observed && seen.ready == seen.wanted, LiveField::Count(seen.wanted)),
            Some((field, read)) => {
                version = read;
                (seen.is_observed && seen.wanted >= *to && seen.ready >= seen.wanted, field)
            }
        },
    };
    let subject = if whole { LiveSubject::Restored } else { LiveSubject::NotRestored };
    let missing = usize::try_from(seen.wanted.saturating_sub(seen.ready)).unwrap_or(0);
    Ok(Workload { found, subject, missing, field, progress_deadline: seen.progress_deadline, version })
}

/// The autoscaler's minimum, and the version that says so.
async fn minimum(
    client: &Client,
    namespace: &str,
    autoscaler: &Object,
) -> Result<(LiveField, Option<String>), ClusterError> {
    let object = get::<HorizontalPodAutoscaler>(client, namespace, autoscaler).await?;
    // An absent minimum is one.
    let count = |object: HorizontalPodAutoscaler| {
        (LiveField::Count(object.spec.min_replicas.unwrap_or(1)), object.metadata.resource_version)
    };
    Ok(object.map_or((LiveField::Disowned, None), count))
}

/// What is read of a workload of any kind.
#[derive(Debug)]
struct Seen {
    found: Option<Found>,
    wanted: i32,
    ready: i32,
    /// Whether its controller has seen the newest spec.
    is_observed: bool,
    /// Whether all its pods are of the newest template, and available.
    is_rolled_out: bool,
    /// Who restarted it last.
    mark: Option<String>,
    progress_deadline: Option<SignedDuration>,
    version: Option<String>,
}

async fn read(client: &Client, namespace: &str, subject: &Object) -> Result<Option<Seen>, ClusterError> {
    Ok(match subject.kind.as_str() {
        "Deployment" => get(client, namespace, subject).await?.as_ref().map(deployment),
        "StatefulSet" => get(client, namespace, subject).await?.as_ref().map(stateful_set),
        "DaemonSet" => get(client, namespace, subject).await?.as_ref().map(daemon_set),
        "ReplicaSet" => get(client, namespace, subject).await?.as_ref().map(replica_set),
        // Somebody else's kind: whether it is whole is seen in its pods alone, and
        // verification looks at those.
        _ => Some(Seen {
            found: None,
            wanted: 1,
            ready: 1,
            is_observed: true,
            is_rolled_out: true,
            mark: None,
            progress_deadline: None,
            version: None,
        }),
    })
}

/// The object by uid: a namesake is another one.
async fn get<K>(client: &Client, namespace: &str, object: &Object) -> Result<Option<K>, ClusterError>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let found = within(REQUEST_DEADLINE, api.get_opt(&object.name)).await?;
    Ok(found.filter(|found| found.uid().as_deref() == Some(object.uid.as_str())))
}

// An absent spec.replicas means 1, an absent count means none.

fn deployment(object: &Deployment) -> Seen {
    let (spec, status) = (object.spec.clone().unwrap_or_default(), object.status.clone().unwrap_or_default());
    let wanted = spec.replicas.unwrap_or(1);
    let is_observed = status.observed_generation >= object.metadata.generation;
    let updated = status.updated_replicas.unwrap_or(0);
    let is_rolled_out = is_observed
        && updated == wanted
        && status.replicas.unwrap_or(0) == updated
        && status.available_replicas.unwrap_or(0) == updated;
    Seen {
        found: Some(Found::of(object)),
        wanted,
        ready: status.ready_replicas.unwrap_or(0),
        is_observed,
        is_rolled_out,
        mark: mark(&spec.template),
        progress_deadline: spec.progress_deadline_seconds.map(|seconds| SignedDuration::from_secs(seconds.into())),
        version: object.metadata.resource_version.clone(),
    }
}

fn stateful_set(object: &StatefulSet) -> Seen {
    let (spec, status) = (object.spec.clone().unwrap_or_default(), object.status.clone().unwrap_or_default());
    let wanted = spec.replicas.unwrap_or(1);
    let is_observed = status.observed_generation >= object.metadata.generation;
    let is_rolled_out = is_observed
        && status.update_revision == status.current_revision
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted;
    let ready = status.ready_replicas.unwrap_or(0);
    Seen {
        found: Some(Found::of(object)),
        wanted,
        ready,
        is_observed,
        is_rolled_out,
        mark: mark(&spec.template),
        progress_deadline: None,
        version: object.metadata.resource_version.clone(),
    }
}

fn daemon_set(object: &DaemonSet) -> Seen {
    let template = object.spec.as_ref().map(|spec| &spec.template);
    let status = object.status.clone().unwrap_or_default();
    let wanted = status.desired_number_scheduled;
    let is_observed = status.observed_generation >= object.metadata.generation;
    let is_rolled_out = is_observed
        && status.updated_number_scheduled.unwrap_or(0) == wanted
        && status.number_available.unwrap_or(0) == wanted;
    Seen {
        found: Some(Found::of(object)),
        wanted,
        ready: status.number_ready,
        is_observed,
        is_rolled_out,
        mark: template.and_then(mark),
        progress_deadline: None,
        version: object.metadata.resource_version.clone(),
    }
}

fn replica_set(object: &ReplicaSet) -> Seen {
    let wanted = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = object.status.clone().unwrap_or_default();
    Seen {
        found: Some(Found::of(object)),
        wanted,
        ready: status.ready_replicas.unwrap_or(0),
        is_observed: status.observed_generation >= object.metadata.generation,
        // It never replaces its pods, whatever becomes of its template.
        is_rolled_out: false,
        mark: None,
        progress_deadline: None,
        version: object.metadata.resource_version.clone(),
    }
}

fn mark(template: &PodTemplateSpec) -> Option<String> {
    template.metadata.as_ref()?.annotations.as_ref()?.get(RESTARTED_BY_ANNOTATION).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::DeepMerge;
    use serde_json::{Value, json};

    /// A rollout that is complete, with `change` merged into it.
    fn seen<K>(complete: Value, change: Value, read: fn(&K) -> Seen) -> Seen
    where
        K: DeserializeOwned + DeepMerge,
    {
        let mut object: K = serde_json::from_value(complete).unwrap();
        object.merge_from(serde_json::from_value(change).unwrap());
        read(&object)
    }

    #[track_caller]
    fn check<K>(complete: &Value, read: fn(&K) -> Seen, pending: &[Value])
    where
        K: DeserializeOwned + DeepMerge,
    {
        assert!(seen(complete.clone(), complete.clone(), read).is_rolled_out);
        for change in pending {
            let mut change = change.clone();
            // What the types ask for.
            change["spec"]["selector"] = complete["spec"]["selector"].clone();
            change["spec"]["template"] = complete["spec"]["template"].clone();
            assert!(!seen(complete.clone(), change.clone(), read).is_rolled_out, "{change}");
        }
    }

    fn spec(replicas: i32) -> Value {
        json!({"replicas": replicas, "selector": {}, "serviceName": "web", "template": {
            "metadata": {"annotations": {RESTARTED_BY_ANNOTATION: "uid-action"}},
        }})
    }

    #[test]
    fn a_deployment_is_rolled_out_when_no_old_pod_is_left_and_every_new_one_is_available() {
        let complete = json!({
            "metadata": {"generation": 4}, "spec": spec(3),
            "status": {"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3},
        });
        check::<Deployment>(
            &complete,
            deployment,
            &[
                json!({"metadata": {"generation": 5}}),
                json!({"status": {"replicas": 4}}),
                json!({"status": {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}}),
                json!({"status": {"updatedReplicas": 2}}),
                json!({"status": {"availableReplicas": 2}}),
            ],
        );
        let seen = seen(
            complete,
            json!({"spec": {"selector": {}, "template": {}, "progressDeadlineSeconds": 900}}),
            deployment,
        );
        assert_eq!((seen.wanted, seen.ready, seen.mark.as_deref()), (3, 3, Some("uid-action")));
        assert_eq!(seen.progress_deadline, Some(SignedDuration::from_mins(15)));
    }

    #[test]
    fn a_stateful_set_is_rolled_out_when_its_newest_revision_is_its_current_one() {
        let complete = json!({
            "metadata": {"generation": 4}, "spec": spec(2),
            "status": {"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
                       "availableReplicas": 2, "currentRevision": "b", "updateRevision": "b"},
        });
        check::<StatefulSet>(
            &complete,
            stateful_set,
            &[
                json!({"metadata": {"generation": 5}}),
                json!({"status": {"replicas": 2, "currentRevision": "a"}}),
                json!({"status": {"replicas": 2, "updatedReplicas": 1}}),
                json!({"status": {"replicas": 2, "availableReplicas": 1}}),
            ],
        );
    }

    #[test]
    fn a_daemon_set_is_rolled_out_when_every_node_has_a_new_pod_that_is_available() {
        let counts = json!({"currentNumberScheduled": 3, "numberMisscheduled": 0, "desiredNumberScheduled": 3, "numberReady": 3});
        let status = |change: Value| {
            let mut status = counts.clone();
            change.as_object().unwrap().iter().for_each(|(key, value)| status[key] = value.clone());
            status
        };
        let complete = json!({
            "metadata": {"generation": 4}, "spec": spec(0),
            "status": status(json!({"observedGeneration": 4, "updatedNumberScheduled": 3, "numberAvailable": 3})),
        });
        check::<DaemonSet>(
            &complete,
            daemon_set,
            &[
                json!({"metadata": {"generation": 5}}),
                json!({"status": status(json!({"updatedNumberScheduled": 2}))}),
                json!({"status": status(json!({"numberAvailable": 2}))}),
                json!({"status": status(json!({"desiredNumberScheduled": 4}))}),
            ],
        );
    }
}
