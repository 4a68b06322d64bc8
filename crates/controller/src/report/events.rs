//! Events on the policy and on the target, one per transition. An Event that cannot be
//! written is logged and counted; it fails nothing.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use prunella_api::REPORTING_CONTROLLER;
use prunella_cluster::within;
use prunella_core::target::Object;
use tokio::sync::mpsc;
use tracing::warn;

use super::metrics::Metrics;

/// The longest note that the API server accepts, in characters.
const NOTE_LIMIT: usize = 1024;
const DEADLINE: Duration = Duration::from_secs(5);

/// How many Events may wait to be written.
const QUEUE_LENGTH: usize = 1024;

/// Writes Events in order, in a task of its own: a slow API server must not delay healing.
pub(crate) struct EventWriter {
    queue: mpsc::Sender<(Event, ObjectReference)>,
    metrics: Arc<Metrics>,
}

/// The text of an Event.
#[derive(Debug, Clone)]
pub(crate) struct EventText {
    /// Whether the Event has the type `Warning`.
    pub(crate) warning: bool,
    /// The reason: one word, the same as in conditions and metrics.
    pub(crate) reason: &'static str,
    /// The action that it is about.
    pub(crate) action: String,
    /// What happened, why, and what follows.
    pub(crate) note: String,
}

impl EventWriter {
    /// Starts the writing task. It ends when the writer is dropped.
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let reporter = Reporter { controller: REPORTING_CONTROLLER.to_owned(), instance: None };
        let (queue, received) = mpsc::channel(QUEUE_LENGTH);
        tokio::spawn(publish(Recorder::new(client, reporter), received, Arc::clone(&metrics)));
        Self { queue, metrics }
    }

    /// Writes the same Event on the policy and on the target. Each refers to the other.
    pub(crate) fn write_both(&self, text: &EventText, policy: &ObjectReference, target: &ObjectReference) {
        self.write(text, policy, Some(target));
        self.write(text, target, Some(policy));
    }

    /// Writes an Event on one object.
    pub(crate) fn write(&self, text: &EventText, on: &ObjectReference, related: Option<&ObjectReference>) {
        let event = Event {
            type_: if text.warning { EventType::Warning } else { EventType::Normal },
            reason: text.reason.to_owned(),
            note: Some(text.note.chars().take(NOTE_LIMIT).collect()),
            action: text.action.clone(),
            secondary: related.cloned(),
        };
        if self.queue.try_send((event, on.clone())).is_err() {
            self.metrics.lost_events.inc();
            warn!(
                reason = text.reason,
                object = on.name,
                "too many Events are waiting to be written; this one is dropped"
            );
        }
    }
}

/// An object as Events refer to it.
pub(crate) fn reference(namespace: &str, object: &Object) -> ObjectReference {
    ObjectReference {
        api_version: Some(object.api_version.clone()),
        kind: Some(object.kind.clone()),
        name: Some(object.name.clone()),
        namespace: Some(namespace.to_owned()),
        uid: Some(object.uid.to_string()),
        ..ObjectReference::default()
    }
}

async fn publish(recorder: Recorder, mut queue: mpsc::Receiver<(Event, ObjectReference)>, metrics: Arc<Metrics>) {
    while let Some((event, on)) = queue.recv().await {
        if let Err(error) = within(DEADLINE, recorder.publish(&event, &on)).await {
            metrics.lost_events.inc();
            warn!(reason = event.reason, object = on.name, %error, "cannot write an Event");
        }
    }
}
