//! What each rule is for: the fault it mends, and the one change by which it does.

use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::name_of;

/// One of the five.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// The policy's name, and its file's.
    pub(crate) name: &'static str,
    /// What makes the app sick in the way that the rule is for.
    pub(crate) fault: &'static str,
    /// Whom it befalls.
    pub(crate) befalls: Befalls,
    /// What is done about it.
    pub(crate) remedy: Remedy,
}

/// Whom a fault befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Befalls {
    One,
    All,
}

/// What is done, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The sick pod is evicted.
    Evict,
    /// The Deployment is restarted.
    Restart,
    /// The Deployment gets one more replica.
    Scale,
}

pub(crate) const HIGH_MEMORY_USAGE: Rule = Rule {
    name: "high-memory-usage",
    // Above the bound, and below the container's limit: it is not killed.
    fault: "memory-leak?rate=40Mi&ceiling=220Mi",
    befalls: Befalls::One,
    remedy: Remedy::Evict,
};

pub(crate) const POD_CRASH_LOOPING: Rule = Rule {
    name: "pod-crash-looping",
    fault: "crash?sticky=true&delay=500ms",
    befalls: Befalls::One,
    remedy: Remedy::Restart,
};

pub(crate) const HIGH_ERROR_RATE: Rule =
    Rule { name: "high-error-rate", fault: "errors?percentage=50", befalls: Befalls::One, remedy: Remedy::Evict };

pub(crate) const POD_NOT_READY: Rule =
    Rule { name: "pod-not-ready", fault: "not-ready", befalls: Befalls::One, remedy: Remedy::Evict };

pub(crate) const HIGH_CPU_USAGE: Rule = Rule {
    name: "high-cpu-usage",
    // Of a core: 95 % of the limit.
    fault: "cpu?percentage=9.5",
    befalls: Befalls::All,
    remedy: Remedy::Scale,
};

pub(crate) const ALL: [Rule; 5] =
    [HIGH_MEMORY_USAGE, POD_CRASH_LOOPING, HIGH_ERROR_RATE, POD_NOT_READY, HIGH_CPU_USAGE];

impl Remedy {
    /// The one request to the API server, of the pod that is sick.
    pub(crate) fn request(self, sick: &Pod) -> String {
        match self {
            Self::Evict => format!("create pods/eviction {}", name_of(sick)),
            Self::Restart => "patch deployments sample-app".to_owned(),
            Self::Scale => "patch deployments/scale sample-app".to_owned(),
        }
    }
}
