//! A client for one source that has the Prometheus HTTP API. It never guesses: an answer
//! that is incomplete or exceeds the limits is *unknown*, with a reason.
//!
//! Messages go into a status. So the same cause always has the same message: it contains
//! no times, no socket ports and no label sets.

mod answer;
mod config;
mod failure;
mod range;
mod request;
mod scrape_interval;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use prunella_core::observation::{Answer, History, Unknown, UnknownReason};
use reqwest::{Client, Request, RequestBuilder, Response, Url};

pub use answer::CLUSTER;
pub use config::{SourceConfig, SourceError};
use range::Range;
use request::Body;

/// The longest that one request can take. Longer deadlines are cut to it.
pub const MAX_DEADLINE: Duration = Duration::from_secs(10);

const DEFAULT_SCRAPE_INTERVAL: Duration = Duration::from_mins(1);
const MIN_LOOKBACK: Duration = Duration::from_secs(45);
const MAX_LOOKBACK: Duration = Duration::from_mins(5);
/// To find out whether a server follows the lookback that is asked for.
const SHORTEST_LOOKBACK: Duration = Duration::from_millis(1);
/// Every scraped target has this series.
const TARGETS: &str = "count(up)";

/// A client for one source. Cheap to clone: clones share their connections.
#[derive(Debug, Clone)]
pub struct Prometheus {
    client: Client,
    base: Url,
    config: SourceConfig,
    /// Whether the server uses its own lookback, whatever the request asks for.
    ignores_lookback: bool,
    /// What answers in place of the network.
    exchange: Option<Arc<dyn Exchange>>,
}

/// A server in this process, which answers requests in place of the network. Everything before and
/// after the network is the same.
pub trait Exchange: Debug + Send + Sync {
    /// Answers a request.
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, reqwest::Error>>;
}

impl Prometheus {
    /// # Errors
    /// [`SourceError`] if the URL, a certificate or the token cannot be used.
    ///
    /// # Assumptions
    /// The process has installed a rustls crypto provider. Without one, `reqwest` panics.
    pub fn new(config: SourceConfig) -> Result<Self, SourceError> {
        let (client, base) = config.connect()?;
        Ok(Self { client, base, config, ignores_lookback: false, exchange: None })
    }

    /// The same, but `exchange` answers all requests.
    ///
    /// # Errors
    /// As [`Prometheus::new`].
    pub fn over(config: SourceConfig, exchange: Arc<dyn Exchange>) -> Result<Self, SourceError> {
        Ok(Self { exchange: Some(exchange), ..Self::new(config)? })
    }

    /// Evaluates `query` at the current time of the source's own clock.
    ///
    /// `deadline` covers everything from connecting to the last byte. It is cut to
    /// [`MAX_DEADLINE`]. There are no retries: the next evaluation asks again.
    pub async fn instant(&self, query: &str, deadline: Duration) -> Answer {
        let body = self.post("query", query, &[], deadline).await;
        let answer = body.and_then(|body| answer::instant(&body, &self.config));
        answer.map_or_else(Answer::Unknown, Answer::Answered)
    }

    /// The times at which each series of `query` had a value, between `since` and
    /// `until`, every `step`, starting at `since`. Times are exact to the millisecond.
    ///
    /// Deadline and limits are the same as for [`Prometheus::instant`]. If the range has
    /// more than 10 000 steps, longer steps are used; the caller sees the larger gaps.
    /// `NaN` does not count as a value. If `until` is not after `since`, no request is
    /// sent and the history is empty.
    ///
    /// # Assumptions
    /// `until` is not later than the source's current time. For later times the source
    /// repeats the last sample for up to [`Prometheus::lookback`].
    pub async fn history(
        &self,
        query: &str,
        since: Timestamp,
        until: Timestamp,
        step: Duration,
        deadline: Duration,
    ) -> History {
        let Some(range) = Range::new(since, until, step) else {
            return History::Answered(Vec::new());
        };
        let body = self.post("query_range", query, &range.fields(), deadline).await;
        let history = body.and_then(|body| answer::history(&body, &range, &self.config));
        history.map_or_else(History::Unknown, History::Answered)
    }

    /// The source's global scrape interval, for [`SourceConfig::scrape_interval`] if the
    /// user has not set it. `None` if the source does not report it: only Prometheus
    /// does.
    ///
    /// # Errors
    /// The source did not answer or refused the credentials. Use the default and ask
    /// again later.
    pub async fn scrape_interval(&self, deadline: Duration) -> Result<Option<Duration>, Unknown> {
        match request::within(deadline.min(MAX_DEADLINE), self.get_config()).await {
            Ok(body) => scrape_interval::read(&body),
            // The endpoint does not exist, or its answer is larger than the limit.
            Err(Unknown { reason: UnknownReason::Malformed | UnknownReason::TooLarge, .. }) => Ok(None),
            Err(unknown) => Err(unknown),
        }
    }

