//! Whether this process may act, and what time it is.

use std::sync::Arc;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::leadership::Leadership;

/// Whether this process may act, and what time it is.
#[derive(Debug)]
pub(crate) struct Authority {
    /// The controller's own namespace.
    pub(crate) namespace: String,
    /// The name of the pod that this process runs in, if any.
    pub(crate) own_pod: String,
    /// The API server's clock.
    pub(crate) clock: Clock,
    /// Whether this replica leads.
    pub(crate) leadership: Arc<Leadership>,
}

impl Authority {
    /// The present, by the API server's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether this process may change anything at this instant. Asked before every
    /// reservation and every effect, not once per pass: the right can end at any time.
    ///
    /// # Errors
    /// Why not, as a clause for a log line.
    pub(crate) fn may_act(&self) -> Result<(), &'static str> {
        self.leadership.may_act()?;
        if self.clock.is_anchored() { Ok(()) } else { Err("the API server's time has not been confirmed for a minute") }
    }
}
