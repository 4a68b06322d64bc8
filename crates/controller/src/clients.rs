//! Two clients of the API server: one for reads, one for writes.

use anyhow::{Context as _, Result};
use kube::client::ClientBuilder;
use kube::{Client, Config};

use crate::clock::{Clock, Observing};
use crate::watch_log::WatchLog;

/// Two clients of the API server.
#[derive(Clone)]
pub(crate) struct Clients {
    /// For reads. It retries requests that are safe to repeat.
    pub(crate) reads: Client,
    /// For writes. It never retries: after a lost answer, the first write may have happened.
    pub(crate) writes: Client,
    /// When the watches of `reads` were last answered.
    pub(crate) watches: WatchLog,
}

impl Clients {
    /// Clients whose answers set `clock`.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(crate) fn new(config: Config, clock: &Clock) -> Result<Self> {
        let mut never_twice = config.clone();
        never_twice.default_retry = false;
        let watches = WatchLog::default();
        let reads = ClientBuilder::try_from(config)
            .map(|builder| builder.with_layer(&Observing(clock.clone())).with_layer(&watches).build());
        let writes =
            ClientBuilder::try_from(never_twice).map(|builder| builder.with_layer(&Observing(clock.clone())).build());
        Ok(Self {
            reads: reads.context("cannot make a client for reads")?,
            writes: writes.context("cannot make a client for writes")?,
            watches,
        })
    }
}
