//! The fault that each rule is for, and the only change that fixes it.

use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::name_of;

/// One of the five rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// The name of the policy and of its file.
    pub(crate) name: &'static str,
    /// The fault that the rule is for, as a request to the sample app.
    pub(crate) fault: &'static str,
    /// Which pods are broken.
    pub(crate) broken: Broken,
    /// The action.
    pub(crate) remedy: Remedy,
}

/// Which pods are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    One,
    All,
}

/// The action, taken once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The unhealthy pod is evicted.
    Evict,
    /// The Deployment is restarted.
    Restart,
    /// The Deployment gets one more replica.
    Scale,
}

pub(crate) const HIGH_MEMORY_USAGE: Rule = Rule {
    name: "high-memory-usage",
    // Above the policy's threshold and below the container's limit, so that it is not killed.
    fault: "memory-leak?rate=40Mi&ceiling=220Mi",
    broken: Broken::One,
    remedy: Remedy::Evict,
};

pub(crate) const POD_CRASH_LOOPING: Rule = Rule {
    name: "pod-crash-looping",
    fault: "crash?sticky=true&delay=500ms",
    broken: Broken::One,
    remedy: Remedy::Restart,
};

pub(crate) const HIGH_ERROR_RATE: Rule =
    Rule { name: "high-error-rate", fault: "errors?percentage=50", broken: Broken::One, remedy: Remedy::Evict };

pub(crate) const POD_NOT_READY: Rule =
    Rule { name: "pod-not-ready", fault: "not-ready", broken: Broken::One, remedy: Remedy::Evict };

pub(crate) const HIGH_CPU_USAGE: Rule = Rule {
    name: "high-cpu-usage",
    // Percent of a core: 95 % of the limit.
    fault: "cpu?percentage=9.5",
    broken: Broken::All,
    remedy: Remedy::Scale,
};

pub(crate) const ALL: [Rule; 5] =
    [HIGH_MEMORY_USAGE, POD_CRASH_LOOPING, HIGH_ERROR_RATE, POD_NOT_READY, HIGH_CPU_USAGE];

impl Remedy {
    /// The only request to the API server, for this unhealthy pod.
    pub(crate) fn request(self, unhealthy: &Pod) -> String {
        match self {
            Self::Evict => format!("create pods/eviction {}", name_of(unhealthy)),
            Self::Restart => "patch deployments sample-app".to_owned(),
            Self::Scale => "patch deployments/scale sample-app".to_owned(),
        }
    }
}
