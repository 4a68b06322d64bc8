//! The parts of workloads and their autoscalers that decisions read.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::time::Instant;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::PodSpec;
use kube::core::{NamespaceResourceScope, Selector, SelectorExt};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use prunella_core::action::Inapplicable;
use prunella_core::readiness::ReadyTimes;
use prunella_core::target::{Autoscaler, NotHealable, Object, OptOut, ReplacementName, Target, TargetWorkload};
use serde::de::DeserializeOwned;

use crate::cache::{Cache, watch_config};
use crate::managers::scaled_by;
use crate::marks::opt_out;
use crate::owner::controller_of;
use crate::pod::is_system_critical;
use crate::restartable::{self, NodeLimit};
use crate::rollout::{self, Rollout, Rollouts};
use crate::startup::startup_budget;

/// The value of a retention policy that deletes volumes.
const DELETE: &str = "Delete";
/// The API group of the workloads that can be scaled and restarted.
const APPS: &str = "apps/";

/// Reduced copies of workloads and autoscalers.
#[derive(Debug)]
pub(crate) struct Workloads {
    deployments: Arc<Cache<Arc<SlimWorkload>>>,
    stateful_sets: Arc<Cache<Arc<SlimWorkload>>>,
    daemon_sets: Arc<Cache<Arc<SlimWorkload>>>,
    autoscalers: Arc<Cache<SlimAutoscaler>>,
    rollouts: Rollouts,
}

/// The stored part of a watched workload.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SlimWorkload {
    object: Object,
    labels: BTreeMap<String, String>,
    created: Timestamp,
    ready: bool,
    replicas: Option<i32>,
    restart_held: Option<Inapplicable>,
    node_limit: NodeLimit,
    scaled_by: Option<String>,
    deletes_volumes: bool,
    has_readiness_probe: bool,
    ready_times: ReadyTimes,
    opted_out: Option<OptOut>,
    /// `Terminating` or `SystemCritical`.
    not_healable: Option<NotHealable>,
}

/// The stored part of a watched autoscaler.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SlimAutoscaler {
    /// Kind and name of the workload that it scales.
    scales: (String, String),
    autoscaler: Autoscaler,
}

impl Workloads {
    /// Empty caches.
    pub(crate) fn new() -> Self {
        Self {
            deployments: Cache::new("Deployment"),
            stateful_sets: Cache::new("StatefulSet"),
            daemon_sets: Cache::new("DaemonSet"),
            autoscalers: Cache::new("HorizontalPodAutoscaler"),
            rollouts: Rollouts::default(),
        }
    }

    /// Follows the watches for as long as it is polled.
    ///
    /// Needs a client.
    pub(crate) async fn follow(&self, client: &Client) {
        tokio::join!(
            follow(&self.deployments, client, |one| self.with_rollout(deployment(one), rollout::of_deployment(one))),
            follow(&self.stateful_sets, client, |one| self
                .with_rollout(stateful_set(one), rollout::of_stateful_set(one))),
            follow(&self.daemon_sets, client, |one| self.with_rollout(daemon_set(one), rollout::of_daemon_set(one))),
            follow(&self.autoscalers, client, autoscaler),
        );
    }

    /// Stores the rollout of a workload before the workload goes into the cache.
    fn with_rollout(&self, slim: Option<SlimWorkload>, rollout: Option<Rollout>) -> Option<Arc<SlimWorkload>> {
        let slim = slim?;
        self.rollouts.note(&slim.object.uid, rollout, Instant::now());
        Some(Arc::new(slim))
    }

    /// Waits until everything was listed once.
    pub(crate) async fn until_complete(&self) {
        self.deployments.until_complete().await;
        self.stateful_sets.until_complete().await;
        self.daemon_sets.until_complete().await;
        self.autoscalers.until_complete().await;
    }

    /// Whether everything was listed once.
    pub(crate) fn is_complete(&self) -> bool {
        self.deployments.is_complete()
            && self.stateful_sets.is_complete()
            && self.daemon_sets.is_complete()
            && self.autoscalers.is_complete()
    }

