//! The admin endpoints: `/metrics`, `/healthz` (the process answers) and `/readyz`
//! (all objects were listed once, so that decisions can be made). A standby is ready when
//! it can take over: otherwise a rolling update would wait for a Lease that the old replica
//! releases only when it is stopped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::authority::Authority;
use crate::cluster_view::ClusterView;
use crate::observe::Sources;
use crate::records::ActionRecords;
use crate::report::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin endpoints show.
pub(crate) struct Admin {
    metrics: Arc<Metrics>,
    /// `None` between two terms.
    health: Mutex<Option<Health>>,
}

/// The parts of a term that must be ready.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) authority: Arc<Authority>,
    pub(crate) view: Arc<ClusterView>,
    pub(crate) records: Arc<ActionRecords>,
    pub(crate) sources: Arc<Sources>,
}

impl Admin {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, health: Mutex::new(None) }
    }

    /// Shows the parts of a term that starts.
    pub(crate) fn show(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Some(health);
    }

    /// Drops the parts of a term that has ended.
    pub(crate) fn clear(&self) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn health(&self) -> Option<Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves for as long as it is polled.
pub(crate) async fn serve(listen: SocketAddr, admin: Arc<Admin>) -> Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot serve metrics and health on {listen}: choose another --admin-listen"))?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(admin);
    axum::serve(listener, app).await.context("the admin server failed")
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    match admin.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let Some(health) = admin.health() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "between two elections\n".to_owned());
    };
    let standby = health.authority.leadership.is_standby();
    let missing: Vec<&str> = [
        ("pods and workloads", health.view.is_complete()),
        ("healing actions", standby || health.records.is_complete()),
        ("sources", standby || health.sources.is_complete()),
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
