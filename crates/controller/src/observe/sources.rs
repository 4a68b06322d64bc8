//! The Prometheus servers: a client for each `ClusterPrometheusSource`, and its `Ready` condition,
//! which shows whether the server answers.
//!
//! Each source is probed as soon as it exists, also without policies. Every process logs the result
//! once, and then every change.

mod access;
mod changes;
mod token;

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::Stream;
use jiff::SignedDuration;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Requeue;
use kube::{Api, ResourceExt};
use prunella_api::{ClusterPrometheusSource, ClusterPrometheusSourceStatus, ConditionType, set_condition};
use prunella_cluster::ClusterError;
use prunella_core::observation::{Answer, Unknown, UnknownReason};
use prunella_signals::{Prometheus, SourceConfig, SourceError};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::authority::Authority;
use crate::clients::Clients;
use crate::report::metrics::Metrics;
use crate::writes::{apply_status, stamp};
pub(crate) use access::{SourceAccess, SourceTerms};
pub(crate) use changes::ChangedSource;
use changes::SourceChanges;
use token::Token;

/// A source as the watch delivers it: an object that does not parse stops no other.
pub(crate) type GuardedSource = DeserializeGuard<ClusterPrometheusSource>;

/// How often a source is probed.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// When a source that does not answer is probed again.
const PROBE_AGAIN: Duration = Duration::from_secs(5);
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// The scrape interval that is assumed until the server has answered. It is the shortest, so that the
/// lookback is short: a long lookback would hide an outage during the controller's start.
const ASSUMED_SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// Every server answers this with one series.
const PROBE: &str = "vector(1)";
/// The reason of the condition `Ready` if the spec is invalid.
const INVALID: &str = "InvalidSpec";

/// Makes the client of a source: over the network, or of a server in this process.
pub type ConnectSource = Arc<dyn Fn(SourceConfig) -> Result<Prometheus, SourceError> + Send + Sync>;

/// What the source reconciler uses.
pub(crate) struct SourceContext {
    pub(crate) connect: ConnectSource,
    pub(crate) authority: Arc<Authority>,
    pub(crate) clients: Clients,
    pub(crate) sources: Arc<Sources>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The clients, by the source's name.
#[derive(Debug)]
pub(crate) struct Sources {
    entries: RwLock<HashMap<String, SourceEntry>>,
    listed: watch::Sender<bool>,
    changes: SourceChanges,
    /// The condition of each source as this process has last logged it.
    logged: Mutex<HashMap<String, SourceReadiness>>,
}

#[derive(Debug, Clone)]
struct SourceEntry {
    uid: Option<String>,
    generation: Option<i64>,
    /// The token that the client sends.
    token: Option<Token>,
    /// `None`: the spec is invalid, so the source gives out nothing.
    access: Option<Arc<SourceAccess>>,
    client: Result<Arc<Prometheus>, Unusable>,
    /// Whether the scrape interval is known, or the server does not report it.
    settled: bool,
}

/// Why a source that exists cannot be queried: the reason of its condition, and a message with the
/// fix.
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
struct SourceReadiness {
    ready: bool,
    reason: &'static str,
    message: String,
}

impl SourceReadiness {
    /// Not ready, with the reason that its policies have, if the source did not say of which clusters
    /// it has series.
    fn unless_clusters_unknown(self, url: &str, clusters: Option<Unknown>) -> Self {
        let Some(unknown) = clusters.filter(|_| self.ready) else { return self };
        let message = format!(
            "{url} answers, but it does not say of which Kubernetes clusters it has series (the label cluster of kube_node_info), so no policy is evaluated with it: {}; if its series have the label cluster, you can set matchLabels.cluster instead",
            unknown.message
        );
        Self { ready: false, reason: UnknownReason::SourceNotReady.as_str(), message }
    }
}

impl SourceEntry {
    /// A source that exists and cannot be queried.
    fn unusable(why: Unusable) -> Self {
        Self { uid: None, generation: None, token: None, access: None, client: Err(why), settled: true }
    }
}

impl SourceEntry {
    /// Whether queries may be answered differently than before. A client that is made again for
    /// the same server is no change.
    fn answers_differently(&self, earlier: &Self) -> bool {
        (&self.uid, self.generation, &self.token, self.settled)
            != (&earlier.uid, earlier.generation, &earlier.token, earlier.settled)
            || self.access != earlier.access
            || self.client.as_ref().err().map(|why| &why.message)
                != earlier.client.as_ref().err().map(|why| &why.message)
    }
}

impl Sources {
    pub(crate) fn new() -> Self {
        Self {
            entries: RwLock::default(),
            listed: watch::Sender::new(false),
            changes: SourceChanges::new(),
            logged: Mutex::default(),
        }
    }

