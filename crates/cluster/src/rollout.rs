//! Whether a workload is in a rollout, and when that last made progress.
//!
//! Progress is a number of updated or available replicas that this rollout has not reached
//! before. A crash loop makes pods available again and again, and that is not progress. The
//! monotonic clock measures it, because no field in the API has this time for every kind.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use prunella_core::target::Uid;
use prunella_core::time::{before, whole_seconds};

/// The reason of the condition `Progressing` when the rollout of a Deployment is complete.
const COMPLETE: &str = "NewReplicaSetAvailable";

/// How far the rollout of a workload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// Distinguishes one rollout from the next.
    generation: i64,
    /// Replicas of the new pod template.
    updated: i32,
    /// Replicas that are available.
    available: i32,
}

/// The current rollouts.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    current: Mutex<HashMap<Uid, Progress>>,
}

/// The furthest point that a rollout has reached.
#[derive(Debug)]
struct Progress {
    furthest: Rollout,
    /// When it reached that point.
    at: Instant,
    /// The same time by the API server's clock, fixed at the first read. Computed again, it
    /// would differ by a few milliseconds each time and change every status.
    reported_at: Option<Timestamp>,
}

/// A rollout without progress is dropped after this time: it is stuck, or its workload is
/// gone.
const DROPPED_AFTER: Duration = Duration::from_hours(25);

impl Rollouts {
    /// Stores the rollout of a workload. `None`: it is in no rollout.
    pub(crate) fn note(&self, workload: &Uid, rollout: Option<Rollout>, now: Instant) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rollout) = rollout else {
            current.remove(workload);
            return;
        };
        current.retain(|_, progress| now.saturating_duration_since(progress.at) < DROPPED_AFTER);
        let Some(known) = current.get_mut(workload) else {
            // The first observation counts as progress: the rollout may just have moved.
            current.insert(workload.clone(), Progress { furthest: rollout, at: now, reported_at: None });
            return;
        };
        let furthest = known.furthest;
        if furthest.generation != rollout.generation {
            *known = Progress { furthest: rollout, at: now, reported_at: None };
        } else if rollout.updated > furthest.updated || rollout.available > furthest.available {
            let furthest = Rollout {
                updated: furthest.updated.max(rollout.updated),
                available: furthest.available.max(rollout.available),
                ..furthest
            };
            *known = Progress { furthest, at: now, reported_at: None };
        }
    }

    /// When the rollout of a workload last made progress, in whole seconds by the clock of
    /// `now`. `None`: no rollout.
    pub(crate) fn progress(&self, workload: &Uid, now: Timestamp) -> Option<Timestamp> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = current.get_mut(workload)?;
        let ago = SignedDuration::try_from(progress.at.elapsed()).unwrap_or_default();
        Some(*progress.reported_at.get_or_insert_with(|| whole_seconds(before(now, ago))))
    }
}

pub(crate) fn of_deployment(object: &Deployment) -> Option<Rollout> {
    // While it is paused, no rollout is under way.
    if object.spec.as_ref().is_some_and(|spec| spec.paused == Some(true)) {
        return None;
    }
    let generation = object.metadata.generation.unwrap_or_default();
    let status = object.status.as_ref()?;
    let progressing = status.conditions.iter().flatten().find(|one| one.type_ == "Progressing");
    // Without a progress deadline the condition is never written. Whether the pods are available is
    // not asked then: an eviction after the rollout is not a rollout.
    let wanted = object.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let all_new = status.updated_replicas.unwrap_or_default() >= wanted && status.replicas == status.updated_replicas;
    let complete = progressing.map_or(all_new, |one| one.reason.as_deref() == Some(COMPLETE));
    let seen = status.observed_generation.unwrap_or_default() >= generation;
    (!seen || !complete).then_some(Rollout {
        generation,
        updated: status.updated_replicas.unwrap_or_default(),
        available: status.available_replicas.unwrap_or_default(),
    })
}

pub(crate) fn of_stateful_set(object: &StatefulSet) -> Option<Rollout> {
    let generation = object.metadata.generation.unwrap_or_default();
    let status = object.status.as_ref()?;
    let spec = object.spec.as_ref();
    let strategy = spec.and_then(|spec| spec.update_strategy.as_ref());
    if is_on_delete(strategy.and_then(|strategy| strategy.type_.as_deref())) {
        return None;
    }
    // Pods below the partition keep their template.
    let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0);
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1).saturating_sub(partition);
    let is_partly_complete = partition > 0 && status.updated_replicas.unwrap_or_default() >= wanted;
    let complete = status.update_revision == status.current_revision || is_partly_complete;
    let seen = status.observed_generation.unwrap_or_default() >= generation;
    (!seen || !complete).then_some(Rollout {
        generation,
        updated: status.updated_replicas.unwrap_or_default(),
        available: status.available_replicas.unwrap_or_default(),
    })
}

/// Whether pods are replaced only when somebody deletes them. Then no rollout is ever under way.
fn is_on_delete(strategy: Option<&str>) -> bool {
    strategy == Some("OnDelete")
}

