//! Two clients of the API server: one for reads, one for writes.

use http::{Request, Response};
use kube::Client;
use kube::client::{Body, ClientBuilder, DynBody};
use tower::util::BoxService;
use tower::{BoxError, service_fn};

use crate::clock::{Clock, Observing};
use crate::watch_log::{WatchLog, Watcher};

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

    /// The client for reads, for a second watch of the same objects. It is seen apart from the first.
    pub(crate) fn watching_as(&self, watcher: &'static str) -> Client {
        let reads = self.reads.clone();
        let named = service_fn(move |mut request: Request<Body>| {
            request.extensions_mut().insert(Watcher(watcher));
            let reads = reads.clone();
            async move { reads.send(request).await }
        });
        Client::new(named, self.reads.default_namespace())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use tokio::time::Instant;
    use tower::Layer;

    use super::*;
    use crate::watch_log::SILENT_AFTER;

    const WATCH: &str = "/apis/prunella.dev/v1alpha1/healingactions?watch=true";

    async fn open(client: &Client) {
        let request = Request::builder().uri(WATCH).body(Body::empty()).unwrap();
        client.send(request).await.unwrap();
    }

    #[tokio::test]
    async fn two_watches_of_the_same_objects_do_not_hide_each_others_silence() {
        let watches = WatchLog::default();
        let server = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
        let reads = Client::new(watches.layer(server), "default");
        let clients = Clients { writes: reads.clone(), reads, watches };
        let records = clients.watching_as("records");
        for (answered, silent) in [(&clients.reads, &records), (&records, &clients.reads)] {
            open(answered).await;
            open(silent).await;
            let then = Instant::now();
            tokio::time::sleep(Duration::from_millis(20)).await;
            open(answered).await;
            assert_eq!(clients.watches.silent(then + SILENT_AFTER).as_deref(), Some("healingactions"));
            open(silent).await;
            assert_eq!(clients.watches.silent(then + SILENT_AFTER), None);
        }
    }
}
