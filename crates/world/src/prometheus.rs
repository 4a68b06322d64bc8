//! A Prometheus in this process: it scrapes the cluster at its interval, and answers queries in the
//! JSON of the real one.

mod binary;
mod evaluate;
mod http_api;
mod range;
mod samples;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use promql_parser::parser;
use prunella_signals::Exchange;
use reqwest::{Request, Response};

use crate::time::WorldClock;
use evaluate::{Evaluated, Evaluation, millis};
use samples::Samples;
pub(crate) use samples::Scraped;

/// The time from a request to its answer.
const LATENCY: Duration = Duration::from_millis(2);
/// The lookback of the world's own queries.
const LOOKBACK: Duration = Duration::from_mins(5);

/// The Prometheus. All copies are the same server.
#[derive(Debug, Clone)]
pub struct PrometheusServer {
    samples: Arc<Mutex<Samples>>,
    scrapes: Arc<AtomicU64>,
    clock: WorldClock,
    scrape_interval: Duration,
}

impl PrometheusServer {
    /// A server without samples.
    pub(crate) fn new(clock: WorldClock, scrape_interval: Duration) -> Self {
        Self { samples: Arc::default(), scrapes: Arc::default(), clock, scrape_interval }
    }

    /// The time between two scrapes.
    pub(crate) fn scrape_interval(&self) -> Duration {
        self.scrape_interval
    }

    /// Stores what one scrape of all targets returned.
    pub(crate) fn store(&self, at: Timestamp, scrape: Vec<Scraped>) {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).store(at.as_millisecond(), scrape);
    }

    /// How often it has scraped.
    pub(crate) fn scrapes(&self) -> u64 {
        self.scrapes.load(Ordering::Relaxed)
    }

    /// The values of a query now, by the label `pod` (empty for a series without it). Empty if it
    /// cannot be evaluated.
    pub(crate) fn by_pod(&self, query: &str) -> Vec<(String, f64)> {
        let Ok(expr) = parser::parse(query) else { return Vec::new() };
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.clock.now().as_millisecond();
        match (Evaluation { samples: &samples, at, lookback: millis(LOOKBACK) }).of(&expr) {
            Ok(Evaluated::Vector(points)) => {
                let pod = |labels: &std::collections::BTreeMap<String, String>| labels.get("pod").cloned();
                points.iter().map(|point| (pod(&point.labels).unwrap_or_default(), point.value)).collect()
            }
            Ok(Evaluated::Scalar(value)) => vec![(String::new(), value)],
            Err(_) => Vec::new(),
        }
    }
}

impl Exchange for PrometheusServer {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, reqwest::Error>> {
        let server = self.clone();
        async move {
            tokio::time::sleep(LATENCY).await;
            let samples = server.samples.lock().unwrap_or_else(PoisonError::into_inner);
            let (code, body) = http_api::answer(&samples, server.clock.now(), server.scrape_interval, &request);
            let mut response = http::Response::new(body.to_string());
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            Ok(response.into())
        }
        .boxed()
    }
}
