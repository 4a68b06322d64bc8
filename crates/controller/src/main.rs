//! `prunella`: the controller. It observes, decides, acts under guardrails, and reports what it
//! did and why. The environment is read here and nowhere else.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use kube::Config;
use kube::client::ClientBuilder;
use prunella_controller::args::{Args, Command, LogFormat, RunOptions};
use prunella_controller::{Controller, Surroundings};
use prunella_signals::Prometheus;
use tokio::sync::watch;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run(options) => run(options),
        Command::Metrics => {
            print!("{}", prunella_controller::metrics_page());
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
    match runtime.block_on(control(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the controller until SIGTERM or Ctrl-C.
async fn control(options: RunOptions) -> Result<()> {
    let settings = options.settings()?;
    let stop = stop_signal()?;
    let config = Config::infer().await.context("cannot find a cluster: set KUBECONFIG, or run in a pod")?;
    info!(version = env!("CARGO_PKG_VERSION"), api_server = %config.cluster_url, "starting");
    let controller = Controller::new(settings, surroundings(config)?);
    let served = tokio::spawn(controller.serve_admin(options.admin_listen));
    let mut run = Box::pin(controller.run(stop.subscribe()));
    tokio::select! {
        ended = &mut run => ended?,
        // It ends early only if it could not start.
        served = served => {
            stop.send_replace(true);
            run.await?;
            served.context("the admin server panicked").flatten()?;
        }
    }
    info!("stopped");
    Ok(())
}

/// The API server, the sources, and a random number.
fn surroundings(config: Config) -> Result<Surroundings> {
    let mut never_twice = config.clone();
    never_twice.default_retry = false;
    Ok(Surroundings {
        reads: ClientBuilder::try_from(config).context("cannot make a client for reads")?,
        writes: ClientBuilder::try_from(never_twice).context("cannot make a client for writes")?,
        connect_source: Arc::new(Prometheus::new),
        nonce: RandomState::new().build_hasher().finish(),
    })
}

/// A value that becomes true on SIGTERM or Ctrl-C.
fn stop_signal() -> Result<watch::Sender<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = watch::Sender::new(false);
    let sender = stop.clone();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: running passes finish first");
        sender.send_replace(true);
    });
    Ok(stop)
}
