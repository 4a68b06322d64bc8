//! What the kubelet and Prometheus ask.

use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::app::{Shared, refuse};
use crate::fault::Kind;
use crate::metrics;
use crate::root::wait_out_deadlock;

/// Liveness. In a deadlock there is no answer, which is what a liveness probe
/// is for.
pub(crate) async fn healthz(State(app): State<Shared>) -> &'static str {
    wait_out_deadlock(&app).await;
    "ok"
}

/// Readiness. It does not depend on the upstream: one sick backend would else
/// take every caller out of its Service and turn errors into an outage.
pub(crate) async fn readyz(State(app): State<Shared>) -> (StatusCode, &'static str) {
    let now = Instant::now();
    let not_ready = app.simulator.board().get(Kind::NotReady, now).is_some();
    if app.lifecycle.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down")
    } else if !app.lifecycle.has_started(now) {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    } else if not_ready {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready, as simulated")
    } else {
        (StatusCode::OK, "ok")
    }
}

/// Start-up.
pub(crate) async fn startupz(State(app): State<Shared>) -> (StatusCode, &'static str) {
    if app.lifecycle.has_started(Instant::now()) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    }
}

pub(crate) async fn metrics(State(app): State<Shared>) -> Response {
    match app.metrics.encode(&app.simulator.board(), Instant::now()) {
        Ok(page) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}
