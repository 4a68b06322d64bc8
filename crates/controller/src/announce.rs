//! Events on the policy and on the target, one per transition. An Event that
//! cannot be written is logged and counted, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use prunella_api::REPORTING_CONTROLLER;
use prunella_cluster::within;
use tracing::warn;

use crate::metrics::Metrics;

/// The most characters the API server takes in an Event's note.
const NOTE_LIMIT: usize = 1024;
const DEADLINE: Duration = Duration::from_secs(5);

/// Writes Events.
pub(crate) struct Announcer {
    recorder: Recorder,
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
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let reporter = Reporter { controller: REPORTING_CONTROLLER.to_owned(), instance: None };
        Self { recorder: Recorder::new(client, reporter), metrics }
    }

    /// Tells the same on the policy and on the target, each naming the other.
    pub(crate) async fn tell_both(&self, news: &News, policy: &ObjectReference, target: &ObjectReference) {
        self.tell(news, policy, Some(target)).await;
        self.tell(news, target, Some(policy)).await;
    }

    /// Tells it on one object.
    pub(crate) async fn tell(&self, news: &News, on: &ObjectReference, related: Option<&ObjectReference>) {
        let event = Event {
            type_: if news.warning { EventType::Warning } else { EventType::Normal },
            reason: news.reason.to_owned(),
            note: Some(news.note.chars().take(NOTE_LIMIT).collect()),
            action: news.action.clone(),
            secondary: related.cloned(),
        };
        if let Err(error) = within(DEADLINE, self.recorder.publish(&event, on)).await {
            self.metrics.lost_events.inc();
            warn!(reason = news.reason, object = on.name, %error, "cannot write an Event");
        }
    }
}
