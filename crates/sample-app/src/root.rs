//! `/`: the request that stands for the app's real work, and that the faults
//! of answers fall on.

use std::future::pending;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::{sleep, sleep_until};

use crate::app::{App, Shared, refuse};
use crate::fault::Kind;

/// First deadlock, then latency, then errors, then the upstream: what delays
/// an answer delays a failing one too.
pub(crate) async fn root(State(app): State<Shared>) -> Response {
    wait_out_deadlock(&app).await;
    let delay = app.simulator.board().delay(Instant::now());
    if let Some(delay) = delay {
        sleep(delay).await;
    }
    if app.simulator.board().fails(Instant::now()) {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "failing, as simulated");
    }
    if let Some(upstream) = &app.upstream
        && let Err(error) = upstream.call().await
    {
        return refuse(StatusCode::BAD_GATEWAY, &error);
    }
    let upstream = app.upstream.as_ref().map(ToString::to_string);
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({"app": "sample-app", "version": version, "name": app.name, "upstream": upstream})).into_response()
}

/// Comes back when there is no deadlock. Whoever waits is let go when it ends.
pub(crate) async fn wait_out_deadlock(app: &App) {
    let mut changes = app.simulator.changes();
    loop {
        let ends = match changes.borrow_and_update().get(Kind::Deadlock, Instant::now()) {
            None => return,
            Some(deadlock) => deadlock.ends,
        };
        let over = async {
            match ends {
                Some(ends) => sleep_until(ends.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            told = changes.changed() => if told.is_err() { return },
            () = over => {}
        }
    }
}
