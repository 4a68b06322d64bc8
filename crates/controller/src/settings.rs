//! What a process is told at its start.

use crate::leadership::Timing;

/// What a process is told at its start. The defaults are those of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The controller's own namespace.
    pub namespace: String,
    /// The name of this replica.
    pub pod_name: String,
    /// How many actions run at the same time.
    pub concurrency: u16,
    /// How many actions one workload may get in any hour, over all policies.
    pub subject_cap: u32,
    /// The times of the leader election. `None`: there is none.
    pub election: Option<Timing>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "prunella-system".to_owned(),
            pod_name: "prunella".to_owned(),
            concurrency: 16,
            subject_cap: 5,
            election: Some(Timing::default()),
        }
    }
}