    /// The facts about a workload that decisions need, and the opt-out on it. `None` for the
    /// facts: the workload is not in the cache, or Prunella cannot change its kind.
    pub(crate) fn get(
        &self,
        namespace: &str,
        workload: &Object,
        all_selected: bool,
        now: Timestamp,
    ) -> (Option<TargetWorkload>, Option<OptOut>) {
        let Some(slim) = self.slim(namespace, workload) else { return (None, None) };
        if slim.object.uid != workload.uid {
            return (None, None);
        }
        let known = TargetWorkload {
            replicas: slim.replicas,
            restart_held: slim.restart_held,
            all_selected,
            autoscaler: self.autoscaler_of(namespace, workload),
            scaled_by: slim.scaled_by.clone(),
            deletes_volumes: slim.deletes_volumes,
            has_readiness_probe: slim.has_readiness_probe,
            rollout_progress: self.rollouts.progress(&workload.uid, now),
            ready_times: slim.ready_times,
        };
        (Some(known), slim.opted_out)
    }

    /// What the nodes decide about a restart of the workload.
    pub(crate) fn node_limit(&self, namespace: &str, workload: &Object) -> NodeLimit {
        self.slim(namespace, workload).map_or(NodeLimit::None, |slim| slim.node_limit)
    }

    /// The autoscaler that owns the number of replicas of a workload.
    fn autoscaler_of(&self, namespace: &str, workload: &Object) -> Option<Autoscaler> {
        let owners = self.autoscalers.select(namespace, |one| {
            let (kind, name) = &one.scales;
            (*kind == workload.kind && *name == workload.name).then(|| one.autoscaler.clone())
        });
        owners.into_iter().next()
    }

    /// The workloads of a kind that `selector` matches, without their pods. Unless
    /// `system_critical` is true, workloads with a system-critical priority class are marked as
    /// not healable.
    pub(crate) fn targets(
        &self,
        namespace: &str,
        kind: &str,
        selector: &Selector,
        system_critical: bool,
        now: Timestamp,
    ) -> Vec<Target> {
        let Some(cache) = self.of_kind(kind) else { return Vec::new() };
        let chosen = cache.select(namespace, |one| selector.matches(&one.labels).then(|| Arc::clone(one)));
        let target = |slim: Arc<SlimWorkload>| Target {
            workload: self.get(namespace, &slim.object, true, now).0,
            subject: slim.object.clone(),
            created: slim.created,
            ready: slim.ready,
            ready_since: None,
            terminating: slim.not_healable == Some(NotHealable::Terminating),
            // A recreated workload has the same name.
            replacement_name: ReplacementName::Same,
            protected_by: None,
            opted_out: slim.opted_out,
            not_healable: slim.not_healable.filter(|why| *why != NotHealable::SystemCritical || !system_critical),
            pods: Vec::new(),
            grace: None,
            startup: None,
            crash_looping: false,
            siblings: None,
            object: slim.object.clone(),
        };
        chosen.into_iter().map(target).collect()
    }

    fn slim(&self, namespace: &str, workload: &Object) -> Option<Arc<SlimWorkload>> {
        self.of_kind(workload.native_kind())?.get(namespace, &workload.name)
    }

    fn of_kind(&self, kind: &str) -> Option<&Cache<Arc<SlimWorkload>>> {
        match kind {
            "Deployment" => Some(&self.deployments),
            "StatefulSet" => Some(&self.stateful_sets),
            "DaemonSet" => Some(&self.daemon_sets),
            _ => None,
        }
    }
}

async fn follow<K, T: Clone>(cache: &Arc<Cache<T>>, client: &Client, slim: impl Fn(&K) -> Option<T>)
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher(Api::<K>::all(client.clone()), watch_config());
    Arc::clone(cache).follow(events, slim, |_| {}).await;
}

