//! The service: its routes, its start and its end.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::app::{App, Shared, refuse};
use crate::cli::ServeArgs;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::plain_http::PlainUrl;
use crate::probes;
use crate::root::root;
use crate::say::say;
use crate::simulate;
use crate::simulator::Simulator;
use crate::state_file::StateFile;
use crate::termination::Termination;
use crate::upstream::Upstream;

/// What nginx calls a request whose client left before the answer. A
/// deadlock would else not show in the metrics at all.
const CLIENT_LEFT: u16 = 499;

/// Serves until told to stop.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let mut termination = Termination::listen()?;
    let (shutdown_delay, drain) = (args.shutdown_delay.duration(), args.drain.duration());
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let app = Arc::new(App::new(args)?);
    // First, because tests and people read the address from the first line.
    say(format_args!("sample-app {} listening on http://{address}", env!("CARGO_PKG_VERSION")));
    for order in app.simulator.resume(Instant::now(), SystemTime::now())? {
        say(format_args!("simulating {order}, asked of an earlier process"));
    }

    let (stopping, stopped) = oneshot::channel();
    let until_told = {
        let app = Arc::clone(&app);
        async move {
            let signal = termination.asked().await;
            say(format_args!("{signal}: not ready any more, serving on for {shutdown_delay:?}"));
            app.lifecycle.drain();
            sleep(shutdown_delay).await;
            // The receiver is gone only when serving has ended.
            let _ = stopping.send(());
        }
    };
    let drained = axum::serve(listener, router(app)).with_graceful_shutdown(until_told);
    tokio::select! {
        ended = drained => ended.context("serving failed")?,
        () = too_late(stopped, drain) => say(format_args!("requests were still in flight after {drain:?}, cut off")),
    }
    say("ended");
    Ok(())
}

/// Comes back `drain` after connections were no longer accepted.
async fn too_late(stopped: oneshot::Receiver<()>, drain: Duration) {
    if stopped.await.is_err() {
        pending::<()>().await;
    }
    sleep(drain).await;
}

impl App {
    fn new(args: ServeArgs) -> anyhow::Result<Self> {
        let upstream = match args.upstream.as_str() {
            // A manifest that sets the variable to nothing means none.
            "" => None,
            url => {
                let url: PlainUrl = url.parse().with_context(|| format!("upstream {url:?}"))?;
                Some(Upstream::new(url, args.upstream_timeout.duration())?)
            }
        };
        Ok(Self {
            name: args.name,
            lifecycle: Lifecycle::begin(Instant::now(), args.startup_delay.duration()),
            simulator: Simulator::new(args.state_dir.as_deref().map(StateFile::within)),
            metrics: Metrics::new(),
            upstream,
        })
    }
}

fn router(app: Shared) -> Router {
    let counted = Router::new()
        .route("/", get(root))
        .route("/simulate", get(simulate::list))
        .route("/simulate/{fault}", post(simulate::change))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), count));
    let uncounted = Router::new()
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/startupz", get(probes::startupz))
        .route("/metrics", get(probes::metrics));
    counted.merge(uncounted).with_state(app)
}

async fn not_found() -> Response {
    let known = "/, /healthz, /readyz, /startupz, /metrics, /simulate and /simulate/{fault}";
    refuse(StatusCode::NOT_FOUND, &format_args!("nothing here; there are {known}"))
}

async fn wrong_method() -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "read with GET; faults are asked for with POST")
}

async fn count(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut counted = Counted { app, method, path, began: Instant::now(), code: CLIENT_LEFT };
    let response = next.run(request).await;
    counted.code = response.status().as_u16();
    response
}

/// Counts a request when it is dropped, so also when it was never answered.
struct Counted {
    app: Shared,
    method: Method,
    path: String,
    began: Instant,
    code: u16,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.app.metrics.answered(self.code, &self.method, &self.path, self.began.elapsed());
    }
}
