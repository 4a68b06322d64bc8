//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

/// Heals unhealthy Kubernetes workloads: queries Prometheus, acts within limits, and verifies the result.
#[derive(Debug, Parser)]
#[command(name = "prunella", version, about)]
pub(crate) struct Args {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the controller until SIGTERM or Ctrl-C.
    Run(RunOptions),
    /// Print a description of all metrics, in Markdown.
    Metrics,
}

/// The options of `prunella run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunOptions {
    /// Address that serves /metrics, /healthz and /readyz.
    #[arg(long, env = "PRUNELLA_ADMIN_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub(crate) admin_listen: SocketAddr,
    /// The controller's own namespace. It contains the Lease. The annotation prunella.dev/hold on it stops
    /// healing in all namespaces.
    #[arg(long, env = "POD_NAMESPACE", default_value = "prunella-system", value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// Log level (error, warn, info, debug, trace) or filter, for example "info,kube=debug".
    #[arg(long, env = "PRUNELLA_LOG", default_value = "info,kube=warn", value_name = "FILTER")]
    pub(crate) log: String,
    /// Format of the log.
    #[arg(long, env = "PRUNELLA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// How many actions run at the same time. Four times as many policies are evaluated at the same time.
    #[arg(long, env = "PRUNELLA_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// How many actions one workload may get in any hour, over all policies.
    #[arg(long, env = "PRUNELLA_SUBJECT_CAP", default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) subject_cap: u32,
    /// The options of the leader election.
    #[command(flatten)]
    pub(crate) leadership: LeadershipOptions,
}

/// The options of the leader election.
#[derive(Debug, clap::Args)]
pub(crate) struct LeadershipOptions {
    /// Elect one of several replicas with a Lease in the controller's namespace. If false, several replicas
    /// act at the same time. Use false only in tests.
    #[arg(long, env = "PRUNELLA_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) leader_elect: bool,
    /// How long the other replicas wait for a leader that stopped renewing. Another replica leads after this
    /// time plus --retry-period at the latest.
    #[arg(long, env = "PRUNELLA_LEASE_DURATION", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub(crate) lease_duration: Duration,
    /// How long the leader keeps acting when it cannot renew the Lease. The rest of --lease-duration is for
    /// requests that are still in flight.
    #[arg(long, env = "PRUNELLA_RENEW_DEADLINE", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub(crate) renew_deadline: Duration,
    /// How often the leader renews the Lease, and the other replicas check it.
    #[arg(long, env = "PRUNELLA_RETRY_PERIOD", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub(crate) retry_period: Duration,
    /// Name of this replica in the Lease. A random suffix is added.
    #[arg(long, env = "POD_NAME", default_value = "prunella", value_name = "NAME")]
    pub(crate) pod_name: String,
}

/// Parses a duration in the notation of policies: `90s`, `1m30s`, `500ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = prunella_api::Duration::from(text).get().map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|error| error.to_string())
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text per message.
    Text,
    /// One JSON object per line.
    Json,
}
