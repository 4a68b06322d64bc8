//! Learns the server's time from every answer that passes by. Changes none.

use std::task::{Context, Poll};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tower::{Layer, Service};

use super::Clock;

/// A layer around a client of the API server.
#[derive(Debug, Clone)]
pub(crate) struct Observing(pub(crate) Clock);

/// A client whose answers tell the time.
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
            // What stands in for a server that is away (a balancer, a proxy) answers
            // with such a status, and by its own clock.
            if !answer.status().is_server_error() {
                clock.learn(asked, answer.headers());
            }
            Ok(answer)
        }
        .boxed()
    }
}
