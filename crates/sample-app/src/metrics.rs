//! The metrics, by the names that ready-made alert rules expect.
//!
//! Probes and scrapes are not counted: they would thin out the share of
//! errors that a rule computes from `http_requests_total`. Every label has a
//! bounded set of values.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use axum::http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::board::Board;
use crate::fault::Kind;
use crate::resident;

/// `Content-Type` of what [`Metrics::encode`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The bounds that most clients use by default, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Codes of `/` that exist as series from the start. A series that appears
/// with its first error makes `rate()` miss that error.
const CODES_FROM_THE_START: [u16; 3] = [200, 500, 502];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: u16,
    method: &'static str,
    path: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabels {
    fault: &'static str,
}

pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RequestLabels, Histogram>,
    resident: Gauge<u64, AtomicU64>,
    leaked: Gauge<u64, AtomicU64>,
    gauge: Gauge<f64, AtomicU64>,
    faults: Family<FaultLabels, Gauge>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            resident: Gauge::default(),
            leaked: Gauge::default(),
            gauge: Gauge::default(),
            faults: Family::default(),
        };
        for code in CODES_FROM_THE_START {
            let labels = RequestLabels { code, method: "GET", path: "/" };
            drop(metrics.requests.get_or_create(&labels));
            drop(metrics.seconds.get_or_create(&labels));
        }
        metrics.registered()
    }

    /// The encoder appends `_total` to the counter.
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests answered; 499 when the client left first", self.requests.clone());
        registry.register("http_request_duration_seconds", "Time to answer a request", self.seconds.clone());
        registry.register("process_resident_memory_bytes", "Resident memory of the process", self.resident.clone());
        registry.register("sample_app_leaked_bytes", "Memory held by the simulated leak", self.leaked.clone());
        registry.register("sample_app_gauge", "Value set by POST /simulate/gauge", self.gauge.clone());
        registry.register("sample_app_fault_active", "1 while the fault is simulated, else 0", self.faults.clone());
        self
    }

    pub(crate) fn answered(&self, code: u16, method: &Method, path: &str, took: Duration) {
        let labels = RequestLabels { code, method: method_label(method), path: path_label(path) };
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// All metrics as text, with what is read from elsewhere as of `now`.
    pub(crate) fn encode(&self, board: &Board, now: Instant) -> Result<String, std::fmt::Error> {
        // Without /proc the last value stays, which at first is 0.
        if let Some(bytes) = resident::bytes() {
            self.resident.set(bytes);
        }
        self.leaked.set(board.leaked(now));
        self.gauge.set(board.gauge(now));
        for kind in Kind::ALL {
            let labels = FaultLabels { fault: kind.name() };
            self.faults.get_or_create(&labels).set(board.get(kind, now).is_some().into());
        }
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn path_label(path: &str) -> &'static str {
    match path {
        "/" => "/",
        "/simulate" => "/simulate",
        _ if path.starts_with("/simulate/") => "/simulate/{fault}",
        _ => "other",
    }
}
