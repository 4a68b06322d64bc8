//! The current state of a target and its workload, read from the API server. A cache may be a
//! minute old, and the executor must not act on old data.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::future::join;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::core::{NamespaceResourceScope, Selector, SelectorExt};
use kube::{Api, Client, ResourceExt};
use prunella_api::RESTARTED_BY_ANNOTATION;
use prunella_core::action::Action;
use prunella_core::execute::{LiveField, LiveSubject, LiveTarget};
use prunella_core::target::{NotHealable, Object, Uid};
use serde::de::DeserializeOwned;

use crate::action::{ActionProgress, AutoscalerMinimum, in_cluster};
pub use crate::managers::FieldWriter;
use crate::managers::{REPLICAS, TEMPLATE, changed_by};
use crate::owner::{controller_of, not_healable, protected_by};
use crate::{ClusterError, REQUEST_DEADLINE, within};

/// The target or workload of an action at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveObject {
    labels: BTreeMap<String, String>,
    terminating_until: Option<Timestamp>,
    not_healable: Option<NotHealable>,
    protected_by: Option<&'static str>,
}

impl LiveObject {
    /// The facts that every kind has.
    fn of(object: &impl ResourceExt) -> Self {
        let terminating_until = object.meta().deletion_timestamp.as_ref().map(|time| time.0);
        Self { labels: object.labels().clone(), terminating_until, not_healable: None, protected_by: None }
    }

    /// When it must have ended, by the API server's clock. `None`: it is not being deleted.
    #[must_use]
    pub fn terminating_until(&self) -> Option<Timestamp> {
        self.terminating_until
    }

    /// Whether its owner asks not to evict it.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.protected_by.is_some()
    }

    /// Its state as a target of a policy with the selector `chosen_by`. `None`: without a check
    /// of the selector.
    #[must_use]
    pub fn standing(&self, chosen_by: Option<&Selector>) -> LiveTarget {
        if self.terminating_until.is_some() {
            LiveTarget::Terminating
        } else if chosen_by.is_some_and(|selector| !selector.matches(&self.labels)) {
            LiveTarget::NotSelected
        } else {
            self.not_healable.map_or(LiveTarget::Present, LiveTarget::NotHealable)
        }
    }
}

/// The target. `None`: no object of this name has its uid.
///
/// # Errors
/// When the API server gives no answer.
pub async fn target(client: &Client, namespace: &str, target: &Object) -> Result<Option<LiveObject>, ClusterError> {
    match target.native_kind() {
        "Deployment" => metadata::<Deployment>(client, namespace, target).await,
        "StatefulSet" => metadata::<StatefulSet>(client, namespace, target).await,
        "DaemonSet" => metadata::<DaemonSet>(client, namespace, target).await,
        _ => {
            let pod = get::<Pod>(client, namespace, target).await?;
            Ok(pod.map(|pod| LiveObject {
                not_healable: not_healable(&pod),
                protected_by: protected_by(&pod),
                ..LiveObject::of(&pod)
            }))
        }
    }
}

async fn metadata<K>(client: &Client, namespace: &str, target: &Object) -> Result<Option<LiveObject>, ClusterError>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let found = within(REQUEST_DEADLINE, api.get_metadata_opt(&target.name)).await?;
    Ok(found.filter(|found| found.uid().as_deref() == Some(target.uid.as_str())).map(|found| LiveObject::of(&found)))
}

/// A workload at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveWorkload {
    /// The object, which may be the target. `None`: it is gone, or Prunella does not read its
    /// kind.
    pub found: Option<LiveObject>,
    /// Whether it has the state that the action wants.
    pub subject: LiveSubject,
    /// How many of the replicas in its spec are not ready.
    pub missing: usize,
    /// The value that the action changes.
    pub field: LiveField,
    /// How many replicas its spec asks for. `None`: Prunella does not read its kind.
    pub wanted: Option<usize>,
    /// The resource version of the object that the action changes.
    pub version: Option<String>,
    /// The client, other than Prunella, that wrote that value last.
    pub changed_by: Option<FieldWriter>,
    /// The object that controls it and may undo a change of it.
    pub controller: Option<Object>,
    /// Whether it exists and is scaled to zero.
    pub scaled_to_zero: bool,
}

