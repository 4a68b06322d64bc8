//! The kubelet: starts containers, probes and restarts them, and stops them within their grace
//! period. One for all nodes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::app::{App, Fault};
use crate::api_server::ApiServer;
use crate::chance::Chance;

/// Milliseconds, at least and at most: to create a container, from its start until it is Ready, and
/// to stop.
const CREATION: (u64, u64) = (900, 1500);
const WARM_UP: (u64, u64) = (1200, 2200);
const STOPPING: (u64, u64) = (700, 1600);
/// Two failed probes, two seconds apart.
const NOTICED_AFTER: SignedDuration = SignedDuration::from_secs(4);
/// The wait before the second restart. It doubles with each, up to the longest.
const FIRST_WAIT: i64 = 10;
const LONGEST_WAIT: i64 = 300;

/// All containers, by the uid of their pods.
#[derive(Debug)]
pub(super) struct Kubelet {
    chance: Chance,
    containers: BTreeMap<String, Container>,
}

/// The container of a pod.
#[derive(Debug)]
struct Container {
    stage: Stage,
    restarts: i32,
    app: App,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Creating { until: Timestamp },
    Running { since: Timestamp, warm_at: Timestamp },
    Waiting { until: Timestamp },
    Stopping { until: Timestamp },
}

impl Kubelet {
    pub(super) fn new(chance: Chance) -> Self {
        Self { chance, containers: BTreeMap::new() }
    }

    pub(super) fn cause(&mut self, pod: &str, fault: Fault, now: Timestamp) {
        if let Some(container) = self.containers.get_mut(pod) {
            container.app.cause(fault, now);
        }
    }

    /// Ends all faults.
    pub(super) fn repair(&mut self) {
        self.containers.values_mut().for_each(|container| container.app.repair());
    }

    /// The apps that run, by the uid of their pods.
    pub(super) fn running(&mut self) -> impl Iterator<Item = (&String, &mut App)> {
        let runs = |container: &Container| matches!(container.stage, Stage::Running { .. } | Stage::Stopping { .. });
        self.containers.iter_mut().filter(move |(_, one)| runs(one)).map(|(pod, one)| (pod, &mut one.app))
    }

    /// Brings every pod to its next stage. Returns when one is due again.
    pub(super) fn reconcile(&mut self, server: &ApiServer, now: Timestamp) -> Option<Timestamp> {
        let mut due = Vec::new();
        let pods: Vec<Pod> = server.all();
        self.containers.retain(|uid, _| pods.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid)));
        for pod in pods.into_iter().filter(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())) {
            due.extend(self.sync(server, pod, now));
        }
        due.into_iter().filter(|due| *due > now).min()
    }

    fn sync(&mut self, server: &ApiServer, mut pod: Pod, now: Timestamp) -> Vec<Timestamp> {
        let (uid, chance, name) = (pod.uid().unwrap_or_default(), self.chance, pod.name_any());
        let after = |what: &str, (least, most): (u64, u64)| {
            let millis = chance.between(&format!("{name} {what}"), least, most);
            plus(now, SignedDuration::from_millis(i64::try_from(millis).unwrap_or(0)))
        };
        let container = self.containers.entry(uid).or_insert_with(|| Container {
            stage: Stage::Creating { until: after("created", CREATION) },
            restarts: 0,
            app: App::started(now),
        });
        let stopping = matches!(container.stage, Stage::Stopping { .. });
        if let Some(end) = pod.metadata.deletion_timestamp.as_ref().filter(|_| !stopping) {
            container.stage = Stage::Stopping { until: after("stopped", STOPPING).min(end.0) };
        }
        let crashes_at = container.app.crashes_at();
        match container.stage {
            Stage::Creating { until } | Stage::Waiting { until } if now >= until => {
                if matches!(container.stage, Stage::Waiting { .. }) {
                    container.restarts += 1;
                }
                container.app = container.app.restarted(now);
                let warm = format!("warm {}", container.restarts);
                container.stage = Stage::Running { since: now, warm_at: after(&warm, WARM_UP) };
            }
            Stage::Running { .. } if crashes_at.is_some_and(|at| now >= at) => {
                container.stage = Stage::Waiting { until: plus(now, wait(container.restarts)) };
            }
            Stage::Stopping { until } if now >= until => {
                server.remove(&pod, Some(0));
                return Vec::new();
            }
            _ => {}
        }
        let unready = container.app.not_ready_since().map(|since| plus(since, NOTICED_AFTER));
        let status = status(&pod, container, unready, now);
        pod.status = Some(status);
        server.put(&pod);
        let stage_due = match container.stage {
            Stage::Creating { until } | Stage::Waiting { until } | Stage::Stopping { until } => vec![until],
            Stage::Running { warm_at, .. } => vec![warm_at],
        };
        stage_due.into_iter().chain(unready).chain(container.app.crashes_at()).collect()
    }
}

/// How long the kubelet waits before a restart. The first is nearly at once.
fn wait(restarts: i32) -> SignedDuration {
    match u32::try_from(restarts) {
        Ok(0) | Err(_) => SignedDuration::from_secs(1),
        Ok(restarts) => {
            let doubled = 2_i64.saturating_pow(restarts - 1).saturating_mul(FIRST_WAIT);
            SignedDuration::from_secs(doubled.min(LONGEST_WAIT))
        }
    }
}

fn status(pod: &Pod, container: &Container, unready: Option<Timestamp>, now: Timestamp) -> PodStatus {
    let before = pod.status.clone().unwrap_or_default();
    let (is_running, is_warm) = match container.stage {
        Stage::Running { warm_at, .. } => (true, now >= warm_at),
        Stage::Stopping { .. } => (true, false),
        Stage::Creating { .. } | Stage::Waiting { .. } => (false, false),
    };
    let is_ready = is_warm && unready.is_none_or(|at| now < at);
    let condition = |kind: &str, is: bool| {
        let status = if is { "True" } else { "False" };
        let earlier = before.conditions.iter().flatten().find(|one| one.type_ == kind && one.status == status);
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            last_transition_time: Some(
                earlier.and_then(|one| one.last_transition_time.clone()).unwrap_or_else(|| second(now)),
            ),
            ..PodCondition::default()
        }
    };
    let has_started = is_running || container.restarts > 0 || matches!(container.stage, Stage::Waiting { .. });
    let spec = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    PodStatus {
        phase: Some(if has_started { "Running" } else { "Pending" }.to_owned()),
        start_time: before.start_time.clone().or_else(|| Some(second(now))),
        conditions: Some(vec![
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", is_ready),
            condition("Ready", is_ready),
        ]),
        container_statuses: Some(vec![ContainerStatus {
            name: spec.map(|spec| spec.name.clone()).unwrap_or_default(),
            image: spec.and_then(|spec| spec.image.clone()).unwrap_or_default(),
            ready: is_ready,
            restart_count: container.restarts,
            started: Some(is_warm),
            state: Some(container_state(container.stage)),
            ..ContainerStatus::default()
        }]),
        ..PodStatus::default()
    }
}

fn container_state(stage: Stage) -> ContainerState {
    let waiting = |reason: &str| ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), ..ContainerStateWaiting::default() }),
        ..ContainerState::default()
    };
    match stage {
        Stage::Creating { .. } => waiting("ContainerCreating"),
        Stage::Waiting { .. } => waiting("CrashLoopBackOff"),
        Stage::Running { since, .. } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(second(since)) }),
            ..ContainerState::default()
        },
        Stage::Stopping { .. } => ContainerState::default(),
    }
}

/// As the API stores it: in whole seconds.
fn second(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

fn plus(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}
