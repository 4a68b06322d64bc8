//! How long the startup probes of a pod let it take to start, and whether a pod that is not Ready is
//! certainly no slow starter.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{
    Container, ContainerStateTerminated, ContainerStatus, Pod, PodSpec, PodStatus, Probe,
};

// Kubernetes' defaults of a probe.
const PERIOD_SECONDS: i32 = 10;
const FAILURE_THRESHOLD: i32 = 3;
/// An init container that runs on beside the others: a sidecar. Each must start before the next.
const SIDECAR: &str = "Always";

/// The longest time that the containers may take until their startup probes succeed. `None`: no
/// container has such a probe.
pub(crate) fn startup_budget(spec: &PodSpec) -> Option<SignedDuration> {
    let sidecars = spec.init_containers.iter().flatten().filter(|one| one.restart_policy.as_deref() == Some(SIDECAR));
    let before: i64 = sidecars.filter_map(budget_seconds).fold(0, i64::saturating_add);
    let longest = spec.containers.iter().filter_map(budget_seconds).max();
    let sum = before.saturating_add(longest.unwrap_or(0));
    (sum > 0).then(|| SignedDuration::from_secs(sum))
}

fn budget_seconds(container: &Container) -> Option<i64> {
    let probe = container.startup_probe.as_ref()?;
    Some(delay_seconds(probe) + period_seconds(probe) * failures(probe))
}

fn delay_seconds(probe: &Probe) -> i64 {
    i64::from(probe.initial_delay_seconds.unwrap_or(0))
}

fn period_seconds(probe: &Probe) -> i64 {
    i64::from(probe.period_seconds.unwrap_or(PERIOD_SECONDS))
}

fn failures(probe: &Probe) -> i64 {
    i64::from(probe.failure_threshold.unwrap_or(FAILURE_THRESHOLD))
}

/// The reason of a container that the kubelet restarts later, because it ended several times.
const CRASH_LOOP: &str = "CrashLoopBackOff";
/// Kubernetes keeps times in whole seconds, so a run may have been longer by less than this.
const ROUNDING_SECONDS: i64 = 1;

/// Whether the pod waits in a crash loop that is certainly no slow start: it was Ready before, or the
/// last run of a container ended before any probe could have ended it.
///
/// The kubelet shows a crash loop also when a probe ends a container that has not started yet. Such
/// a pod is a slow starter, and its exit code does not tell: a container may answer SIGTERM with any
/// code. A container that runs and is not ready may be the slow one, and the other one may end only
/// because it waits for it.
pub(crate) fn is_crash_looping(pod: &Pod) -> bool {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return false };
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let is_starting = |one: &ContainerStatus| !one.ready && one.state.as_ref().is_some_and(|now| now.running.is_some());
    let was_ready = was_ready(status);
    !containers.iter().any(is_starting)
        && containers.iter().filter_map(ended_in_loop).any(|(name, ended)| {
            let container = spec.containers.iter().find(|one| one.name == name);
            was_ready || container.is_some_and(|container| ended_by_itself(container, ended))
        })
}

/// The name of a container that waits in a crash loop, and how its last run ended.
fn ended_in_loop(container: &ContainerStatus) -> Option<(&str, &ContainerStateTerminated)> {
    let waits = container.state.as_ref()?.waiting.as_ref()?.reason.as_deref() == Some(CRASH_LOOP);
    let ended = container.last_state.as_ref()?.terminated.as_ref()?;
    waits.then_some((container.name.as_str(), ended))
}

/// Whether a run ended before a probe could have ended it while it was starting. Until the startup
/// probe has succeeded, no other probe runs.
fn ended_by_itself(container: &Container, ended: &ContainerStateTerminated) -> bool {
    let Some(probe) = container.startup_probe.as_ref().or(container.liveness_probe.as_ref()) else { return true };
    let (Some(started), Some(finished)) = (&ended.started_at, &ended.finished_at) else { return false };
    // The first probe comes after the delay, and the last one that may fail ends the container.
    let earliest = delay_seconds(probe) + period_seconds(probe) * (failures(probe) - 1);
    finished.0.duration_since(started.0).as_secs() + ROUNDING_SECONDS < earliest
}

