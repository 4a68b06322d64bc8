//! The Prometheus servers: a client for each `ClusterPrometheusSource`, and its
//! `Ready` condition, which tells whether the server answers.
//!
//! Each is asked as soon as it is seen, policies or not, and the log says in one line
//! what came of it: by every process once, and then on changes.

mod token;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::SignedDuration;
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
use crate::writes::{apply_status, stamp};
use token::Token;

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
/// The reason of a source that says what cannot be.
const INVALID: &str = "InvalidSpec";

/// The clients, by the source's name.
#[derive(Debug)]
pub(crate) struct Sources {
    entries: RwLock<HashMap<String, Entry>>,
    listed: watch::Sender<bool>,
    /// What this process has said of each.
    told: Mutex<HashMap<String, Standing>>,
}

#[derive(Debug, Clone)]
struct Entry {
    uid: Option<String>,
    generation: Option<i64>,
    /// What it authenticates with.
    token: Option<Token>,
    client: Result<Arc<Prometheus>, Unusable>,
    /// Whether the server has said how often it scrapes, or that it does not say.
    settled: bool,
}

/// Why a source that exists cannot be asked: the reason of its condition, and a clause
/// with the mend.
#[derive(Debug, Clone)]
struct Unusable {
    reason: &'static str,
    message: String,
}

impl Unusable {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

/// The condition `Ready` of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    ready: bool,
    reason: &'static str,
    message: String,
}

impl Entry {
    /// A source that exists and cannot be asked.
    fn unusable(why: Unusable) -> Self {
        Self { uid: None, generation: None, token: None, client: Err(why), settled: true }
    }
}

impl Sources {
    pub(crate) fn new() -> Self {
        Self { entries: RwLock::default(), listed: watch::Sender::new(false), told: Mutex::default() }
    }

    /// The client of a source, or why there is none and what to do.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Prometheus>, String> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(name) {
            Some(entry) => entry.client.clone().map_err(|unusable| unusable.message),
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
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether this process has not said so yet.
    fn is_news(&self, name: &str, standing: &Standing) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(name.to_owned(), standing.clone()).as_ref() != Some(standing)
    }
}

/// One pass over one source: a client for it, and whether it answers.
pub(crate) async fn reconcile(source: Arc<GuardedSource>, context: Arc<Context>) -> Result<Requeue, Infallible> {
    let source = match &source.0 {
        Ok(source) => source,
        Err(invalid) => {
            warn!(source = invalid.metadata.name, error = %invalid.error, "a ClusterPrometheusSource does not parse");
            let name = invalid.metadata.name.clone().unwrap_or_default();
            let why = Unusable::new(INVALID, format!("the source does not parse: {}", invalid.error));
            context.sources.put(name, Entry::unusable(why));
            return Ok(Requeue::await_change());
        }
    };
    let name = source.name_any();
    if source.metadata.deletion_timestamp.is_some() {
        let why = Unusable::new(INVALID, "the source is being deleted".to_owned());
        context.sources.put(name, Entry::unusable(why));
        // Looked for until it is gone, and then forgotten.
        return Ok(Requeue::requeue(PROBE_AGAIN));
    }
    let entry = entry(source, &context).await;
    context.sources.put(name, entry.clone());
    let standing = probe(source, &entry).await;
    let next = if standing.ready && entry.settled { PROBE_EVERY } else { PROBE_AGAIN };
    tell(source, &standing, &context);
    Ok(match write(source, standing, &context).await {
        Ok(()) => Requeue::requeue(next),
        Err(error) => {
            context.metrics.failed("source");
            warn!(source = source.name_any(), %error, "cannot write the source's status, trying again");
            Requeue::requeue(PROBE_AGAIN)
        }
    })
}

/// The client there is, unless the spec or the token is another by now.
async fn entry(source: &ClusterPrometheusSource, context: &Context) -> Entry {
    let (uid, generation) = (source.uid(), source.metadata.generation);
    let earlier = context.sources.entry(&source.name_any());
    let earlier = earlier.filter(|entry| entry.uid == uid && entry.generation == generation);
    let token = match token::read(source, earlier.as_ref().and_then(|entry| entry.token.clone()), context).await {
        Ok(token) => token,
        Err(why) => return Entry::unusable(why),
    };
    if let Some(entry) = earlier.filter(|entry| entry.settled && entry.token == token) {
        return entry;
    }
    match connect(source, token.as_ref()).await {
        Ok((client, settled)) => Entry { uid, generation, token, client: Ok(Arc::new(client)), settled },
        Err(why) => Entry { uid, generation, token, client: Err(why), settled: true },
    }
}

/// A client, and whether its lookback is the server's.
async fn connect(source: &ClusterPrometheusSource, token: Option<&Token>) -> Result<(Prometheus, bool), Unusable> {
    let spec = &source.spec;
    let given = match &spec.scrape_interval {
        Some(given) => {
            Some(given.get().map_err(|error| Unusable::new(INVALID, format!("spec.scrapeInterval: {error}")))?)
        }
        None => None,
    };
    let config = SourceConfig {
        scrape_interval: given.and_then(|given| given.try_into().ok()),
        ca_pem: spec.ca_bundle.as_ref().map(|pem| pem.clone().into_bytes()),
        bearer_token: token.map(|token| token.expose().to_owned()),
        ..SourceConfig::new(spec.url.clone())
    };
    let client = Prometheus::new(config).map_err(|error| Unusable::new(error.reason(), error.to_string()))?;
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

async fn probe(source: &ClusterPrometheusSource, entry: &Entry) -> Standing {
    let client = match &entry.client {
        Ok(client) => client,
        Err(why) => return Standing { ready: false, reason: why.reason, message: why.message.clone() },
    };
    let url = &source.spec.url;
    match client.instant(PROBE, PROBE_DEADLINE).await {
        Answer::Answered(_) => {
            let message = format!("{url} answers; samples count for {:?}", client.lookback());
            Standing { ready: true, reason: Answer::ANSWERED, message }
        }
        Answer::Unknown(unknown) => {
            let message = format!("{url}: {}", unknown.message);
            Standing { ready: false, reason: unknown.reason.as_str(), message }
        }
    }
}

/// Says how it stands, unless this process has said so already.
fn tell(source: &ClusterPrometheusSource, standing: &Standing, context: &Context) {
    let name = source.name_any();
    if !context.sources.is_news(&name, standing) {
        return;
    }
    let Standing { ready, reason, message } = standing;
    if *ready {
        info!(source = name, "Ready=True {reason}: {message}");
    } else {
        warn!(source = name, "Ready=False {reason}: {message}; until it is Ready no policy that asks it acts");
    }
}

async fn write(source: &ClusterPrometheusSource, standing: Standing, context: &Context) -> Result<(), ClusterError> {
    let Standing { ready, reason, message } = standing;
    let mut status = source.status.clone().unwrap_or_default();
    let generation = source.metadata.generation;
    let now = stamp(context.now());
    set_condition(&mut status.conditions, ConditionType::Ready, Some(ready), reason, message, generation, &now);
    let status = ClusterPrometheusSourceStatus { observed_generation: generation, conditions: status.conditions };
    if source.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<ClusterPrometheusSource> = Api::all(context.writes.clone());
    match apply_status(&api, &source.name_any(), &status).await {
        Ok(_) => Ok(()),
        Err(ClusterError::Kube(kube::Error::Api(answer))) if answer.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
