//! What is broken, and which policy is to mend it.

/// One way to break a pod.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// The policy, a file of the checkout.
    pub(crate) policy: &'static str,
    /// What is asked of the sick pod: path and query of a POST to the sample app.
    pub(crate) fault: &'static str,
    /// The same for the reader.
    pub(crate) fault_in_words: &'static str,
    /// How the policy's values read.
    pub(crate) unit: Unit,
}

/// What a value counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Bytes, shown in MiB.
    Bytes,
}

impl Unit {
    /// A value as people read it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Bytes => format!("{:.0} MiB", value / f64::from(1 << 20)),
        }
    }
}

/// The demo, in this order.
pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "memory leak",
    policy: "examples/policies/demo/sample-app-memory.yaml",
    // It ends well below the container's limit: an OOM kill would be another story.
    fault: "/simulate/memory-leak?rate=40Mi&ceiling=180Mi",
    fault_in_words: "begins to leak 40 MiB a second, up to 180 MiB",
    unit: Unit::Bytes,
}];
