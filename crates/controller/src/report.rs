//! Reporting: status, Events, log lines and metrics. Nothing here decides or acts.
//!
//! - [`status`]: one decision as a status, built from values and from nothing else.
//! - [`status_writer`]: writes a status when it differs from what was written; [`pace`]
//!   limits how often.
//! - [`policy_events`]: what happened to the targets of a policy, as Events and log lines.
//! - [`action_messages`]: what happened to an action.
//! - [`wording`]: the sentences of the guardrails; [`value`]: numbers for people.
//! - [`events`]: writes Events. [`metrics`]: counts.

pub(crate) mod action_messages;
pub(crate) mod events;
pub(crate) mod metrics;
mod pace;
pub(crate) mod policy_events;
pub(crate) mod status;
pub(crate) mod status_writer;
pub(crate) mod value;
mod wording;

use std::sync::Arc;

use kube::Client;

use crate::authority::Authority;
use events::EventWriter;
use metrics::Metrics;

/// What reporting uses.
pub(crate) struct Reporter {
    /// The present.
    pub(crate) authority: Arc<Authority>,
    /// The client for writes.
    pub(crate) writes: Client,
    /// Writes Events.
    pub(crate) events: EventWriter,
    /// Counts.
    pub(crate) metrics: Arc<Metrics>,
}
