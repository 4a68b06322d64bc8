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
use serde_json::Value;
use tokio::time::Instant;

use crate::chance::Chance;
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
    silence: Arc<Mutex<Silence>>,
}

/// Which pods are not scraped: so many of a hundred, until then.
#[derive(Debug, Clone, Copy, Default)]
struct Silence {
    share: u64,
    until: Option<Instant>,
}

impl PrometheusServer {
    /// A server without samples.
    pub(crate) fn new(clock: WorldClock, scrape_interval: Duration) -> Self {
        Self { samples: Arc::default(), scrapes: Arc::default(), clock, scrape_interval, silence: Arc::default() }
    }

    /// The time between two scrapes.
    pub(crate) fn scrape_interval(&self) -> Duration {
        self.scrape_interval
    }

    /// Stores what one scrape of all targets returned.
    pub(crate) fn store(&self, at: Timestamp, mut scrape: Vec<Scraped>) {
        let silence = *self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        if silence.until.is_some_and(|until| until > Instant::now()) {
            // Which pods it hits depends on their names alone.
            let pod = |one: &Scraped| one.labels.get("pod").cloned().unwrap_or_default();
            scrape.retain(|one| Chance::new(0).between(&pod(one), 0, 99) >= silence.share);
        }
        self.scrapes.fetch_add(1, Ordering::Relaxed);
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).store(at.as_millisecond(), scrape);
    }

    /// Leaves so many of a hundred pods unscraped until then.
    pub(crate) fn silence(&self, share: u64, until: Instant) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = Silence { share, until: Some(until) };
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

impl PrometheusServer {
    /// Status code and body of the answer to a request.
    pub(crate) async fn answer(&self, request: &Request) -> (u16, Value) {
        tokio::time::sleep(LATENCY).await;
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        http_api::answer(&samples, self.clock.now(), self.scrape_interval, request)
    }
}

impl Exchange for PrometheusServer {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, reqwest::Error>> {
        let server = self.clone();
        async move {
            let (code, body) = server.answer(&request).await;
            let mut response = http::Response::new(body.to_string());
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            Ok(response.into())
        }
        .boxed()
    }
}
