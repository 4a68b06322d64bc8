//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures the controller on a testbed of its own, beside the classic path.
///
/// Everything takes about half an hour on two cores. The exit code is 0 when the run is valid: a bound that is missed is
/// told, not punished.
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 100)]
pub(crate) struct Args {
    /// The name of the testbed; it must not be up, and is taken down at the end
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub(crate) testbed: String,
    /// The controller to be measured [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) controller: Option<PathBuf>,
    /// With which profile of cargo it was built, to be told
    #[arg(long, value_name = "PROFILE", default_value = "dist")]
    pub(crate) profile: String,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Fewer samples and policies: to try the program out, not to cite
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write all figures there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the page there
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Leave the testbed up at the end
    #[arg(long)]
    pub(crate) keep: bool,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Fault to write, both paths
    Latency,
    /// CPU seconds for 1 000 evaluations, each with a query of its own
    Cpu,
    /// Writes of quiet policies, and requests when several ask the same
    Quiet,
    /// Resident memory by policies and by pods
    Memory,
}

impl Args {
    /// Whether a part is to be measured.
    pub(crate) fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How much of everything.
    pub(crate) fn size(&self) -> Size {
        if self.quick {
            Size {
                samples: 50,
                latency: vec![10, 100],
                policies: 200,
                window: 20,
                memory: vec![100, 1_000],
                pods: 5_000,
            }
        } else {
            Size {
                samples: 100,
                latency: vec![10, 1_000],
                policies: 1_000,
                window: 60,
                memory: vec![100, 1_000, 10_000],
                // Fewer would fit into what the start leaves free, and seem to take nothing.
                pods: 10_000,
            }
        }
    }
}

/// How much of everything.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    /// Faults a path, at each number of policies.
    pub(crate) samples: usize,
    /// Numbers of policies at which the time to the write is measured, ascending.
    pub(crate) latency: Vec<usize>,
    /// Policies whose evaluations are counted.
    pub(crate) policies: usize,
    /// For how many seconds.
    pub(crate) window: u64,
    /// Numbers of policies at which memory is measured, ascending.
    pub(crate) memory: Vec<usize>,
    /// Pods that are watched and nothing else.
    pub(crate) pods: usize,
}
