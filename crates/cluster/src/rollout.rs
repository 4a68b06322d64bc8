//! Whether a workload is in the middle of a rollout, and when that last made progress.
//!
//! Progress is a number of updated or available replicas that was not reached before in
//! this rollout: a crash loop makes pods available again and again and gets nowhere. It
//! is told by the monotonic clock, for no stamp in the API tells it for every kind.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use prunella_core::target::Uid;
use prunella_core::time::{before, whole_seconds};

/// The reason by which a Deployment says that its newest rollout is complete.
const COMPLETE: &str = "NewReplicaSetAvailable";

/// How far the rollout of a workload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// Tells one rollout from the next.
    generation: i64,
    /// Replicas of the new kind.
    updated: i32,
    /// Replicas that serve.
    available: i32,
}

/// The rollouts under way.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    under_way: Mutex<HashMap<Uid, Progress>>,
}

/// How far a rollout ever came.
#[derive(Debug)]
struct Progress {
    furthest: Rollout,
    /// When it came there.
    at: Instant,
    /// The same by the API server's clock, once somebody asked: told anew from the
    /// monotonic clock it would differ by a hair each time, and with it every status.
    told: Option<Timestamp>,
}

/// A rollout that has stood still for so long is forgotten: it is stuck, or its workload
/// is gone.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(25);

impl Rollouts {
    /// Takes note of how a workload stands; `None`: it is in no rollout.
    pub(crate) fn note(&self, workload: &Uid, rollout: Option<Rollout>, now: Instant) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rollout) = rollout else {
            under_way.remove(workload);
            return;
        };
        under_way.retain(|_, progress| now.saturating_duration_since(progress.at) < FORGOTTEN_AFTER);
        let Some(known) = under_way.get_mut(workload) else {
            // What was found half-way may just have moved: the first sight counts as progress.
            under_way.insert(workload.clone(), Progress { furthest: rollout, at: now, told: None });
            return;
        };
        let furthest = known.furthest;
        if furthest.generation != rollout.generation {
            *known = Progress { furthest: rollout, at: now, told: None };
        } else if rollout.updated > furthest.updated || rollout.available > furthest.available {
            let furthest = Rollout {
                updated: furthest.updated.max(rollout.updated),
                available: furthest.available.max(rollout.available),
                ..furthest
            };
            *known = Progress { furthest, at: now, told: None };
        }
    }

    /// When the rollout of a workload last made progress; `None` when none is under way.
    /// In whole seconds, by the clock that says `now`.
    pub(crate) fn progress(&self, workload: &Uid, now: Timestamp) -> Option<Timestamp> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = under_way.get_mut(workload)?;
        let ago = SignedDuration::try_from(progress.at.elapsed()).unwrap_or_default();
        Some(*progress.told.get_or_insert_with(|| whole_seconds(before(now, ago))))
    }
}

pub(crate) fn of_deployment(object: &Deployment) -> Option<Rollout> {
    let generation = object.metadata.generation.unwrap_or_default();
    let status = object.status.as_ref()?;
    let progressing = status.conditions.iter().flatten().find(|one| one.type_ == "Progressing");
    let complete = progressing.is_some_and(|one| one.reason.as_deref() == Some(COMPLETE));
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
    let complete = status.update_revision == status.current_revision;
    let seen = status.observed_generation.unwrap_or_default() >= generation;
    (!seen || !complete).then_some(Rollout {
        generation,
        updated: status.updated_replicas.unwrap_or_default(),
        available: status.available_replicas.unwrap_or_default(),
    })
}

pub(crate) fn of_daemon_set(object: &DaemonSet) -> Option<Rollout> {
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
    fn only_what_was_never_reached_before_is_progress() {
        let (rollouts, uid, begun) = (Rollouts::default(), Uid::from("web"), Instant::now());
        let at = |second| begun + Duration::from_secs(second);
        // (second, generation, updated, available, when progress was last made)
        for (second, generation, updated, available, progress) in [
            (0, 2, 0, 3, 0),
            (10, 2, 1, 3, 10),
            // The new pod crashes, comes back, and crashes.
            (20, 2, 1, 2, 10),
            (30, 2, 1, 3, 10),
            (40, 2, 1, 2, 10),
            (50, 2, 2, 2, 50),
            // Somebody rolls out anew.
            (60, 3, 0, 2, 60),
        ] {
            rollouts.note(&uid, Some(Rollout { generation, updated, available }), at(second));
            let known = |rollouts: &Rollouts| rollouts.under_way.lock().unwrap().get(&uid).map(|known| known.at);
            assert_eq!(known(&rollouts), Some(at(progress)), "at second {second}");
        }
        let told = rollouts.progress(&uid, Timestamp::UNIX_EPOCH);
        assert_eq!(rollouts.progress(&uid, Timestamp::MAX), told, "once told, it stays");
        rollouts.note(&uid, None, at(70));
        assert_eq!(rollouts.progress(&uid, Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_deployment_rolls_out_until_it_says_that_it_is_complete() {
        let deployment = |generation: i64, observed: i64, reason: &str| {
            let object = json!({
                "metadata": {"generation": generation},
                "status": {"observedGeneration": observed, "updatedReplicas": 1, "availableReplicas": 2,
                    "conditions": [{"type": "Progressing", "status": "True", "reason": reason}]},
            });
            of_deployment(&serde_json::from_value(object).unwrap()).is_some()
        };
        assert!(!deployment(3, 3, "NewReplicaSetAvailable"), "a pod that was evicted since is no rollout");
        assert!(deployment(4, 3, "NewReplicaSetAvailable"), "nobody has seen the change yet");
        assert!(deployment(3, 3, "ReplicaSetUpdated"));
        assert!(deployment(3, 3, "ProgressDeadlineExceeded"), "stuck: it makes no progress any more");
    }

    #[test]
    fn a_stateful_set_and_a_daemon_set_roll_out_until_all_is_new() {
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
}
