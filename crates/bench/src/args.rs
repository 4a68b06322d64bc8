//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures the controller on a testbed of its own, next to the classic path.
///
/// A whole run takes about half an hour on two cores. The exit code is 0 if the run is valid. It is also 0 if a bound is
/// missed.
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 100)]
#[allow(clippy::struct_excessive_bools, reason = "each flag on the command line is a bool")]
pub(crate) struct Args {
    /// The name of the testbed. It must not be running, and it is removed at the end
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub(crate) testbed: String,
    /// The controller to measure [default: the file prunella next to this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) controller: Option<PathBuf>,
    /// The cargo profile of the controller, for the report
    #[arg(long, value_name = "PROFILE", default_value = "dist")]
    pub(crate) profile: String,
    /// Measure only these parts
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Take fewer samples and policies: to try the program, not for publication
    #[arg(long)]
    pub(crate) quick: bool,
    /// Print where the time goes with ten faults at the same time, stage by stage. This turns on the query log of
    /// Prometheus, so the run is not kept
    #[arg(long)]
    pub(crate) timeline: bool,
    /// Add the run to the list of runs in this file, if it is whole and valid. The newest 10 are kept
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the page of the kept runs to this file
    #[arg(long, value_name = "FILE", requires = "json")]
    pub(crate) markdown: Option<PathBuf>,
    /// Measure nothing: only write the page of the kept runs
    #[arg(long, requires = "markdown")]
    pub(crate) page_only: bool,
    /// Keep the testbed running at the end
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A part that can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The time from fault to write, on both paths
    Latency,
    /// CPU seconds per 1 000 evaluations, each with its own query
    Cpu,
    /// The writes of quiet policies, and the requests of policies with the same query
    Quiet,
    /// Resident memory per policy and per pod
    Memory,
}

impl Args {
    /// Whether a part is measured.
    pub(crate) fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// The size of the measurements.
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
                // Fewer pods would fit into memory that the start left free, and would seem
                // to cost nothing.
                pods: 10_000,
            }
        }
    }
}

/// The size of the measurements.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    /// Faults on each path, at each number of policies.
    pub(crate) samples: usize,
    /// The numbers of policies at which the time to the write is measured, ascending.
    pub(crate) latency: Vec<usize>,
    /// The number of policies whose evaluations are counted.
    pub(crate) policies: usize,
    /// How long they are counted, in seconds.
    pub(crate) window: u64,
    /// The numbers of policies at which memory is measured, ascending.
    pub(crate) memory: Vec<usize>,
    /// The number of pods that are only watched.
    pub(crate) pods: usize,
}
