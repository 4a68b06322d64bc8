//! The five faults of the examples, as `make demo` causes them on a real cluster.

use crate::cluster::Fault;

/// One way to break the app.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// The name on the command line.
    pub name: &'static str,
    /// The example policy that heals it.
    pub policy: &'static str,
    /// The fault in two words.
    pub fault_name: &'static str,
    /// The fault.
    pub fault: Fault,
    /// The same in words, after the name of the pod.
    pub fault_in_words: &'static str,
    /// Which pods are broken.
    pub befalls: Befalls,
    /// The unit of the values of its query.
    pub unit: Unit,
}

/// Which pods are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Befalls {
    /// One pod.
    One,
    /// Every pod.
    All,
}

/// The unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
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
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => format!("{:.0} MB", value / 1e6),
            Self::Share => format!("{:.0} %", value * 100.0),
            Self::Restarts => format!("{value:.1} restarts"),
            Self::Readiness if value > 0.0 => "ready".to_owned(),
            Self::Readiness => "not ready".to_owned(),
        }
    }
}

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// The scenarios, in the order of the demo.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "memory-leak",
        policy: "high-memory-usage",
        fault_name: "memory leak",
        fault: Fault::MemoryLeak { rate: 10.0 * MEBIBYTE, ceiling: 220.0 * MEBIBYTE },
        fault_in_words: "leaks 10 MiB per second, up to 220 MiB",
        befalls: Befalls::One,
        unit: Unit::Bytes,
    },
    Scenario {
        name: "errors",
        policy: "high-error-rate",
        fault_name: "errors",
        fault: Fault::Errors { share: 0.5 },
        fault_in_words: "answers every second request with 500",
        befalls: Befalls::One,
        unit: Unit::Share,
    },
    Scenario {
        name: "not-ready",
        policy: "pod-not-ready",
        fault_name: "not ready",
        fault: Fault::NotReady,
        fault_in_words: "fails its readiness probe",
        befalls: Befalls::One,
        unit: Unit::Readiness,
    },
    Scenario {
        name: "crash",
        policy: "pod-crash-looping",
        fault_name: "crash loop",
        fault: Fault::Crash { delay: 500 },
        fault_in_words: "crashes soon after each start",
        befalls: Befalls::One,
        unit: Unit::Restarts,
    },
    Scenario {
        name: "cpu",
        policy: "high-cpu-usage",
        fault_name: "CPU",
        fault: Fault::Cpu { cores: 0.095 },
        fault_in_words: "use nearly all of their CPU limit",
        befalls: Befalls::All,
        unit: Unit::Share,
    },
];

/// The example policies, as users apply them.
pub const EXAMPLE_POLICIES: [&str; 5] = [
    include_str!("../../../examples/policies/high-memory-usage.yaml"),
    include_str!("../../../examples/policies/high-error-rate.yaml"),
    include_str!("../../../examples/policies/pod-not-ready.yaml"),
    include_str!("../../../examples/policies/pod-crash-looping.yaml"),
    include_str!("../../../examples/policies/high-cpu-usage.yaml"),
];
