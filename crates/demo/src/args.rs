//! What can be typed.

use clap::{Parser, ValueEnum};

/// Breaks a pod and shows how it is healed.
#[derive(Debug, Parser)]
#[command(name = "demo", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Where: on a testbed of its own, or on the cluster of your kubeconfig. On yours nothing is
    /// built or loaded: its nodes must have the images localhost/prunella and localhost/sample-app
    #[arg(long, value_enum, default_value_t = Cluster::Testbed)]
    pub(crate) cluster: Cluster,
    /// The name of the testbed; one that is up already is used and left up
    #[arg(long, value_name = "NAME", default_value = "demo")]
    pub(crate) testbed: String,
    /// Leave everything as it is at the end, to look at it
    #[arg(long)]
    pub(crate) keep: bool,
    /// Take the controller away before the fault: the demo must fail
    #[arg(long)]
    pub(crate) scale_controller_to_zero: bool,
}

/// Where the demo runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cluster {
    /// A real Kubernetes on this machine; needs root and Linux.
    Testbed,
    /// The current context of your kubeconfig, with your kubectl.
    Current,
}
