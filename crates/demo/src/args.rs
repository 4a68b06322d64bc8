//! What can be typed.

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};

use crate::scenario::{SCENARIOS, Scenario};

/// Breaks an app in five ways and shows how it is healed of each.
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
    /// Show one policy only (may be given more than once); all are applied all the same
    #[arg(long, value_name = "POLICY", value_parser = names())]
    pub(crate) only: Vec<String>,
    /// Leave everything as it is at the end, to look at it
    #[arg(long)]
    pub(crate) keep: bool,
    /// Take the controller away before the first fault: the demo must fail
    #[arg(long)]
    pub(crate) scale_controller_to_zero: bool,
}

impl Args {
    /// Whether a scenario is to be shown.
    pub(crate) fn shows(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario.policy)
    }
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.policy))
}

/// Where the demo runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cluster {
    /// A real Kubernetes on this machine; needs root and Linux.
    Testbed,
    /// The current context of your kubeconfig, with your kubectl.
    Current,
}
