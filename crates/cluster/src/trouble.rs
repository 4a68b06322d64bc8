//! Why a pod is not Ready, as far as its status tells.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// The longest cause that is kept, in characters. The scheduler's sentence grows with the cluster.
const LONGEST: usize = 200;

/// Why a pod is not Ready: the scheduler's sentence, or what the first container that does not run
/// waits for. `None`: its status gives no cause.
pub(crate) fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled =
        status.conditions.iter().flatten().find(|one| one.type_ == "PodScheduled" && one.status == "False");
    let cause = if let Some(condition) = unscheduled {
        let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
        condition.message.as_ref().map_or_else(|| reason.to_owned(), |message| format!("{reason}: {message}"))
    } else {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten()).find_map(waits_for)?
    };
    Some(cause.chars().take(LONGEST).collect())
}

/// What a container waits for, and how it ended last.
fn waits_for(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    // An init container that waits for an earlier one has not run yet either.
    let reason = waiting.reason.as_deref().filter(|reason| *reason != "PodInitializing")?;
    let ended = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let ended = ended.map(|ended| match ended.reason.as_deref() {
        Some("OOMKilled") => format!(": OOMKilled, exit code {}", ended.exit_code),
        _ => format!(": exit code {}", ended.exit_code),
    });
    Some(format!("{reason}{} (container {})", ended.unwrap_or_default(), container.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_cause_is_what_the_scheduler_or_a_container_says() {
        let of = |status: Value| trouble(&serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap());
        let container = |name: &str, state: Value, last: Value| json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 3, "state": state, "lastState": last});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let running = container("proxy", json!({"running": {}}), json!({}));
        let ended = |reason: &str, code: i32| json!({"terminated": {"exitCode": code, "reason": reason}});
        for (status, expected) in [
            (json!({}), None),
            (json!({"containerStatuses": [running]}), None),
            (
                json!({"containerStatuses": [running, container("app", waiting("CrashLoopBackOff"), ended("Error", 1))]}),
                Some("CrashLoopBackOff: exit code 1 (container app)"),
            ),
            (
                json!({"containerStatuses": [container("app", waiting("CrashLoopBackOff"), ended("OOMKilled", 137))]}),
                Some("CrashLoopBackOff: OOMKilled, exit code 137 (container app)"),
            ),
            (
                json!({"containerStatuses": [container("app", waiting("ImagePullBackOff"), json!({}))]}),
                Some("ImagePullBackOff (container app)"),
            ),
            (
                json!({"initContainerStatuses": [container("migrate", waiting("CrashLoopBackOff"), ended("Error", 2))],
                       "containerStatuses": [container("app", waiting("PodInitializing"), json!({}))]}),
                Some("CrashLoopBackOff: exit code 2 (container migrate)"),
            ),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."}]}),
                Some("Unschedulable: 0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."),
            ),
        ] {
            assert_eq!(of(status.clone()).as_deref(), expected, "{status}");
        }
    }
}
