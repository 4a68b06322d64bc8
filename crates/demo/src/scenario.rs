//! What is broken, and which policy is to mend it.
//!
//! All five live on one app, with all five policies applied: that each leaves the
//! others' sicknesses alone is what has to be seen. Five actions are as many as a
//! workload may bear in an hour (`--subject-cap`), so a sixth scenario would need
//! another app. Scaling comes last, for it leaves a copy more than there were; and the
//! restart after the evictions, so that these have old pods to leave alone.

/// One way to break the app.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The policy that is to act, and its file in [`POLICIES`].
    pub(crate) policy: &'static str,
    /// What is wrong.
    pub(crate) sickness: &'static str,
    /// What is asked of a pod to make it sick: path and query of a POST to the sample app.
    pub(crate) fault: &'static str,
    /// The same for the reader.
    pub(crate) fault_in_words: &'static str,
    /// Whom it befalls.
    pub(crate) befalls: Befalls,
    /// Where the policy's query compares.
    pub(crate) comparison: &'static str,
    /// How its values read.
    pub(crate) unit: Unit,
    /// What Prometheus must have of each pod, for the fault to show in it at once.
    pub(crate) known_by: &'static str,
}

/// Whom a fault befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Befalls {
    /// One pod.
    One,
    /// Every pod.
    All,
}

/// What a value counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Bytes, shown in MB.
    Bytes,
    /// A part of a whole, shown in percent.
    Share,
    /// Restarts.
    Restarts,
    /// 1 is ready, 0 is not.
    Readiness,
}

impl Unit {
    /// A value as people read it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => format!("{:.0} MB", value / 1e6),
            Self::Share => format!("{:.0} %", value * 100.0),
            Self::Restarts => format!("{value:.1} restarts"),
            Self::Readiness if value > 0.0 => "ready".to_owned(),
            Self::Readiness => "not ready".to_owned(),
        }
    }

    /// A value beside the bound it has passed.
    pub(crate) fn beside(self, value: f64, bound: f64) -> String {
        match self {
            Self::Readiness => self.show(value),
            _ => format!("{}, bound {}", self.show(value), self.show(bound)),
        }
    }
}

/// Where the policies are, in the checkout.
pub(crate) const POLICIES: &str = "examples/policies/demo";

/// The demo, in this order.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        policy: "high-memory-usage",
        sickness: "memory leak",
        // It ends below the container's limit: an OOM kill would be another story.
        fault: "memory-leak?rate=40Mi&ceiling=220Mi",
        fault_in_words: "begins to leak 40 MiB a second, up to 220 MiB",
        befalls: Befalls::One,
        comparison: "> 200 * 1000 * 1000",
        unit: Unit::Bytes,
        known_by: r#"container_memory_working_set_bytes{namespace="prunella-demo", container="sample-app"}"#,
    },
    Scenario {
        policy: "high-error-rate",
        sickness: "errors",
        fault: "errors?percentage=50",
        fault_in_words: "begins to answer every other request with 500",
        befalls: Befalls::One,
        comparison: "> 0.1",
        unit: Unit::Share,
        known_by: r#"sum by (pod) (rate(http_requests_total{namespace="prunella-demo"}[1m])) > 0"#,
    },
    Scenario {
        policy: "pod-not-ready",
        sickness: "not ready",
        fault: "not-ready",
        fault_in_words: "begins to fail its readiness probe",
        befalls: Befalls::One,
        comparison: "== 0",
        unit: Unit::Readiness,
        known_by: r#"kube_pod_status_ready{namespace="prunella-demo", condition="true"} == 1"#,
    },
    Scenario {
        policy: "pod-crash-looping",
        sickness: "crash loop",
        // Late enough for the request to be answered.
        fault: "crash?sticky=true&delay=500ms",
        fault_in_words: "begins to crash, soon after each start",
        befalls: Befalls::One,
        comparison: ">= 2",
        unit: Unit::Restarts,
        // What is high from its first sample on never increased: it takes two.
        known_by: r#"increase(kube_pod_container_status_restarts_total{namespace="prunella-demo", container="sample-app"}[1m])"#,
    },
    Scenario {
        policy: "high-cpu-usage",
        sickness: "processor",
        // Of a core: 95 % of the limit. With one idle copy more it is little more than
        // seven tenths on the average, as if the work were shared out.
        fault: "cpu?percentage=9.5",
        fault_in_words: "begin to use nearly all of the processor that they may",
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
    fn each_scenario_knows_its_policy() {
        for scenario in SCENARIOS {
            let text = kubectl::read(&format!("{POLICIES}/{}.yaml", scenario.policy)).unwrap();
            let policy: HealingPolicy = serde_yaml::from_str(&text).unwrap();
            assert_eq!(policy.metadata.name.as_deref(), Some(scenario.policy));
            let query = policy.spec.condition.promql.unwrap().query;
            assert!(query.contains(scenario.comparison), "{query}");
        }
    }

    #[test]
    fn values_read_as_people_write_them() {
        assert_eq!(Unit::Bytes.show(215_000_000.0), "215 MB");
        assert_eq!(Unit::Share.show(0.104), "10 %");
        assert_eq!(Unit::Readiness.show(0.0), "not ready");
        assert_eq!(Unit::Share.beside(0.62, 0.1), "62 %, bound 10 %");
    }
}
