//! The command line.

use std::net::SocketAddr;

use clap::{Parser, Subcommand, ValueEnum};

/// Heals workloads in Kubernetes by rules people can read, test and trust.
#[derive(Debug, Parser)]
#[command(name = "prunella", version, about)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the controller until it is told to stop (SIGTERM or Ctrl-C).
    Run(RunOptions),
}

/// How the controller runs.
#[derive(Debug, clap::Args)]
pub(crate) struct RunOptions {
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "PRUNELLA_ADMIN_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub(crate) admin_listen: SocketAddr,
    /// The controller's own namespace. A hold on it (annotation prunella.dev/hold) holds healing everywhere.
    #[arg(long, env = "POD_NAMESPACE", default_value = "prunella-system", value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// What is logged: a level (error, warn, info, debug, trace) or a filter like "info,kube=debug".
    #[arg(long, env = "PRUNELLA_LOG", default_value = "info,kube=warn", value_name = "FILTER")]
    pub(crate) log: String,
    /// The form of a log line.
    #[arg(long, env = "PRUNELLA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// How many policies are judged at once, and how many actions are carried out at once.
    #[arg(long, env = "PRUNELLA_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
