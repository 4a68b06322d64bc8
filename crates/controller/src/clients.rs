//! Two clients of the API server: one for reads, one for writes.

use anyhow::{Context as _, Result};
use kube::client::ClientBuilder;
use kube::{Client, Config};

use crate::clock::{Clock, Observing};

/// Two clients of the API server.
#[derive(Clone)]
pub(crate) struct Clients {
    /// For reads. It retries requests that are safe to repeat.
    pub(crate) reads: Client,
    /// For writes. It never retries: after a lost answer, the first write may have happened.
    pub(crate) writes: Client,
}

impl Clients {
    /// Clients whose answers set `clock`.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(crate) fn new(config: Config, clock: &Clock) -> Result<Self> {
        let client = |config| -> kube::Result<Client> {
            Ok(ClientBuilder::try_from(config)?.with_layer(&Observing(clock.clone())).build())
        };
        let mut never_twice = config.clone();
        never_twice.default_retry = false;
        Ok(Self {
            reads: client(config).context("cannot make a client for reads")?,
            writes: client(never_twice).context("cannot make a client for writes")?,
        })
    }
}
