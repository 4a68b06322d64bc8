//! What every request handler shares.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::simulator::Simulator;
use crate::upstream::Upstream;

pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) simulator: Simulator,
    pub(crate) metrics: Metrics,
    pub(crate) upstream: Option<Upstream>,
}

pub(crate) type Shared = Arc<App>;

/// A request that was not done, and why.
pub(crate) fn refuse(code: StatusCode, why: &(impl ToString + ?Sized)) -> Response {
    (code, Json(json!({"error": why.to_string()}))).into_response()
}