impl LiveWorkload {
    /// A workload of which only the state is known.
    #[must_use]
    pub fn of_no_concern(subject: LiveSubject) -> Self {
        Self {
            found: None,
            subject,
            missing: 0,
            wanted: None,
            field: LiveField::None,
            version: None,
            changed_by: None,
            controller: None,
            scaled_to_zero: false,
        }
    }
}

/// The state of the workload for `action`. `mark` is the uid of the action's record.
///
/// # Errors
/// When the API server gives no answer.
pub async fn workload(
    client: &Client,
    namespace: &str,
    subject: &Object,
    action: &Action,
    mark: &Uid,
) -> Result<LiveWorkload, ClusterError> {
    let action = in_cluster(action);
    let minimum = async {
        match action.autoscaler() {
            Some(autoscaler) => get(client, namespace, autoscaler).await.map(AutoscalerMinimum::of).map(Some),
            None => Ok(None),
        }
    };
    let (reading, minimum) = join(read(client, namespace, subject), minimum).await;
    let Some(reading) = reading? else { return Ok(LiveWorkload::of_no_concern(LiveSubject::Gone)) };
    if reading.wanted < 1 {
        let gone = LiveWorkload::of_no_concern(LiveSubject::Gone);
        return Ok(LiveWorkload { found: reading.found, scaled_to_zero: true, ..gone });
    }
    // After the check of the workload: if it is gone, an error about its autoscaler does not
    // matter.
    let ActionProgress { restored, field, version, changed_by } = action.progress(&reading, minimum?, mark);
    Ok(LiveWorkload {
        subject: if restored { LiveSubject::Restored } else { LiveSubject::NotRestored },
        // How many pods an owner of another kind wants is not known: one replacement is enough.
        missing: reading.found.as_ref().map_or(0, |_| count(reading.wanted.saturating_sub(reading.ready))),
        wanted: reading.found.as_ref().map(|_| count(reading.wanted)),
        field,
        version,
        changed_by,
        controller: reading.controller,
        scaled_to_zero: false,
        found: reading.found,
    })
}

/// A number of pods. A negative one means none.
fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// The facts that Prunella reads from a workload of any kind.
#[derive(Debug)]
pub(crate) struct WorkloadReading {
    pub(crate) found: Option<LiveObject>,
    pub(crate) wanted: i32,
    pub(crate) ready: i32,
    /// Whether its controller has observed the newest spec.
    pub(crate) is_observed: bool,
    /// Whether all its pods have the newest template and are available.
    pub(crate) is_rolled_out: bool,
    /// The uid of the action that restarted it last.
    pub(crate) mark: Option<String>,
    pub(crate) version: Option<String>,
    /// The clients, other than Prunella, that wrote last.
    pub(crate) template_by: Option<FieldWriter>,
    pub(crate) replicas_by: Option<FieldWriter>,
    controller: Option<Object>,
}

async fn read(client: &Client, namespace: &str, subject: &Object) -> Result<Option<WorkloadReading>, ClusterError> {
    Ok(match subject.native_kind() {
        "Deployment" => get(client, namespace, subject).await?.as_ref().map(deployment),
        "StatefulSet" => get(client, namespace, subject).await?.as_ref().map(stateful_set),
        "DaemonSet" => get(client, namespace, subject).await?.as_ref().map(daemon_set),
        "ReplicaSet" => get(client, namespace, subject).await?.as_ref().map(replica_set),
        // Nothing is known of another kind. Only its pods show whether it has replaced one.
        _ => Some(WorkloadReading {
            found: None,
            wanted: 1,
            ready: 0,
            is_observed: true,
            is_rolled_out: true,
            mark: None,
            version: None,
            template_by: None,
            replicas_by: None,
            controller: None,
        }),
    })
}

/// The object. `None`: no object of this name has its uid.
async fn get<K>(client: &Client, namespace: &str, object: &Object) -> Result<Option<K>, ClusterError>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let found = within(REQUEST_DEADLINE, api.get_opt(&object.name)).await?;
    Ok(found.filter(|found| found.uid().as_deref() == Some(object.uid.as_str())))
}

// An absent `spec.replicas` means 1, an absent count means 0.

