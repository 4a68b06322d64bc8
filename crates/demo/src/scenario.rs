//! The faults, and the policy that fixes each.
//!
//! All five use one app, with all five policies applied, to show that a policy ignores the
//! faults of the others. A workload gets at most five actions in an hour (`--subject-cap`),
//! so a sixth scenario would need another app. Scaling comes last, because it adds a pod. The
//! restart comes after the evictions, so that each eviction has old pods to spare.

/// One way to break the app.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The policy that must act, and the name of its file in [`POLICIES`].
    pub(crate) policy: &'static str,
    /// The fault in two words.
    pub(crate) fault_name: &'static str,
    /// The request that breaks a pod: path and query of a POST to the sample app.
    pub(crate) fault: &'static str,
    /// The same in words, after the name of the pod.
    pub(crate) fault_in_words: &'static str,
    /// Which pods are broken.
    pub(crate) befalls: Befalls,
    /// The comparison in the policy's query.
    pub(crate) comparison: &'static str,
    /// The unit of its values.
    pub(crate) unit: Unit,
    /// A query that must return each pod before the fault, so that the fault shows at once.
    pub(crate) known_by: &'static str,
}

/// Which pods are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Befalls {
    /// One pod.
    One,
    /// Every pod.
    All,
}

/// The unit of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Bytes, shown in MB.
    Bytes,
    /// A ratio, shown in percent.
    Share,
    /// Restarts.
    Restarts,
    /// 1 is ready, 0 is not.
    Readiness,
}

impl Unit {
    /// A value for people.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => format!("{:.0} MB", value / 1e6),
            Self::Share => format!("{:.0} %", value * 100.0),
            Self::Restarts => format!("{value:.1} restarts"),
            Self::Readiness if value > 0.0 => "ready".to_owned(),
            Self::Readiness => "not ready".to_owned(),
        }
    }

    /// A value and the limit that it has exceeded.
    pub(crate) fn beside(self, value: f64, limit: f64) -> String {
        match self {
            Self::Readiness => self.show(value),
            _ => format!("{}, limit {}", self.show(value), self.show(limit)),
        }
    }
}

/// The folder of the policies in the checkout.
pub(crate) const POLICIES: &str = "examples/policies/demo";

/// The scenarios, in the order of the demo.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        policy: "high-memory-usage",
        fault_name: "memory leak",
        // It ends below the container's limit: an OOM kill would be another fault.
        fault: "memory-leak?rate=40Mi&ceiling=220Mi",
        fault_in_words: "leaks 40 MiB per second, up to 220 MiB",
        befalls: Befalls::One,
        comparison: "> 200 * 1000 * 1000",
        unit: Unit::Bytes,
        known_by: r#"container_memory_working_set_bytes{namespace="prunella-demo", container="sample-app"}"#,
    },
    Scenario {
        policy: "high-error-rate",
        fault_name: "errors",
        fault: "errors?percentage=50",
        fault_in_words: "answers every second request with 500",
        befalls: Befalls::One,
        comparison: "> 0.1",
        unit: Unit::Share,
        known_by: r#"sum by (pod) (rate(http_requests_total{namespace="prunella-demo"}[1m])) > 0"#,
    },
    Scenario {
        policy: "pod-not-ready",
        fault_name: "not ready",
        fault: "not-ready",
        fault_in_words: "fails its readiness probe",
        befalls: Befalls::One,
        comparison: "== 0",
        unit: Unit::Readiness,
        known_by: r#"kube_pod_status_ready{namespace="prunella-demo", condition="true"} == 1"#,
    },
    Scenario {
        policy: "pod-crash-looping",
        fault_name: "crash loop",
        // Late enough for a response to the request.
        fault: "crash?sticky=true&delay=500ms",
        fault_in_words: "crashes soon after each start",
        befalls: Befalls::One,
        comparison: ">= 2",
        unit: Unit::Restarts,
        // increase() needs two samples: a counter that is high from its first sample on never
        // increased.
        known_by: r#"increase(kube_pod_container_status_restarts_total{namespace="prunella-demo", container="sample-app"}[1m])"#,
    },
    Scenario {
        policy: "high-cpu-usage",
        fault_name: "CPU",
        // Percent of a core: 95 % of the limit. With one more idle pod the average is little
        // more than 70 %, as if the load were shared.
        fault: "cpu?percentage=9.5",
        fault_in_words: "use nearly all of their CPU limit",
        befalls: Befalls::All,
        comparison: "> 0.8",
        unit: Unit::Share,
        known_by: r#"irate(container_cpu_usage_seconds_total{namespace="prunella-demo", container="sample-app"}[1m])"#,
    },
];

#[cfg(test)]
mod tests {
    use prunella_api::HealingPolicy;

    use super::*;
    use crate::kubectl;

    #[test]
    fn each_scenario_matches_its_policy() {
        for scenario in SCENARIOS {
            let text = kubectl::read(&format!("{POLICIES}/{}.yaml", scenario.policy)).unwrap();
            let policy: HealingPolicy = serde_yaml::from_str(&text).unwrap();
            assert_eq!(policy.metadata.name.as_deref(), Some(scenario.policy));
            let query = policy.spec.condition.promql.unwrap().query;
            assert!(query.contains(scenario.comparison), "{query}");
        }
    }

    #[test]
    fn values_have_units() {
        assert_eq!(Unit::Bytes.show(215_000_000.0), "215 MB");
        assert_eq!(Unit::Share.show(0.104), "10 %");
        assert_eq!(Unit::Readiness.show(0.0), "not ready");
        assert_eq!(Unit::Share.beside(0.62, 0.1), "62 %, limit 10 %");
    }
}
