//! The controller's Events on an object.

use anyhow::Result;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use prunella_api::REPORTING_CONTROLLER;

use crate::room::Room;

/// One Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedEvent {
    /// The reason, one word.
    pub reason: String,
    /// The message.
    pub note: String,
    /// Whether its type is Warning.
    pub warning: bool,
    /// How often it was written.
    pub times: i32,
}

impl Room<'_> {
    /// The controller's Events on the object with this uid, oldest first.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn events_on(&self, uid: &str) -> Result<Vec<ReportedEvent>> {
        let mut events = self.api::<Event>().list(&ListParams::default()).await?.items;
        events.retain(|event| {
            event.reporting_controller.as_deref() == Some(REPORTING_CONTROLLER)
                && event.regarding.as_ref().is_some_and(|object| object.uid.as_deref() == Some(uid))
        });
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        let reported = events.into_iter().map(|event| ReportedEvent {
            reason: event.reason.unwrap_or_default(),
            note: event.note.unwrap_or_default(),
            warning: event.type_.as_deref() == Some("Warning"),
            times: event.series.map_or(1, |series| series.count),
        });
        Ok(reported.collect())
    }
}
