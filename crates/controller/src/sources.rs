//! The Prometheus servers: a client for each `ClusterPrometheusSource`, and its
//! `Ready` condition, which tells whether the server answers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Requeue;
use kube::{Api, ResourceExt};
use prunella_api::{ClusterPrometheusSource, ClusterPrometheusSourceStatus, ConditionType, set_condition};
use prunella_cluster::ClusterError;
use prunella_core::observation::{Answer, Unknown, UnknownReason};
use prunella_signals::{Prometheus, SourceConfig};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::context::Context;
use crate::writes::apply_status;

/// A source as the watch hands it over.
pub(crate) type GuardedSource = DeserializeGuard<ClusterPrometheusSource>;

/// How often a source is asked whether it answers, policies or not.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// How soon a source that does not answer is asked again.
const PROBE_AGAIN: Duration = Duration::from_secs(5);
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// Taken for the scrape interval of a server that could not be asked yet: the shortest,
/// so that an outage over the controller's start cannot hide in a long lookback.
const UNTIL_IT_SAYS: Duration = Duration::from_secs(1);
/// Answered by every server with one series, whatever it scrapes.
const PROBE: &str = "vector(1)";

/// The clients, by the source's name.
#[derive(Debug)]
pub(crate) struct Sources {
    entries: RwLock<HashMap<String, Entry>>,
    listed: watch::Sender<bool>,
}

#[derive(Debug, Clone)]
struct Entry {
    uid: Option<String>,
    generation: Option<i64>,
    client: Result<Arc<Prometheus>, String>,
    /// Whether the server has said how often it scrapes, or that it does not say.
    settled: bool,
}

impl Entry {
    /// A source that exists and cannot be asked.
    fn unusable(message: String) -> Self {
        Self { uid: None, generation: None, client: Err(message), settled: true }
    }
}

impl Sources {
    pub(crate) fn new() -> Self {
        Self { entries: RwLock::default(), listed: watch::Sender::new(false) }
    }

    /// The client of a source, or why there is none and what to do.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Prometheus>, String> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(name) {
            Some(entry) => entry.client.clone(),
            None => Err(format!("there is no ClusterPrometheusSource named {name}: create it, or name another source")),
        }
    }

    /// How old a sample of this source may be and still count.
    pub(crate) fn lookback(&self, name: &str) -> Option<SignedDuration> {
        self.get(name).ok().and_then(|client| SignedDuration::try_from(client.lookback()).ok())
    }

    /// Whether the sources that existed at the start are known.
    pub(crate) fn is_complete(&self) -> bool {
        *self.listed.borrow()
    }

    /// Marks the sources that existed at the start as known.
    pub(crate) fn complete(&self) {
        self.listed.send_replace(true);
    }

    /// Waits until the sources that existed at the start are known.
    pub(crate) async fn until_complete(&self) {
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// Whether the source has been looked at.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    fn entry(&self, name: &str) -> Option<Entry> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn put(&self, name: String, entry: Entry) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).insert(name, entry);
    }

    /// Forgets a source that is gone.
    pub(crate) fn forget(&self, name: &str) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// One pass over one source: a client for it, and whether it answers.
pub(crate) async fn reconcile(source: Arc<GuardedSource>, context: Arc<Context>) -> Result<Requeue, Infallible> {
    let source = match &source.0 {
        Ok(source) => source,
        Err(invalid) => {
            warn!(source = invalid.metadata.name, error = %invalid.error, "a ClusterPrometheusSource does not parse");
            let name = invalid.metadata.name.clone().unwrap_or_default();
            context.sources.put(name, Entry::unusable(format!("the source does not parse: {}", invalid.error)));
            return Ok(Requeue::await_change());
        }
    };
    let name = source.name_any();
    if source.metadata.deletion_timestamp.is_some() {
        context.sources.put(name, Entry::unusable("the source is being deleted".to_owned()));
        // Looked for until it is gone, and then forgotten.
        return Ok(Requeue::requeue(PROBE_AGAIN));
    }
    let same =
        |entry: &Entry| entry.settled && entry.uid == source.uid() && entry.generation == source.metadata.generation;
    let entry = if let Some(entry) = context.sources.entry(&name).filter(same) {
        entry
    } else {
        let (client, settled) = connect(source)
            .await
            .map_or_else(|message| (Err(message), true), |(client, settled)| (Ok(Arc::new(client)), settled));
        let entry = Entry { uid: source.uid(), generation: source.metadata.generation, client, settled };
        context.sources.put(name, entry.clone());
        entry
    };
    let (ready, reason, message) = probe(&entry).await;
    let next = if ready && entry.settled { PROBE_EVERY } else { PROBE_AGAIN };
    Ok(match write(source, ready, reason, message, &context).await {
        Ok(()) => Requeue::requeue(next),
        Err(error) => {
            context.metrics.failed("source");
            warn!(source = source.name_any(), %error, "cannot write the source's status, trying again");
            Requeue::requeue(PROBE_AGAIN)
        }
    })
}

/// A client, and whether its lookback is the server's.
async fn connect(source: &ClusterPrometheusSource) -> Result<(Prometheus, bool), String> {
    let given = match &source.spec.scrape_interval {
        Some(given) => Some(given.get().map_err(|error| format!("spec.scrapeInterval: {error}"))?),
        None => None,
    };
    let config = SourceConfig {
        scrape_interval: given.and_then(|given| given.try_into().ok()),
        ..SourceConfig::new(source.spec.url.clone())
    };
    let client = Prometheus::new(config).map_err(|error| format!("spec.url: {error}"))?;
    if given.is_some() {
        return Ok((client, true));
    }
    Ok(match client.scrape_interval(PROBE_DEADLINE).await {
        Ok(Some(interval)) => (client.with_scrape_interval(interval), true),
        Err(Unknown { reason: UnknownReason::Unreachable | UnknownReason::Timeout, .. }) => {
            (client.with_scrape_interval(UNTIL_IT_SAYS), false)
        }
        // The lookback of a server that does not tell is that of one minute.
        Ok(None) | Err(_) => (client, true),
    })
}

async fn probe(entry: &Entry) -> (bool, &'static str, String) {
    match &entry.client {
        Err(message) => (false, "InvalidSpec", message.clone()),
        Ok(client) => match client.instant(PROBE, PROBE_DEADLINE).await {
            Answer::Answered(_) => {
                (true, Answer::ANSWERED, format!("the server answers; samples count for {:?}", client.lookback()))
            }
            Answer::Unknown(unknown) => (false, unknown.reason.as_str(), unknown.message),
        },
    }
}

async fn write(
    source: &ClusterPrometheusSource,
    ready: bool,
    reason: &str,
    message: String,
    context: &Context,
) -> Result<(), ClusterError> {
    let mut status = source.status.clone().unwrap_or_default();
    let generation = source.metadata.generation;
    let now: Time = context.now().into();
    set_condition(&mut status.conditions, ConditionType::Ready, Some(ready), reason, message.clone(), generation, &now);
    let status = ClusterPrometheusSourceStatus { observed_generation: generation, conditions: status.conditions };
    if source.status.as_ref() == Some(&status) {
        return Ok(());
    }
    if ready {
        info!(source = source.name_any(), "Ready=True {reason}: {message}");
    } else {
        warn!(source = source.name_any(), "Ready=False {reason}: {message}");
    }
    let api: Api<ClusterPrometheusSource> = Api::all(context.writes.clone());
    match apply_status(&api, &source.name_any(), &status).await {
        Ok(_) => Ok(()),
        Err(ClusterError::Kube(kube::Error::Api(answer))) if answer.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
