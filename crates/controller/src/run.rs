//! Runs the controller until the process is stopped, one term after the other.
//!
//! A standby keeps a copy of the cluster's objects and serves its health. Everything else starts
//! when this process leads. So the recorded actions are listed consistently, after the election
//! and before the first decision. The end of a term is the same for every reason: the reconcilers
//! finish their passes, and only then is the Lease released, or does the next term start.

mod controllers;
mod term;
mod version;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use kube::Api;
use kube::client::ClientBuilder;
use tokio::sync::watch;
use tracing::warn;

use crate::admin::{self, Admin};
use crate::clients::{ApiServerService, Clients};
use crate::clock::Clock;
use crate::leadership::{Candidate, identity};
use crate::observe::ConnectSource;
use crate::report::metrics::Metrics;
use crate::settings::Settings;

/// Everything outside the process that the controller uses. Besides this it reads tokio's clock, which
/// a test can pause, and starts tasks on the runtime that runs it.
pub struct Surroundings {
    /// The API server, for reads. May retry.
    pub reads: ClientBuilder<ApiServerService>,
    /// The API server, for writes. Must not retry: after a lost answer, the first write may have happened.
    pub writes: ClientBuilder<ApiServerService>,
    /// The sources.
    pub connect_source: ConnectSource,
    /// A random number. It tells this process from all others in the leader election.
    pub nonce: u64,
}

/// The controller: what all terms of a process share.
pub struct Controller {
    settings: Settings,
    clients: Clients,
    clock: Clock,
    metrics: Arc<Metrics>,
    admin: Arc<Admin>,
    connect_source: ConnectSource,
    nonce: u64,
}

impl Controller {
    /// A controller that does nothing until it is run.
    ///
    /// # Assumptions
    /// It is called on the runtime that runs it.
    #[must_use]
    pub fn new(settings: Settings, surroundings: Surroundings) -> Self {
        let Surroundings { reads, writes, connect_source, nonce } = surroundings;
        let clock = Clock::new();
        let clients = Clients::new(reads, writes, &clock);
        let metrics = Arc::new(Metrics::new());
        let admin = Arc::new(Admin::new(Arc::clone(&metrics)));
        Self { settings, clients, clock, metrics, admin, connect_source, nonce }
    }

    /// Serves metrics and health, for as long as it is polled.
    pub fn serve_admin(&self, listen: SocketAddr) -> impl Future<Output = Result<()>> + Send + use<> {
        admin::serve(listen, Arc::clone(&self.admin))
    }

    /// Stands for election, and works as the leader. Does so again after the leadership was lost, until
    /// `stop` becomes true. A dropped run ends at once with all its tasks, like a process that is killed.
    ///
    /// # Errors
    /// When the API server is too old, when a part has failed that must not fail, or when passes do not
    /// end: the process must exit.
    pub async fn run(&self, stop: watch::Receiver<bool>) -> Result<()> {
        let halt = watch::Sender::new(false);
        let mut terms = Box::pin(self.terms(halt.subscribe()));
        let too_old = tokio::select! {
            ended = &mut terms => return ended,
            too_old = version::until_too_old(self.clients.reads.clone()) => Some(too_old),
            () = stopped(stop) => None,
        };
        halt.send_replace(true);
        terms.await?;
        too_old.map_or(Ok(()), Err)
    }

    async fn terms(&self, stop: watch::Receiver<bool>) -> Result<()> {
        let mut candidate = self.candidate();
        while let Some(loss) = term::run(self, candidate.as_mut(), &stop).await? {
            warn!(%loss, "lost the leadership; nothing is changed until the next election, which starts now");
        }
        Ok(())
    }

    /// This process in the leader election, unless that is switched off.
    fn candidate(&self) -> Option<Candidate> {
        let Some(timing) = self.settings.election else {
            warn!("leader election is off: nothing prevents a second replica from acting at the same time");
            self.metrics.leader.set(1);
            return None;
        };
        Some(Candidate::new(
            self.clock.clone(),
            Api::namespaced(self.clients.writes.clone(), &self.settings.namespace),
            self.metrics.leader.clone(),
            identity(&self.settings.pod_name, self.nonce),
            timing,
        ))
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end too.
    let _ = stop.wait_for(|stop| *stop).await;
}