    /// The client of a source, for queries that were compiled for `access`. Otherwise why there is none,
    /// and what to do.
    pub(crate) fn get(&self, name: &str, access: Option<&SourceAccess>) -> Result<Arc<Prometheus>, String> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(name) {
            // Otherwise a query could read what an administrator has just forbidden.
            Some(entry) if entry.client.is_ok() && entry.access.as_deref() != access => Err(format!(
                "the ClusterPrometheusSource {name} has changed: the next evaluation uses its new settings"
            )),
            Some(SourceEntry { client: Ok(_), access: Some(access), .. }) if !access.knows_clusters() => Err(format!(
                "the ClusterPrometheusSource {name} has not answered yet of which clusters it has series: the condition Ready of that source says why"
            )),
            Some(entry) => entry.client.clone().map_err(|unusable| unusable.message),
            None => Err(format!("there is no ClusterPrometheusSource named {name}: create it, or name another source")),
        }
    }

    /// What a policy with this source is compiled with.
    pub(crate) fn terms(&self, name: &str) -> SourceTerms {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let Some(SourceEntry { access, client, .. }) = entries.get(name) else { return SourceTerms::default() };
        let client = client.as_ref().ok();
        let lookback = client.and_then(|client| SignedDuration::try_from(client.lookback()).ok());
        SourceTerms { lookback, access: access.clone() }
    }

    /// Whether the sources that existed at the start have a client.
    pub(crate) fn is_complete(&self) -> bool {
        *self.listed.borrow()
    }

    /// Records that the sources that existed at the start have a client.
    pub(crate) fn complete(&self) {
        self.listed.send_replace(true);
    }

    /// Waits until the sources that existed at the start have a client.
    pub(crate) async fn until_complete(&self) {
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// Whether the source was reconciled.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    fn entry(&self, name: &str) -> Option<SourceEntry> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The sources that change from now on.
    pub(crate) fn follow_changes(&self) -> impl Stream<Item = ChangedSource> + Send + use<> {
        self.changes.follow()
    }

    /// The number of the newest change of a source. It differs after each change.
    pub(crate) fn newest_change(&self, name: &str) -> Option<u64> {
        self.changes.newest(name)
    }

    fn put(&self, name: &str, entry: SourceEntry) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let is_change = entries.get(name).is_none_or(|earlier| entry.answers_differently(earlier));
        entries.insert(name.to_owned(), entry);
        drop(entries);
        if is_change {
            self.changes.note(name);
        }
    }

    /// Forgets a source that is gone.
    pub(crate) fn forget(&self, name: &str) {
        if self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some() {
            self.changes.note(name);
        }
        self.logged.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether this process has not logged this yet. A source that answers again has changed.
    fn is_new(&self, name: &str, readiness: &SourceReadiness) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = logged.insert(name.to_owned(), readiness.clone());
        drop(logged);
        if readiness.ready && earlier.as_ref().is_some_and(|earlier| !earlier.ready) {
            self.changes.note(name);
        }
        earlier.as_ref() != Some(readiness)
    }
}

/// One pass over one source: makes a client and probes the server.
pub(crate) async fn reconcile(source: Arc<GuardedSource>, context: Arc<SourceContext>) -> Result<Requeue, Infallible> {
    let source = match &source.0 {
        Ok(source) => source,
        Err(invalid) => {
            warn!(source = invalid.metadata.name, error = %invalid.error, "a ClusterPrometheusSource does not parse");
            let name = invalid.metadata.name.clone().unwrap_or_default();
            let why =
                Unusable::new(INVALID, format!("the spec of the source is invalid: {}; correct it", invalid.error));
            context.sources.put(&name, SourceEntry::unusable(why));
            return Ok(Requeue::await_change());
        }
    };
    let name = source.name_any();
    if source.metadata.deletion_timestamp.is_some() {
        let why = Unusable::new(INVALID, "the source is being deleted".to_owned());
        context.sources.put(&name, SourceEntry::unusable(why));
        // Checked again until the object is gone. Then it is forgotten.
        return Ok(Requeue::requeue(PROBE_AGAIN));
    }
    let mut entry = entry(source, &context).await;
    let without_clusters = ask_for_clusters(&mut entry).await;
    context.sources.put(&name, entry.clone());
    let readiness = probe(source, &entry).await.unless_clusters_unknown(&source.spec.url, without_clusters);
    let next = if readiness.ready && entry.settled { PROBE_EVERY } else { PROBE_AGAIN };
    log(source, &readiness, &context);
    Ok(match write(source, readiness, &context).await {
        Ok(()) => Requeue::requeue(next),
        Err(error) => {
            context.metrics.failed("source");
            warn!(source = source.name_any(), %error, "cannot write the source's status, trying again");
            Requeue::requeue(PROBE_AGAIN)
        }
    })
}

