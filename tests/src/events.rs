//! What people are told: the Events on an object.

use anyhow::Result;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use prunella_api::REPORTING_CONTROLLER;

use crate::room::Room;

/// One thing told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub note: String,
    /// Whether somebody should look.
    pub warning: bool,
    /// How often.
    pub times: i32,
}

impl Room<'_> {
    /// What the controller told on the object with this uid, oldest first.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn told(&self, uid: &str) -> Result<Vec<Told>> {
        let mut events = self.api::<Event>().list(&ListParams::default()).await?.items;
        events.retain(|event| {
            event.reporting_controller.as_deref() == Some(REPORTING_CONTROLLER)
                && event.regarding.as_ref().is_some_and(|object| object.uid.as_deref() == Some(uid))
        });
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        let told = events.into_iter().map(|event| Told {
            reason: event.reason.unwrap_or_default(),
            note: event.note.unwrap_or_default(),
            warning: event.type_.as_deref() == Some("Warning"),
            times: event.series.map_or(1, |series| series.count),
        });
        Ok(told.collect())
    }
}
