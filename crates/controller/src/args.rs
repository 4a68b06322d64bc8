//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::leadership::{Timing, TimingError};
use crate::settings::Settings;

/// Heals unhealthy Kubernetes workloads: queries Prometheus, acts within limits, and verifies the result.
#[derive(Debug, Parser)]
#[command(name = "prunella", version, about)]
pub struct Args {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller until SIGTERM or Ctrl-C.
    Run(RunOptions),
    /// Print a description of all metrics, in Markdown.
    Metrics,
}

/// The options of `prunella run`.
#[derive(Debug, clap::Args)]
pub struct RunOptions {
    /// Address that serves /metrics, /healthz and /readyz.
    #[arg(long, env = "PRUNELLA_ADMIN_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub admin_listen: SocketAddr,
    /// The controller's own namespace. It contains the Lease. The annotation prunella.dev/hold on it stops
    /// healing in all namespaces.
    #[arg(long, env = "POD_NAMESPACE", default_value = "prunella-system", value_name = "NAMESPACE")]
    pub namespace: String,
    /// Log level (error, warn, info, debug, trace) or filter, for example "info,kube=debug".
    #[arg(long, env = "PRUNELLA_LOG", default_value = "info,kube=warn", value_name = "FILTER")]
    pub log: String,
    /// Format of the log.
    #[arg(long, env = "PRUNELLA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// How many actions run at the same time. Four times as many policies are evaluated at the same time.
    #[arg(long, env = "PRUNELLA_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// How many actions one workload may get in any hour, over all policies.
    #[arg(long, env = "PRUNELLA_SUBJECT_CAP", default_value_t = 5, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub subject_cap: u32,
    /// The options of the leader election.
    #[command(flatten)]
    pub leadership: LeadershipOptions,
}

/// The options of the leader election.
#[derive(Debug, clap::Args)]
pub struct LeadershipOptions {
    /// Elect one of several replicas with a Lease in the controller's namespace. If false, several replicas
    /// act at the same time. Use false only in tests.
    #[arg(long, env = "PRUNELLA_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub leader_elect: bool,
    /// How long the other replicas wait for a leader that stopped renewing. Another replica leads after this
    /// time plus --retry-period at the latest.
    #[arg(long, env = "PRUNELLA_LEASE_DURATION", default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub lease_duration: Duration,
    /// How long the leader keeps acting when it cannot renew the Lease. The rest of --lease-duration is for
    /// requests that are still in flight.
    #[arg(long, env = "PRUNELLA_RENEW_DEADLINE", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub renew_deadline: Duration,
    /// How often the leader renews the Lease, and the other replicas check it.
    #[arg(long, env = "PRUNELLA_RETRY_PERIOD", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub retry_period: Duration,
    /// Name of this replica in the Lease. A random suffix is added.
    #[arg(long, env = "POD_NAME", default_value = "prunella", value_name = "NAME")]
    pub pod_name: String,
}

impl RunOptions {
    /// The settings of the controller.
    ///
    /// # Errors
    /// When the times of the leader election do not fit together.
    pub fn settings(&self) -> Result<Settings, TimingError> {
        let LeadershipOptions { leader_elect, lease_duration, renew_deadline, retry_period, pod_name } =
            &self.leadership;
        let timing = Timing::new(*lease_duration, *renew_deadline, *retry_period)?;
        Ok(Settings {
            namespace: self.namespace.clone(),
            pod_name: pod_name.clone(),
            concurrency: self.concurrency,
            subject_cap: self.subject_cap,
            election: leader_elect.then_some(timing),
        })
    }
}

/// Parses a duration in the notation of policies: `90s`, `1m30s`, `500ms`.
///
/// # Errors
/// Why it cannot be parsed, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = prunella_api::Duration::from(text).get().map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|error| error.to_string())
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text per message.
    Text,
    /// One JSON object per line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_command_line_are_the_default_settings() {
        // Variables of the environment would replace defaults, so the names of two are given.
        let args = ["prunella", "run", "--namespace=prunella-system", "--pod-name=prunella"];
        let Ok(Args { command: Command::Run(options) }) = Args::try_parse_from(args) else { panic!("must parse") };
        assert_eq!(options.settings(), Ok(Settings::default()));
    }
}
