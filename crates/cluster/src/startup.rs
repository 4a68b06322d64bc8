//! How long the startup probes of a pod let it take to start.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, PodSpec};

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
    let period = probe.period_seconds.unwrap_or(PERIOD_SECONDS);
    let failures = probe.failure_threshold.unwrap_or(FAILURE_THRESHOLD);
    Some(i64::from(probe.initial_delay_seconds.unwrap_or(0)) + i64::from(period) * i64::from(failures))
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
}
