//! `prunella`: the controller. It observes, decides, acts under guardrails, and reports what it
//! did and why. The environment is read here and nowhere else.

mod act;
mod admin;
mod args;
mod authority;
mod clients;
mod clock;
mod cluster_view;
mod compiled;
mod handover;
mod isolation;
mod judge;
mod leadership;
mod observe;
mod records;
mod report;
mod run;
mod wakers;
mod watch_log;
mod writes;

use std::process::ExitCode;

use clap::Parser;
use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command, LogFormat, RunOptions};

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run(options) => run(options),
        Command::Metrics => {
            print!("{}", report::metrics::page());
            ExitCode::SUCCESS
        }
    }
}

fn run(options: RunOptions) -> ExitCode {
    let filter = EnvFilter::try_new(&options.log).unwrap_or_else(|_| EnvFilter::new("info,kube=warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        error!("another TLS provider is already installed: this build is broken");
        return ExitCode::FAILURE;
    }
    // Two threads: when many targets fail at once, decisions must not wait while an answer is
    // parsed. The default would be one thread for each core of the node.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "cannot start the async runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run::run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