fn deployment(object: &Deployment) -> Option<SlimWorkload> {
    let spec = object.spec.as_ref()?;
    // An absent number means 1.
    let replicas = spec.replicas.unwrap_or(1);
    let ready = object.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0) >= replicas;
    let slim = slim("Deployment", object, Some(replicas), ready, spec.template.spec.as_ref())?;
    let (restart_held, node_limit) = restartable::deployment(spec, replicas);
    let progress_deadline = spec.progress_deadline_seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
    let ready_times = ReadyTimes { progress_deadline, ..slim.ready_times };
    Some(SlimWorkload { restart_held, node_limit, ready_times, ..slim })
}

fn stateful_set(object: &StatefulSet) -> Option<SlimWorkload> {
    let spec = object.spec.as_ref()?;
    let replicas = spec.replicas.unwrap_or(1);
    let ready = object.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0) >= replicas;
    let slim = slim("StatefulSet", object, Some(replicas), ready, spec.template.spec.as_ref())?;
    let retention = spec.persistent_volume_claim_retention_policy.as_ref();
    let deletes = retention.and_then(|retention| retention.when_scaled.as_deref()) == Some(DELETE);
    let has_claims = spec.volume_claim_templates.as_ref().is_some_and(|claims| !claims.is_empty());
    Some(SlimWorkload {
        restart_held: restartable::stateful_set(spec, ready),
        deletes_volumes: deletes && has_claims,
        ..slim
    })
}

fn daemon_set(object: &DaemonSet) -> Option<SlimWorkload> {
    let spec = object.spec.as_ref()?;
    let ready = object.status.as_ref().is_some_and(|status| status.number_ready >= status.desired_number_scheduled);
    let replicas = object.status.as_ref().map(|status| status.desired_number_scheduled);
    let slim = slim("DaemonSet", object, replicas, ready, spec.template.spec.as_ref())?;
    let (restart_held, node_limit) = restartable::daemon_set(spec, replicas.unwrap_or(0));
    Some(SlimWorkload { restart_held, node_limit, ..slim })
}

fn slim(
    kind: &str,
    object: &impl ResourceExt,
    replicas: Option<i32>,
    ready: bool,
    template: Option<&PodSpec>,
) -> Option<SlimWorkload> {
    Some(SlimWorkload {
        object: Object::known(kind, object.name_any(), object.uid()?),
        labels: object.labels().clone(),
        created: object.creation_timestamp()?.0,
        ready,
        replicas,
        restart_held: None,
        node_limit: NodeLimit::None,
        scaled_by: scaled_by(object.meta()),
        deletes_volumes: false,
        has_readiness_probe: template
            .is_some_and(|pod| pod.containers.iter().all(|container| container.readiness_probe.is_some())),
        ready_times: ReadyTimes { startup: template.and_then(startup_budget), progress_deadline: None },
        opted_out: opt_out(object),
        not_healable: if object.meta().deletion_timestamp.is_some() {
            Some(NotHealable::Terminating)
        } else {
            is_system_critical(template).then_some(NotHealable::SystemCritical)
        },
    })
}

