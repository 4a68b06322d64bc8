//! Events on the policy and on the target, one per transition. An Event that
//! cannot be written is logged and counted, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use prunella_api::REPORTING_CONTROLLER;
use prunella_cluster::within;
use tokio::sync::mpsc;
use tracing::warn;

use crate::metrics::Metrics;

/// The most characters the API server takes in an Event's note.
const NOTE_LIMIT: usize = 1024;
const DEADLINE: Duration = Duration::from_secs(5);

/// How many Events may wait to be written.
const WAITING_AT_MOST: usize = 1024;

/// Takes Events to be written, in order, by a task of its own: a slow API server must
/// not keep the sick from being healed.
pub(crate) struct Announcer {
    waiting: mpsc::Sender<(Event, ObjectReference)>,
    metrics: Arc<Metrics>,
}

/// One thing worth telling.
#[derive(Debug, Clone)]
pub(crate) struct News {
    /// Whether somebody should look.
    pub(crate) warning: bool,
    /// A word of the vocabulary.
    pub(crate) reason: &'static str,
    /// What is done about it, or was.
    pub(crate) action: String,
    /// One sentence.
    pub(crate) note: String,
}

impl Announcer {
    /// Begins to write; ends when it is dropped.
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let reporter = Reporter { controller: REPORTING_CONTROLLER.to_owned(), instance: None };
        let (waiting, received) = mpsc::channel(WAITING_AT_MOST);
        tokio::spawn(publish(Recorder::new(client, reporter), received, Arc::clone(&metrics)));
        Self { waiting, metrics }
    }

    /// Tells the same on the policy and on the target, each naming the other.
    pub(crate) fn tell_both(&self, news: &News, policy: &ObjectReference, target: &ObjectReference) {
        self.tell(news, policy, Some(target));
        self.tell(news, target, Some(policy));
    }

    /// Tells it on one object.
    pub(crate) fn tell(&self, news: &News, on: &ObjectReference, related: Option<&ObjectReference>) {
        let event = Event {
            type_: if news.warning { EventType::Warning } else { EventType::Normal },
            reason: news.reason.to_owned(),
            note: Some(news.note.chars().take(NOTE_LIMIT).collect()),
            action: news.action.clone(),
            secondary: related.cloned(),
        };
        if self.waiting.try_send((event, on.clone())).is_err() {
            self.metrics.lost_events.inc();
            warn!(reason = news.reason, object = on.name, "too many Events are waiting, this one is dropped");
        }
    }
}

/// A target as Events refer to it: a pod, or one of the workloads.
pub(crate) fn target(namespace: &str, kind: &str, name: &str, uid: &str) -> ObjectReference {
    let api_version = if kind == "Pod" { "v1" } else { "apps/v1" };
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

async fn publish(recorder: Recorder, mut waiting: mpsc::Receiver<(Event, ObjectReference)>, metrics: Arc<Metrics>) {
    while let Some((event, on)) = waiting.recv().await {
        if let Err(error) = within(DEADLINE, recorder.publish(&event, &on)).await {
            metrics.lost_events.inc();
            warn!(reason = event.reason, object = on.name, %error, "cannot write an Event");
        }
    }
}
