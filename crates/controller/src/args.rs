//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

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
    /// Print what there is to see at /metrics, as a page in Markdown.
    Metrics,
}

/// How the controller runs.
#[derive(Debug, clap::Args)]
pub(crate) struct RunOptions {
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "PRUNELLA_ADMIN_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub(crate) admin_listen: SocketAddr,
    /// The controller's own namespace. Its Lease is there, and a hold on it (annotation prunella.dev/hold)
    /// holds healing everywhere.
    #[arg(long, env = "POD_NAMESPACE", default_value = "prunella-system", value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// What is logged: a level (error, warn, info, debug, trace) or a filter like "info,kube=debug".
    #[arg(long, env = "PRUNELLA_LOG", default_value = "info,kube=warn", value_name = "FILTER")]
    pub(crate) log: String,
    /// The form of a log line.
    #[arg(long, env = "PRUNELLA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// How many actions are carried out at once; four times as many policies are judged at once.
    #[arg(long, env = "PRUNELLA_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// How many actions one workload may bear in any hour, whatever policies begin them.
    #[arg(long, env = "PRUNELLA_SUBJECT_CAP", default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) subject_cap: u32,
    /// Who of several replicas acts.
    #[command(flatten)]
    pub(crate) leadership: LeadershipOptions,
}

/// Who of several replicas acts.
#[derive(Debug, clap::Args)]
pub(crate) struct LeadershipOptions {
    /// Whether replicas elect one that acts, by a Lease in the controller's namespace. Without it, nothing
    /// keeps a second one from acting at the same time: only for tests.
    #[arg(long, env = "PRUNELLA_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub(crate) leader_elect: bool,
    /// How long a Lease that does not change is respected. A leader that has vanished is followed within this
    /// and --retry-period.
    #[arg(long, env = "PRUNELLA_LEASE_DURATION", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub(crate) lease_duration: Duration,
    /// How long the leader acts without being able to renew. What is left of the lease then is for requests
    /// that are still under way.
    #[arg(long, env = "PRUNELLA_RENEW_DEADLINE", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub(crate) renew_deadline: Duration,
    /// How often the leader renews, and the others look.
    #[arg(long, env = "PRUNELLA_RETRY_PERIOD", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub(crate) retry_period: Duration,
    /// What this replica is called in the Lease; a random part is added.
    #[arg(long, env = "POD_NAME", default_value = "prunella", value_name = "NAME")]
    pub(crate) pod_name: String,
}

/// Parses a duration as it is written in policies: `90s`, `1m30s`, `500ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = prunella_api::Duration::from(text).get().map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|error| error.to_string())
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
