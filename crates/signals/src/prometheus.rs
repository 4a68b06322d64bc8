//! One source that speaks the Prometheus HTTP API, asked without ever guessing:
//! whatever is not a whole answer within the limits is *unknown*, with a reason.
//!
//! Messages go into status, so they are the same from poll to poll while the
//! cause is the same: no times, no ports of sockets, no label sets.

mod answer;
mod config;
mod failure;
mod range;
mod request;
mod scrape_interval;

use std::time::Duration;

use jiff::Timestamp;
use prunella_core::observation::{Answer, History, Series, Unknown, UnknownReason};
use reqwest::{Client, Url};

pub use config::{SourceConfig, SourceError};
use range::Range;
use request::Body;

use crate::query::joint;

/// The longest that one question may take, whatever deadline is given.
pub const MAX_DEADLINE: Duration = Duration::from_secs(10);

const DEFAULT_SCRAPE_INTERVAL: Duration = Duration::from_mins(1);
const MIN_LOOKBACK: Duration = Duration::from_secs(45);
const MAX_LOOKBACK: Duration = Duration::from_mins(5);

/// A client for one source. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Prometheus {
    client: Client,
    base: Url,
    config: SourceConfig,
}

impl Prometheus {
    /// # Errors
    /// [`SourceError`] for an address, a certificate or a token that cannot be
    /// used.
    ///
    /// # Assumptions
    /// The process has installed a rustls crypto provider; `reqwest` panics
    /// without one.
    pub fn new(config: SourceConfig) -> Result<Self, SourceError> {
        let (client, base) = config.connect()?;
        Ok(Self { client, base, config })
    }

    /// Asks `query` for *now*, by the source's own clock.
    ///
    /// `deadline` spans everything from connecting to the last byte; it is cut to
    /// [`MAX_DEADLINE`]. There are no retries: the next poll is one.
    pub async fn instant(&self, query: &str, deadline: Duration) -> Answer {
        let body = self.ask("query", query, &[], deadline).await;
        let answer = body.and_then(|body| answer::instant(&body, &self.config));
        answer.map_or_else(Answer::Unknown, Answer::Answered)
    }

    /// Asks several queries for the same *now* in one request, each of which
    /// [may join](crate::Query::may_join), and answers each in their order.
    ///
    /// `deadline` is that of [`Prometheus::instant`], and so are the limits, for all of them
    /// together.
    ///
    /// # Errors
    /// When there is no whole answer to all of them. Whose fault that is cannot be told:
    /// each is to be asked alone.
    pub async fn instant_joint(&self, queries: &[&str], deadline: Duration) -> Result<Vec<Vec<Series>>, Unknown> {
        let body = self.ask("query", &joint::joint(queries), &[], deadline).await?;
        let series = answer::instant(&body, &self.config)?;
        joint::apart(series, queries.len()).ok_or_else(|| failure::malformed("a series does not say whose it is"))
    }

    /// When each series of `query` was there between `since` and `until`, looked at
    /// every `step`, to the millisecond.
    ///
    /// `deadline` and limits are those of [`Prometheus::instant`]. The first look is
    /// at `since`. More than 10 000 steps are made fewer by longer ones, so whoever
    /// judges gaps sees them. `NaN` is not there. Where `until` is not after `since`
    /// nobody is asked and nothing was there.
    ///
    /// # Assumptions
    /// `until` is not after the source's own *now*: beyond it the source goes on
    /// with the last sample for as long as [`Prometheus::lookback`].
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
        let body = self.ask("query_range", query, &range.fields(), deadline).await;
        let history = body.and_then(|body| answer::history(&body, &range, &self.config));
        history.map_or_else(History::Unknown, History::Answered)
    }

    /// The source's global scrape interval, for [`SourceConfig::scrape_interval`]
    /// where the user has set none. `None` when the source does not tell, as
    /// others than Prometheus do not.
    ///
    /// # Errors
    /// The source could not be asked, or not with these credentials. The default
    /// stands meanwhile; ask again later.
    pub async fn scrape_interval(&self, deadline: Duration) -> Result<Option<Duration>, Unknown> {
        match request::within(deadline.min(MAX_DEADLINE), self.ask_config()).await {
            Ok(body) => scrape_interval::read(&body),
            // There is no such endpoint, or it says more than is worth reading.
            Err(Unknown { reason: UnknownReason::Malformed | UnknownReason::TooLarge, .. }) => Ok(None),
            Err(unknown) => Err(unknown),
        }
    }

    /// Sets what [`Prometheus::scrape_interval`] has found.
    #[must_use]
    pub fn with_scrape_interval(mut self, interval: Duration) -> Self {
        self.config.scrape_interval = Some(interval);
        self
    }

    /// How old a sample may be and still count: two and a half scrapes, so that
    /// one may be missed, and never the server's five minutes unless scrapes are
    /// that rare. At least 45 s, at most 5 m.
    #[must_use]
    pub fn lookback(&self) -> Duration {
        let scrape = self.config.scrape_interval.unwrap_or(DEFAULT_SCRAPE_INTERVAL);
        (scrape.saturating_mul(5) / 2).clamp(MIN_LOOKBACK, MAX_LOOKBACK)
    }

    /// Puts `query` to `endpoint`, with the fields that only this endpoint has.
    async fn ask(
        &self,
        endpoint: &str,
        query: &str,
        fields: &[(&str, String)],
        deadline: Duration,
    ) -> Result<Body, Unknown> {
        let deadline = deadline.min(MAX_DEADLINE);
        let mut form = vec![
            ("query", query.to_owned()),
            ("timeout", millis(deadline)),
            ("lookback_delta", millis(self.lookback())),
            // One more than is taken: then one too many shows even where the
            // server cuts without a warning.
            ("limit", self.config.max_series.saturating_add(1).to_string()),
        ];
        form.extend_from_slice(fields);
        let request = self.client.post(request::endpoint(&self.base, endpoint)).form(&form);
        request::within(deadline, request::send(request, self.config.max_bytes)).await
    }

    async fn ask_config(&self) -> Result<Body, Unknown> {
        let request = self.client.get(request::endpoint(&self.base, "status/config"));
        request::send(request, self.config.max_bytes).await
    }
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