fn autoscaler(object: &HorizontalPodAutoscaler) -> Option<SlimAutoscaler> {
    let spec = &object.spec;
    let scales = &spec.scale_target_ref;
    if scales.api_version.as_deref().is_some_and(|version| !version.starts_with(APPS)) {
        return None;
    }
    Some(SlimAutoscaler {
        scales: (scales.kind.clone(), scales.name.clone()),
        autoscaler: Autoscaler {
            object: Object::known("HorizontalPodAutoscaler", object.name_any(), object.uid()?),
            minimum: spec.min_replicas.unwrap_or(1),
            maximum: spec.max_replicas,
            controlled: controller_of(object.metadata.owner_references.as_deref()).is_some(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read<K: DeserializeOwned>(spec: &Value) -> K {
        let metadata = json!({"name": "web", "uid": "uid-web", "creationTimestamp": "2026-11-21T10:00:00Z"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn workload(change: Value) -> Value {
        let mut spec = json!({"selector": {}, "template": {}, "serviceName": "web"});
        if let Value::Object(change) = change {
            change.into_iter().for_each(|(key, value)| spec[key] = value);
        }
        spec
    }

    #[test]
    fn scaling_down_deletes_volumes_only_if_the_set_has_some_and_says_so() {
        let set = |when: &str, claims: usize| {
            let claims = vec![json!({"metadata": {"name": "data"}}); claims];
            let change =
                json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": when}, "volumeClaimTemplates": claims});
            stateful_set(&read(&workload(change))).unwrap().deletes_volumes
        };
        assert_eq!([set("Delete", 1), set("Delete", 0), set("Retain", 1)], [true, false, false]);
    }

    #[test]
    fn a_workload_says_whether_its_pods_have_readiness_probes() {
        let probe = json!({"name": "app", "readinessProbe": {}});
        let none = json!({"name": "proxy"});
        for (containers, expected) in [(json!([probe]), true), (json!([none]), false), (json!([probe, none]), false)] {
            let change = json!({"template": {"spec": {"containers": containers}}});
            assert_eq!(deployment(&read(&workload(change))).unwrap().has_readiness_probe, expected, "{containers}");
        }
    }

    #[test]
    fn the_time_to_become_ready_is_read_from_the_workload() {
        let container = json!({"name": "app", "startupProbe": {"periodSeconds": 10, "failureThreshold": 60}});
        let change = json!({"progressDeadlineSeconds": 900, "template": {"spec": {"containers": [container]}}});
        let of = |slim: Option<SlimWorkload>| slim.unwrap().ready_times;
        let minutes = |minutes| Some(SignedDuration::from_mins(minutes));
        let deployment = of(deployment(&read(&workload(change.clone()))));
        assert_eq!((deployment.startup, deployment.progress_deadline), (minutes(10), minutes(15)));
        let set = of(stateful_set(&read(&workload(change))));
        assert_eq!((set.startup, set.progress_deadline), (minutes(10), None));
    }

    #[test]
    fn an_absent_number_is_one_and_a_daemon_set_has_none() {
        let replicas = |slim: Option<SlimWorkload>| slim.unwrap().replicas;
        assert_eq!(replicas(deployment(&read(&workload(json!({}))))), Some(1));
        assert_eq!(replicas(stateful_set(&read(&workload(json!({"replicas": 0}))))), Some(0));
        assert_eq!(
            replicas(daemon_set(&read(&workload(json!({}))))),
            None,
            "its controller has not counted the nodes yet"
        );
    }

    #[test]
    fn a_system_critical_workload_is_marked_whatever_its_kind() {
        let critical =
            json!({"template": {"spec": {"containers": [], "priorityClassName": "system-cluster-critical"}}});
        let ordinary = json!({"template": {"spec": {"containers": [], "priorityClassName": "important"}}});
        for (change, expected) in [(critical, true), (ordinary, false), (json!({}), false)] {
            let spec = workload(change);
            let all = [deployment(&read(&spec)), stateful_set(&read(&spec)), daemon_set(&read(&spec))];
            assert!(
                all.into_iter().all(|one| (one.unwrap().not_healable == Some(NotHealable::SystemCritical)) == expected),
                "{spec}"
            );
        }
    }

    #[test]
    fn an_autoscaler_owns_the_workload_it_names_and_none_of_another_group() {
        let scaler = |target: Value| autoscaler(&read(&json!({"scaleTargetRef": target, "maxReplicas": 9})));
        let owner = scaler(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})).unwrap();
        assert_eq!(owner.scales, ("Deployment".to_owned(), "web".to_owned()));
        let Autoscaler { minimum, maximum, controlled, .. } = owner.autoscaler;
        assert_eq!((minimum, maximum, controlled), (1, 9, false));
        assert_eq!(scaler(json!({"apiVersion": "example.org/v1", "kind": "Deployment", "name": "web"})), None);
    }
}