pub(crate) fn of_daemon_set(object: &DaemonSet) -> Option<Rollout> {
    let strategy = object.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    if is_on_delete(strategy.and_then(|strategy| strategy.type_.as_deref())) {
        return None;
    }
    let generation = object.metadata.generation.unwrap_or_default();
    let status = object.status.as_ref()?;
    let updated = status.updated_number_scheduled.unwrap_or_default();
    let seen = status.observed_generation.unwrap_or_default() >= generation;
    (!seen || updated < status.desired_number_scheduled).then_some(Rollout {
        generation,
        updated,
        available: status.number_available.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_number_that_was_not_reached_before_is_progress() {
        let (rollouts, uid, start) = (Rollouts::default(), Uid::from("web"), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        // (second, generation, updated, available, when progress was last made)
        for (second, generation, updated, available, progress) in [
            (0, 2, 0, 3, 0),
            (10, 2, 1, 3, 10),
            // The new pod crashes, comes back, and crashes.
            (20, 2, 1, 2, 10),
            (30, 2, 1, 3, 10),
            (40, 2, 1, 2, 10),
            (50, 2, 2, 2, 50),
            // A new rollout starts.
            (60, 3, 0, 2, 60),
        ] {
            rollouts.note(&uid, Some(Rollout { generation, updated, available }), at(second));
            let known = |rollouts: &Rollouts| rollouts.current.lock().unwrap().get(&uid).map(|known| known.at);
            assert_eq!(known(&rollouts), Some(at(progress)), "at second {second}");
        }
        let first = rollouts.progress(&uid, Timestamp::UNIX_EPOCH);
        assert_eq!(rollouts.progress(&uid, Timestamp::MAX), first, "it is fixed at the first read");
        rollouts.note(&uid, None, at(70));
        assert_eq!(rollouts.progress(&uid, Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_deployment_is_in_a_rollout_until_it_reports_completion() {
        let deployment = |generation: i64, observed: i64, reason: &str| {
            let object = json!({
                "metadata": {"generation": generation},
                "status": {"observedGeneration": observed, "updatedReplicas": 1, "availableReplicas": 2,
                    "conditions": [{"type": "Progressing", "status": "True", "reason": reason}]},
            });
            of_deployment(&serde_json::from_value(object).unwrap()).is_some()
        };
        assert!(!deployment(3, 3, "NewReplicaSetAvailable"), "an eviction after the rollout is not a rollout");
        assert!(deployment(4, 3, "NewReplicaSetAvailable"), "its controller has not seen the change yet");
        assert!(deployment(3, 3, "ReplicaSetUpdated"));
        assert!(deployment(3, 3, "ProgressDeadlineExceeded"), "a stuck rollout is still a rollout");
    }

    #[test]
    fn a_healthy_deployment_without_a_progress_deadline_is_in_no_rollout() {
        for (replicas, updated, available, expected) in
            [(3, 3, 3, false), (3, 3, 2, false), (4, 3, 3, true), (3, 1, 3, true)]
        {
            let object = json!({
                "metadata": {"generation": 3}, "spec": {"replicas": 3, "selector": {}, "template": {}},
                "status": {"observedGeneration": 3, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available},
            });
            let rollout = of_deployment(&serde_json::from_value(object).unwrap());
            assert_eq!(rollout.is_some(), expected, "{replicas} {updated} {available}");
        }
    }

    #[test]
    fn a_stateful_set_and_a_daemon_set_are_in_a_rollout_until_all_pods_are_new() {
        let set = |update: &str| {
            let status =
                json!({"replicas": 3, "observedGeneration": 1, "currentRevision": "a", "updateRevision": update});
            of_stateful_set(&serde_json::from_value(json!({"metadata": {"generation": 1}, "status": status})).unwrap())
        };
        assert_eq!((set("a").is_some(), set("b").is_some()), (false, true));
        let daemons = |updated: i32| {
            let status = json!({"observedGeneration": 1, "currentNumberScheduled": 2, "desiredNumberScheduled": 2,
                "numberMisscheduled": 0, "numberReady": 2, "updatedNumberScheduled": updated});
            of_daemon_set(&serde_json::from_value(json!({"metadata": {"generation": 1}, "status": status})).unwrap())
        };
        assert_eq!((daemons(2).is_some(), daemons(1).is_some()), (false, true));
    }

    #[test]
    fn what_is_paused_partitioned_or_replaced_on_delete_is_in_no_rollout() {
        let deployment = |paused: bool| {
            let object = json!({
                "metadata": {"generation": 4}, "spec": {"replicas": 3, "paused": paused, "selector": {}, "template": {}},
                "status": {"observedGeneration": 4, "replicas": 4, "updatedReplicas": 1},
            });
            of_deployment(&serde_json::from_value(object).unwrap()).is_some()
        };
        assert_eq!((deployment(true), deployment(false)), (false, true));
        let set = |strategy: serde_json::Value, updated: i32| {
            let object = json!({
                "metadata": {"generation": 4},
                "spec": {"replicas": 3, "updateStrategy": strategy, "selector": {}, "template": {}, "serviceName": "db"},
                "status": {"observedGeneration": 4, "replicas": 3, "updatedReplicas": updated, "currentRevision": "a",
                    "updateRevision": "b"},
            });
            of_stateful_set(&serde_json::from_value(object).unwrap()).is_some()
        };
        assert!(!set(json!({"type": "OnDelete"}), 0));
        let partition = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
        assert_eq!((set(partition.clone(), 1), set(partition, 2)), (true, false));
        let daemons = json!({
            "metadata": {"generation": 4},
            "spec": {"updateStrategy": {"type": "OnDelete"}, "selector": {}, "template": {}},
            "status": {"observedGeneration": 4, "currentNumberScheduled": 2, "desiredNumberScheduled": 2,
                "numberMisscheduled": 0, "numberReady": 2, "updatedNumberScheduled": 0},
        });
        assert!(of_daemon_set(&serde_json::from_value(daemons).unwrap()).is_none());
    }
}