    /// The same client, which refuses series of several clusters in one answer, or does not.
    #[must_use]
    pub fn with_cluster_check(&self, one_cluster: bool) -> Self {
        let mut other = self.clone();
        other.config.one_cluster = one_cluster;
        other
    }

    /// Whether the client refuses series of several clusters in one answer.
    #[must_use]
    pub fn checks_clusters(&self) -> bool {
        self.config.one_cluster
    }

    /// The values of the label [`CLUSTER`] on the nodes of Kubernetes clusters: more than one
    /// if the source has series of several clusters. Only nodes are asked about, because the
    /// label can name clusters of databases or brokers elsewhere.
    ///
    /// # Errors
    /// The source gave no usable answer.
    pub async fn clusters(&self, deadline: Duration) -> Result<BTreeSet<String>, Unknown> {
        let query = format!("group by ({CLUSTER}) (kube_node_info or kubelet_node_name)");
        let body = self.post("query", &query, &[], deadline).await?;
        answer::clusters(&body, &self.config)
    }

    /// Sets the interval that [`Prometheus::scrape_interval`] returned.
    #[must_use]
    pub fn with_scrape_interval(mut self, interval: Duration) -> Self {
        self.config.scrape_interval = Some(interval);
        self
    }

    /// The age up to which a sample counts: 2.5 scrape intervals, so that one scrape can
    /// be missed. At least 45 s, at most 5 min. Rejected: the server's own default of
    /// 5 min for all sources, because it hides a dead exporter for that long. A server that
    /// ignores what is asked for has that default.
    #[must_use]
    pub fn lookback(&self) -> Duration {
        if self.ignores_lookback {
            return MAX_LOOKBACK;
        }
        let scrape = self.config.scrape_interval.unwrap_or(DEFAULT_SCRAPE_INTERVAL);
        (scrape.saturating_mul(5) / 2).clamp(MIN_LOOKBACK, MAX_LOOKBACK)
    }

    /// Whether the server uses its own lookback, whatever the request asks for. Some managed
    /// services do. With a lookback of one millisecond, nearly no target has a sample.
    /// `None`: it has no targets to tell by.
    ///
    /// # Errors
    /// The source gave no usable answer.
    pub async fn ignores_lookback(&self, deadline: Duration) -> Result<Option<bool>, Unknown> {
        let count = async |lookback| {
            let body = self.ask("query", TARGETS, &[], lookback, deadline).await?;
            let series = answer::instant(&body, &self.config)?;
            Ok::<f64, Unknown>(series.first().map_or(0.0, |one| one.value))
        };
        let targets = count(self.lookback()).await?;
        if targets < 1.0 {
            return Ok(None);
        }
        let of_now = count(SHORTEST_LOOKBACK).await?;
        Ok(Some(of_now * 2.0 > targets))
    }

    /// Uses the server's own lookback, which is 5 min unless its operator changed it.
    #[must_use]
    pub fn with_lookback_of_server(self) -> Self {
        Self { ignores_lookback: true, ..self }
    }

    /// Whether [`Prometheus::with_lookback_of_server`] was called.
    #[must_use]
    pub fn uses_lookback_of_server(&self) -> bool {
        self.ignores_lookback
    }

    /// Sends `query` to `endpoint`, with additional `fields` of this endpoint.
    async fn post(
        &self,
        endpoint: &str,
        query: &str,
        fields: &[(&str, String)],
        deadline: Duration,
    ) -> Result<Body, Unknown> {
        self.ask(endpoint, query, fields, self.lookback(), deadline).await
    }

    async fn ask(
        &self,
        endpoint: &str,
        query: &str,
        fields: &[(&str, String)],
        lookback: Duration,
        deadline: Duration,
    ) -> Result<Body, Unknown> {
        let deadline = deadline.min(MAX_DEADLINE);
        let mut form = vec![
            ("query", query.to_owned()),
            ("timeout", millis(deadline)),
            ("lookback_delta", millis(lookback)),
            // One more than the limit. So a truncated answer is noticed even if the
            // server does not send a warning.
            ("limit", self.config.max_series.saturating_add(1).to_string()),
        ];
        form.extend_from_slice(fields);
        let request = self.client.post(request::endpoint(&self.base, endpoint)).form(&form);
        request::within(deadline, self.send(request)).await
    }

    async fn get_config(&self) -> Result<Body, Unknown> {
        let request = self.client.get(request::endpoint(&self.base, "status/config"));
        self.send(request).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Body, Unknown> {
        request::send(request, self.exchange.as_deref(), self.config.max_bytes).await
    }
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
