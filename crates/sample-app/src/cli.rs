//! The command line. Every flag can also be given by environment.
//!
//! The variables carry no common prefix: Kubernetes gives a pod
//! `SAMPLE_APP_PORT=tcp://…` for a Service called `sample-app`, which would
//! then be read as a flag.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::load::Rate;
use crate::plain_http::PlainUrl;
use crate::quantity::Span;

/// A small HTTP service that fails on demand.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer requests, and fail when told to (what happens when no command is named)
    Serve(ServeArgs),
    /// Make steady traffic and print what it saw
    Load(LoadArgs),
}

impl Cli {
    /// The command asked for; `serve` when none is named.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; port 0 picks a free one, the first line printed says which
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    /// Name told in answers; in a pod, the pod's name
    #[arg(long, env = "HOSTNAME", default_value = "sample-app")]
    pub(crate) name: String,
    /// Peer that `/` depends on, such as `http://backend:8080`; empty for none
    #[arg(long, env = "UPSTREAM", default_value = "")]
    pub(crate) upstream: String,
    /// How long the upstream may take to answer
    #[arg(long, env = "UPSTREAM_TIMEOUT", default_value = "2s")]
    pub(crate) upstream_timeout: Span,
    /// Folder that keeps sticky faults over restarts; sticky is refused without it
    #[arg(long, env = "STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// How long /startupz and /readyz say no after the start
    #[arg(long, env = "STARTUP_DELAY", default_value = "0s")]
    pub(crate) startup_delay: Span,
    /// How long to go on serving, not ready, after SIGTERM, until traffic has moved away
    #[arg(long, env = "SHUTDOWN_DELAY", default_value = "2s")]
    pub(crate) shutdown_delay: Span,
    /// How long requests in flight may take to end after that
    #[arg(long, env = "DRAIN", default_value = "10s")]
    pub(crate) drain: Span,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Where to send GET requests
    #[arg(long, env = "LOAD_URL")]
    pub(crate) url: PlainUrl,
    /// Requests per second; fractions are allowed
    #[arg(long, env = "LOAD_RPS", default_value = "10")]
    pub(crate) rps: Rate,
    /// How long to go on; 0 is until told to stop
    #[arg(long, env = "LOAD_DURATION", default_value = "0s")]
    pub(crate) duration: Span,
    /// Requests in flight at once; a request due above that is skipped and counted
    #[arg(long, env = "LOAD_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// How long one request may take
    #[arg(long, env = "LOAD_TIMEOUT", default_value = "5s")]
    pub(crate) timeout: Span,
    /// How often to print a line
    #[arg(long, env = "LOAD_REPORT", default_value = "10s")]
    pub(crate) report: Span,
}