/// The entry of the source: the existing one, unless the spec or the token has changed.
async fn entry(source: &ClusterPrometheusSource, context: &SourceContext) -> SourceEntry {
    let (uid, generation) = (source.uid(), source.metadata.generation);
    let access = Some(Arc::new(SourceAccess::of(&source.spec)));
    let earlier = context.sources.entry(&source.name_any());
    let earlier = earlier.filter(|entry| entry.uid == uid && entry.generation == generation);
    let token = match token::read(source, earlier.as_ref().and_then(|entry| entry.token.clone()), context).await {
        Ok(token) => token,
        Err(why) => return SourceEntry::unusable(why),
    };
    if let Some(entry) = earlier.filter(|entry| entry.settled && entry.token == token) {
        return entry;
    }
    match connect(source, token.as_ref(), &context.connect).await {
        Ok((client, settled)) => SourceEntry { uid, generation, token, access, client: Ok(Arc::new(client)), settled },
        Err(why) => SourceEntry { uid, generation, token, access, client: Err(why), settled: true },
    }
}

/// Asks of which clusters the source has series, so that no policy acts on those of another cluster.
/// Returns the failure if that is not known.
async fn ask_for_clusters(entry: &mut SourceEntry) -> Option<Unknown> {
    let (Ok(client), Some(access)) = (&entry.client, &entry.access) else { return None };
    if !access.asks_for_clusters() {
        return None;
    }
    let clusters = match client.clusters(PROBE_DEADLINE).await {
        Ok(clusters) => clusters,
        // What is known stays known.
        Err(_) if access.knows_clusters() => return None,
        Err(unknown) if may_answer_later(&unknown) || unknown.reason == UnknownReason::PartialAnswer => {
            return Some(unknown);
        }
        Err(_) => BTreeSet::new(),
    };
    let asked = SourceAccess::clone(access).with_clusters(clusters);
    if client.checks_clusters() != asked.names_clusters() {
        entry.client = Ok(Arc::new(client.with_cluster_check(asked.names_clusters())));
    }
    if entry.access.as_deref() != Some(&asked) {
        entry.access = Some(Arc::new(asked));
    }
    None
}

/// A client, and whether its lookback is final.
async fn connect(
    source: &ClusterPrometheusSource,
    token: Option<&Token>,
    connect: &ConnectSource,
) -> Result<(Prometheus, bool), Unusable> {
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
    let client = connect(config).map_err(|error| Unusable::new(error.reason(), error.to_string()))?;
    if given.is_some() {
        return Ok(with_lookback(client).await);
    }
    Ok(match client.scrape_interval(PROBE_DEADLINE).await {
        Ok(Some(interval)) => with_lookback(client.with_scrape_interval(interval)).await,
        Err(unknown) if may_answer_later(&unknown) => (client.with_scrape_interval(ASSUMED_SCRAPE_INTERVAL), false),
        // If a server does not report its scrape interval, the client assumes one minute.
        Ok(None) | Err(_) => with_lookback(client).await,
    })
}

/// The client with the lookback that the server really uses, and whether that is known.
async fn with_lookback(client: Prometheus) -> (Prometheus, bool) {
    match client.ignores_lookback(PROBE_DEADLINE).await {
        Ok(Some(true)) => (client.with_lookback_of_server(), true),
        Err(unknown) if may_answer_later(&unknown) => (client, false),
        Ok(_) | Err(_) => (client, true),
    }
}

fn may_answer_later(unknown: &Unknown) -> bool {
    matches!(unknown.reason, UnknownReason::Unreachable | UnknownReason::Timeout)
}