/// Whether a pod that is not Ready was Ready before. The kubelet writes the condition together with
/// `startTime`, and its time changes only when the pod becomes Ready or ceases to be.
fn was_ready(status: &PodStatus) -> bool {
    let unready = status.conditions.iter().flatten().find(|one| one.type_ == "Ready" && one.status == "False");
    let changed = unready.and_then(|one| one.last_transition_time.as_ref());
    let (Some(changed), Some(started)) = (changed, &status.start_time) else { return false };
    changed.0.duration_since(started.0).as_secs() > ROUNDING_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_budget_is_what_the_startup_probes_allow() {
        let probe = |initial: i32, period: i32, failures: i32| json!({"startupProbe": {"initialDelaySeconds": initial, "periodSeconds": period, "failureThreshold": failures}});
        let named = |mut container: Value, name: &str| {
            container["name"] = json!(name);
            container
        };
        let sidecar = |mut container: Value| {
            container["restartPolicy"] = json!("Always");
            container
        };
        for (containers, init, expected) in [
            (vec![json!({})], vec![], None),
            (vec![json!({"startupProbe": {}})], vec![], Some(30)),
            (vec![probe(20, 10, 120)], vec![], Some(1220)),
            // They start side by side.
            (vec![probe(0, 10, 6), probe(0, 10, 120)], vec![], Some(1200)),
            // A sidecar starts before them, another init container runs to its end without a probe.
            (vec![probe(0, 10, 6)], vec![sidecar(probe(0, 5, 12)), json!({})], Some(120)),
        ] {
            let all = |of: &[Value]| of.iter().map(|one| named(one.clone(), "app")).collect::<Vec<_>>();
            let spec = json!({"containers": all(&containers), "initContainers": all(&init)});
            let expected = expected.map(SignedDuration::from_secs);
            assert_eq!(startup_budget(&serde_json::from_value(spec.clone()).unwrap()), expected, "{spec}");
        }
    }

    /// A pod in a crash loop whose last run took `ran` seconds, with `change` in its container.
    fn looping(ran: i64, change: &Value, others: &[Value]) -> Value {
        let mut container = json!({"name": "app"});
        for (key, value) in change.as_object().unwrap() {
            container[key] = value.clone();
        }
        let finished = jiff::Timestamp::from_second(1_800_000_000 + ran).unwrap().to_string();
        let started = jiff::Timestamp::from_second(1_800_000_000).unwrap().to_string();
        let ended = json!({"exitCode": 143, "reason": "Error", "startedAt": started, "finishedAt": finished});
        let mut statuses = vec![status(
            "app",
            false,
            &json!({"waiting": {"reason": "CrashLoopBackOff"}}),
            &json!({"terminated": ended}),
        )];
        statuses.extend(others.iter().cloned());
        json!({"metadata": {}, "spec": {"containers": [container, {"name": "proxy"}]}, "status": {"containerStatuses": statuses}})
    }

    fn status(name: &str, ready: bool, state: &Value, last: &Value) -> Value {
        json!({"name": name, "image": "", "imageID": "", "ready": ready, "restartCount": 3, "state": state, "lastState": last})
    }

    fn is_looping(pod: &Value) -> bool {
        is_crash_looping(&serde_json::from_value(pod.clone()).unwrap())
    }

    #[test]
    fn a_container_that_a_probe_may_have_ended_is_a_slow_starter() {
        // The startup probe ends it after 600 s at the earliest, the liveness probe after 20 s.
        let startup = json!({"startupProbe": {"initialDelaySeconds": 10, "periodSeconds": 10, "failureThreshold": 60}});
        let liveness = json!({"livenessProbe": {}});
        let both = json!({"startupProbe": startup["startupProbe"], "livenessProbe": {}});
        for (ran, probes, expected) in [
            (5, &startup, true),
            (598, &startup, true),
            (599, &startup, false),
            (630, &startup, false),
            (18, &liveness, true),
            (19, &liveness, false),
            // The liveness probe begins when it has started, so it was no slow start.
            (100, &both, true),
            (630, &both, false),
            // Nothing but itself has ended it.
            (900, &json!({}), true),
        ] {
            assert_eq!(is_looping(&looping(ran, probes, &[])), expected, "{ran} s, {probes}");
        }
        // It waits for something else, or runs again.
        let mut pod = looping(5, &startup, &[]);
        pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "ImagePullBackOff"}});
        assert!(!is_looping(&pod));
        pod["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
        assert!(!is_looping(&pod));
    }

    #[test]
    fn a_container_that_ends_while_another_one_starts_makes_no_crash_loop() {
        let proxy = |ready| status("proxy", ready, &json!({"running": {}}), &json!({}));
        let probes = json!({"startupProbe": {"failureThreshold": 60}});
        assert!(is_looping(&looping(5, &probes, &[proxy(true)])));
        assert!(!is_looping(&looping(5, &probes, &[proxy(false)])), "the other one may be slow");
    }

    #[test]
    fn a_pod_that_was_ready_before_is_no_slow_starter() {
        let probes = json!({"startupProbe": {"failureThreshold": 3}});
        for (since, expected) in [("12:00:00", false), ("12:00:01", false), ("12:00:02", true), ("12:09:00", true)] {
            let mut pod = looping(300, &probes, &[]);
            pod["status"]["startTime"] = json!("2026-01-01T12:00:00Z");
            let since = format!("2026-01-01T{since}Z");
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False", "lastTransitionTime": since}]);
            assert_eq!(is_looping(&pod), expected, "{since}");
        }
    }
}
