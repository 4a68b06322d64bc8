//! Runs the controller until the process is stopped, one term after the other.
//!
//! A standby keeps a copy of the cluster's objects and serves its health. Everything else starts
//! when this process leads. So the recorded actions are listed consistently, after the election
//! and before the first decision. The end of a term is the same for every reason: the reconcilers
//! finish their passes, and only then is the Lease released, or does the next term start.

mod controllers;
mod term;
mod version;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use kube::{Api, Config};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::admin::{self, Admin};
use crate::args::{LeadershipOptions, RunOptions};
use crate::clients::Clients;
use crate::clock::Clock;
use crate::leadership::{Candidate, Timing, identity};
use crate::report::metrics::Metrics;

/// What all terms of a process share.
struct Process {
    options: RunOptions,
    clients: Clients,
    clock: Clock,
    metrics: Arc<Metrics>,
    admin: Arc<Admin>,
    /// Becomes true when the process is to stop.
    stop: watch::Sender<bool>,
}

/// Runs the controller until SIGTERM or Ctrl-C.
pub(crate) async fn run(options: RunOptions) -> Result<()> {
    let LeadershipOptions { lease_duration, renew_deadline, retry_period, .. } = options.leadership;
    let timing = Timing::new(lease_duration, renew_deadline, retry_period)?;
    let stop = stop_signal()?;
    let config = Config::infer().await.context("cannot find a cluster: set KUBECONFIG, or run in a pod")?;
    info!(version = env!("CARGO_PKG_VERSION"), api_server = %config.cluster_url, "starting");
    let clock = Clock::new();
    let clients = Clients::new(config, &clock)?;
    let metrics = Arc::new(Metrics::new());
    let admin = Arc::new(Admin::new(Arc::clone(&metrics)));
    let served = tokio::spawn(admin::serve(options.admin_listen, Arc::clone(&admin)));
    let process = Process { options, clients, clock, metrics, admin, stop };

    let mut terms = Box::pin(terms(&process, timing));
    tokio::select! {
        ended = &mut terms => ended?,
        too_old = version::until_too_old(process.clients.reads.clone()) => {
            process.stop.send_replace(true);
            terms.await?;
            return Err(too_old);
        }
        // It ends early only if it could not start.
        served = served => {
            process.stop.send_replace(true);
            terms.await?;
            served.context("the admin server panicked").flatten()?;
        }
    }
    info!("stopped");
    Ok(())
}

/// Stands for election, and works as the leader. Does so again after the leadership was lost.
async fn terms(process: &Process, timing: Timing) -> Result<()> {
    let mut candidate = candidate(process, timing);
    while let Some(loss) = term::run(process, candidate.as_mut()).await? {
        warn!(%loss, "lost the leadership; nothing is changed until the next election, which starts now");
    }
    Ok(())
}

/// This process in the leader election, unless that is switched off.
fn candidate(process: &Process, timing: Timing) -> Option<Candidate> {
    let options = &process.options;
    if !options.leadership.leader_elect {
        warn!("leader election is off: nothing prevents a second replica from acting at the same time");
        process.metrics.leader.set(1);
        return None;
    }
    Some(Candidate::new(
        process.clock.clone(),
        Api::namespaced(process.clients.writes.clone(), &options.namespace),
        process.metrics.leader.clone(),
        identity(&options.leadership.pod_name),
        timing,
    ))
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

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end too.
    let _ = stop.wait_for(|stop| *stop).await;
}
