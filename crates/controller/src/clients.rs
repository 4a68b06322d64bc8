//! Two clients of the API server: one for reads, one for writes.

use http::{Request, Response};
use kube::Client;
use kube::client::{Body, ClientBuilder, DynBody};
use tower::BoxError;
use tower::util::BoxService;

use crate::clock::{Clock, Observing};
use crate::watch_log::WatchLog;

/// What carries requests to the API server and answers back: the network, or a server in this process.
pub type ApiServerService = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

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
    pub(crate) fn new(
        reads: ClientBuilder<ApiServerService>,
        writes: ClientBuilder<ApiServerService>,
        clock: &Clock,
    ) -> Self {
        let watches = WatchLog::default();
        Self {
            reads: reads.with_layer(&Observing(clock.clone())).with_layer(&watches).build(),
            writes: writes.with_layer(&Observing(clock.clone())).build(),
            watches,
        }
    }
}