fn deployment(object: &Deployment) -> WorkloadReading {
    let (spec, status) = (object.spec.clone().unwrap_or_default(), object.status.clone().unwrap_or_default());
    let wanted = spec.replicas.unwrap_or(1);
    let is_observed = status.observed_generation >= object.metadata.generation;
    let updated = status.updated_replicas.unwrap_or(0);
    let is_rolled_out = is_observed
        && updated == wanted
        && status.replicas.unwrap_or(0) == updated
        && status.available_replicas.unwrap_or(0) == updated;
    WorkloadReading {
        found: Some(LiveObject::of(object)),
        wanted,
        ready: status.ready_replicas.unwrap_or(0),
        is_observed,
        is_rolled_out,
        mark: mark(&spec.template),
        version: object.metadata.resource_version.clone(),
        template_by: changed_by(&object.metadata, &TEMPLATE),
        replicas_by: changed_by(&object.metadata, &REPLICAS),
        controller: controller_of(object.metadata.owner_references.as_deref()),
    }
}

fn stateful_set(object: &StatefulSet) -> WorkloadReading {
    let (spec, status) = (object.spec.clone().unwrap_or_default(), object.status.clone().unwrap_or_default());
    let wanted = spec.replicas.unwrap_or(1);
    let is_observed = status.observed_generation >= object.metadata.generation;
    let is_rolled_out = is_observed
        && status.update_revision == status.current_revision
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted;
    let ready = status.ready_replicas.unwrap_or(0);
    WorkloadReading {
        found: Some(LiveObject::of(object)),
        wanted,
        ready,
        is_observed,
        is_rolled_out,
        mark: mark(&spec.template),
        version: object.metadata.resource_version.clone(),
        template_by: changed_by(&object.metadata, &TEMPLATE),
        replicas_by: changed_by(&object.metadata, &REPLICAS),
        controller: controller_of(object.metadata.owner_references.as_deref()),
    }
}

fn daemon_set(object: &DaemonSet) -> WorkloadReading {
    let template = object.spec.as_ref().map(|spec| &spec.template);
    let status = object.status.clone().unwrap_or_default();
    let wanted = status.desired_number_scheduled;
    let is_observed = status.observed_generation >= object.metadata.generation;
    let is_rolled_out = is_observed
        && status.updated_number_scheduled.unwrap_or(0) == wanted
        && status.number_available.unwrap_or(0) == wanted;
    WorkloadReading {
        found: Some(LiveObject::of(object)),
        wanted,
        ready: status.number_ready,
        is_observed,
        is_rolled_out,
        mark: template.and_then(mark),
        version: object.metadata.resource_version.clone(),
        template_by: changed_by(&object.metadata, &TEMPLATE),
        replicas_by: changed_by(&object.metadata, &REPLICAS),
        controller: controller_of(object.metadata.owner_references.as_deref()),
    }
}

fn replica_set(object: &ReplicaSet) -> WorkloadReading {
    let wanted = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = object.status.clone().unwrap_or_default();
    WorkloadReading {
        found: Some(LiveObject::of(object)),
        wanted,
        ready: status.ready_replicas.unwrap_or(0),
        is_observed: status.observed_generation >= object.metadata.generation,
        // It never replaces its pods when its template changes.
        is_rolled_out: false,
        mark: None,
        version: object.metadata.resource_version.clone(),
        template_by: changed_by(&object.metadata, &TEMPLATE),
        replicas_by: changed_by(&object.metadata, &REPLICAS),
        controller: controller_of(object.metadata.owner_references.as_deref()),
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

    /// A complete rollout with `change` merged into it.
    fn seen<K>(complete: Value, change: Value, read: fn(&K) -> WorkloadReading) -> WorkloadReading
    where
        K: DeserializeOwned + DeepMerge,
    {
        let mut object: K = serde_json::from_value(complete).unwrap();
        object.merge_from(serde_json::from_value(change).unwrap());
        read(&object)
    }

    #[track_caller]
    fn check<K>(complete: &Value, read: fn(&K) -> WorkloadReading, pending: &[Value])
    where
        K: DeserializeOwned + DeepMerge,
    {
        assert!(seen(complete.clone(), complete.clone(), read).is_rolled_out);
        for change in pending {
            let mut change = change.clone();
            // Required fields of the types.
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
