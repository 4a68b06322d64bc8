//! Reads the server's time from every answer. It changes no answer.

use std::task::{Context, Poll};
use tokio::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tower::{Layer, Service};

use super::Clock;

/// A layer for a client of the API server.
#[derive(Debug, Clone)]
pub(crate) struct Observing(pub(crate) Clock);

/// A client whose answers update the clock.
#[derive(Debug, Clone)]
pub(crate) struct Observed<S> {
    inner: S,
    clock: Clock,
}

impl<S> Layer<S> for Observing {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observed { inner, clock: self.0.clone() }
    }
}

impl<S, A, B> Service<Request<A>> for Observed<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let asked = Instant::now();
        let clock = self.clock.clone();
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await?;
            // Such an answer may come from a load balancer or a proxy, with the time of its
            // own clock.
            if !answer.status().is_server_error() {
                clock.learn(asked, answer.headers());
            }
            Ok(answer)
        }
        .boxed()
    }
}
