//! The command line.

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};

use crate::scenario::{SCENARIOS, Scenario};

/// Breaks an app in five ways and shows how Prunella heals it.
#[derive(Debug, Parser)]
#[command(name = "demo", version, max_term_width = 100)]
pub(crate) struct Args {
    /// The cluster to use: a new testbed, or the current context of your kubeconfig. For your own
    /// cluster, load the images localhost/prunella and localhost/sample-app onto its nodes first
    #[arg(long, value_enum, default_value_t = Cluster::Testbed)]
    pub(crate) cluster: Cluster,
    /// Name of the testbed. A testbed that is already running is used, and keeps running
    #[arg(long, value_name = "NAME", default_value = "demo")]
    pub(crate) testbed: String,
    /// Show only this policy. Can be repeated. All policies are applied
    #[arg(long, value_name = "POLICY", value_parser = names())]
    pub(crate) only: Vec<String>,
    /// Keep everything at the end
    #[arg(long)]
    pub(crate) keep: bool,
    /// Scale the controller to zero before the first fault. The demo must then fail
    #[arg(long)]
    pub(crate) scale_controller_to_zero: bool,
}

impl Args {
    /// Whether to show a scenario.
    pub(crate) fn shows(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario.policy)
    }
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.policy))
}

/// The cluster that the demo uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cluster {
    /// A real Kubernetes on this machine. Needs root and Linux
    Testbed,
    /// The current context of your kubeconfig
    Current,
}
