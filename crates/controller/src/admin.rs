//! The admin endpoints: `/metrics`, `/healthz` (the process answers) and `/readyz`
//! (the world was listed once, so that decisions can be made). A standby is ready when
//! it could take over: else a rolling update would wait for a lead that the old
//! replica gives back only when it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::context::Context;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves for as long as it is polled.
pub(crate) async fn serve(listen: SocketAddr, context: Arc<Context>) -> Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot serve metrics and health on {listen}: choose another --admin-listen"))?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(context);
    axum::serve(listener, app).await.context("the admin server failed")
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    match context.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let standby = context.leadership.is_standby();
    let missing: Vec<&str> = [
        ("pods and replica sets", context.world.is_complete()),
        ("healing actions", standby || context.book.is_complete()),
        ("sources", standby || context.sources.is_complete()),
    ]
    .into_iter()
    .filter_map(|(what, complete)| (!complete).then_some(what))
    .collect();
    if missing.is_empty() {
        (StatusCode::OK, if standby { "standby\n" } else { "ok\n" }.to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for the first list of {}\n", missing.join(", ")))
    }
}