/// Asks the server whether it answers.
async fn probe(source: &ClusterPrometheusSource, entry: &SourceEntry) -> SourceReadiness {
    let client = match &entry.client {
        Ok(client) => client,
        Err(why) => return SourceReadiness { ready: false, reason: why.reason, message: why.message.clone() },
    };
    let url = &source.spec.url;
    match client.instant(PROBE, PROBE_DEADLINE).await {
        Answer::Answered(_) => {
            let warning = entry.access.as_ref().map(|access| access.warning()).unwrap_or_default();
            let own = if client.uses_lookback_of_server() {
                ", because the server ignores lookback_delta: a silent exporter is noticed that late"
            } else {
                ""
            };
            let message =
                format!("{url} answers; a sample counts as current for {:?}{own}{warning}", client.lookback());
            let several = entry.access.as_ref().and_then(|access| access.several_clusters());
            let reason = several.map_or(Answer::ANSWERED, |_| UnknownReason::SeveralClusters.as_str());
            SourceReadiness { ready: true, reason, message }
        }
        Answer::Unknown(unknown) => {
            let message = format!("{url}: {}", unknown.message);
            SourceReadiness { ready: false, reason: unknown.reason.as_str(), message }
        }
    }
}

/// Logs the condition of a source, unless this process has already logged it.
fn log(source: &ClusterPrometheusSource, readiness: &SourceReadiness, context: &SourceContext) {
    let name = source.name_any();
    if !context.sources.is_new(&name, readiness) {
        return;
    }
    let SourceReadiness { ready, reason, message } = readiness;
    if *ready {
        info!(source = name, "Ready=True {reason}: {message}");
    } else {
        warn!(
            source = name,
            "Ready=False {reason}: {message}; policies that use this source start no action until it is Ready"
        );
    }
}

async fn write(
    source: &ClusterPrometheusSource,
    readiness: SourceReadiness,
    context: &SourceContext,
) -> Result<(), ClusterError> {
    let SourceReadiness { ready, reason, message } = readiness;
    let mut status = source.status.clone().unwrap_or_default();
    let generation = source.metadata.generation;
    let now = stamp(context.authority.now());
    set_condition(&mut status.conditions, ConditionType::Ready, Some(ready), reason, message, generation, &now);
    let status = ClusterPrometheusSourceStatus { observed_generation: generation, conditions: status.conditions };
    if source.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<ClusterPrometheusSource> = Api::all(context.clients.writes.clone());
    match apply_status(&api, &source.name_any(), &status).await {
        Ok(_) => Ok(()),
        Err(ClusterError::Kube(kube::Error::Api(answer))) if answer.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_does_not_say_which_clusters_it_has_is_not_ready() {
        let answers = || SourceReadiness { ready: true, reason: Answer::ANSWERED, message: "it answers".to_owned() };
        let unknown = || Some(Unknown { reason: UnknownReason::PartialAnswer, message: "store a is down".to_owned() });
        assert_eq!(answers().unless_clusters_unknown("http://thanos", None), answers());
        let not_ready = answers().unless_clusters_unknown("http://thanos", unknown());
        assert_eq!((not_ready.ready, not_ready.reason), (false, "SourceNotReady"));
        for words in
            ["http://thanos answers, but it does not say", "store a is down", "set matchLabels.cluster instead"]
        {
            assert!(not_ready.message.contains(words), "{}", not_ready.message);
        }
        let silent = SourceReadiness { ready: false, reason: "Timeout", message: "no answer".to_owned() };
        assert_eq!(
            silent.clone().unless_clusters_unknown("http://thanos", unknown()),
            silent,
            "its own failure comes first"
        );
    }

    #[test]
    fn only_what_may_change_the_answers_of_a_source_is_a_change() {
        let sources = Sources::new();
        let unusable = |message: &str| SourceEntry::unusable(Unusable::new(INVALID, message.to_owned()));
        let readiness = |ready| SourceReadiness { ready, reason: INVALID, message: String::new() };
        let mut last = sources.newest_change("main");
        let mut is_change = |step: &dyn Fn()| {
            step();
            let now = sources.newest_change("main");
            std::mem::replace(&mut last, now) != now
        };
        assert!(is_change(&|| sources.put("main", unusable("a"))), "it is new");
        assert!(!is_change(&|| sources.put("main", unusable("a"))));
        assert!(!is_change(&|| sources.put("other", unusable("a"))), "another source");
        assert!(is_change(&|| sources.put("main", unusable("b"))));
        assert!(is_change(&|| {
            let entry = SourceEntry { generation: Some(2), ..unusable("b") };
            sources.put("main", entry);
        }));
        assert!(!is_change(&|| {
            sources.is_new("main", &readiness(false));
        }));
        assert!(
            is_change(&|| {
                sources.is_new("main", &readiness(true));
            }),
            "it answers again"
        );
        assert!(
            !is_change(&|| {
                sources.is_new("main", &readiness(false));
            }),
            "its policies see that themselves"
        );
        assert!(is_change(&|| sources.forget("main")));
    }
}
