//! `prunella`: the controller. It asks, decides, acts under brakes, and says what
//! it did and why not. The environment is read here and nowhere else.

mod admin;
mod announce;
mod args;
mod board;
mod clock;
mod context;
mod executor;
mod judge;
mod leadership;
mod ledger;
mod metrics;
mod pass;
mod run;
mod sources;
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
            print!("{}", metrics::page());
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
        error!("another TLS provider is installed already: this build is broken");
        return ExitCode::FAILURE;
    }
    // One thread: the controller waits far more than it computes, and two that share the heap
    // wait for each other instead. A worker for each core would be as many as the node has.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
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
