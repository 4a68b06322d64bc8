//! The requests that the API server received about a test's namespace, from its request log.

use std::fs::File;
use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use testbed::audit::Event;

use crate::room::Room;

/// The controller's user name.
pub const CONTROLLER: &str = "system:serviceaccount:prunella-system:prunella";

/// API groups of the controller's own records. Everything else that it writes is a workload.
const OWN_RECORDS: [&str; 2] = ["prunella.dev", "events.k8s.io"];

impl Room<'_> {
    /// Every request about an object of the namespace, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn requests(&self) -> Result<Vec<Event>> {
        let path = self.ground.testbed.layout().audit_log();
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        // Filtered before parsing: parsing is slow, and few lines of the long log match.
        let matching =
            lines.filter(|line| line.contains(self.name())).filter_map(|line| serde_json::from_str(&line).ok());
        Ok(matching.filter(|event: &Event| event.object_ref.namespace == self.name()).collect())
    }

    /// Every write request of the controller, including those for its own records.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn controller_writes(&self) -> Result<Vec<Event>> {
        let mut requests = self.requests()?;
        requests.retain(|event| event.user.username == CONTROLLER && event.is_write());
        Ok(requests)
    }

    /// Every write request of the controller for a workload, successful or not.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn healing_writes(&self) -> Result<Vec<Event>> {
        let mut writes = self.controller_writes()?;
        writes.retain(|event| !OWN_RECORDS.contains(&event.object_ref.api_group.as_str()));
        Ok(writes)
    }
}

/// When the API server received a request.
///
/// # Errors
/// When the log has no time for it.
pub fn instant(event: &Event) -> Result<Timestamp> {
    event.request_received_timestamp.parse().context("the request log has no time")
}

/// `verb resource/subresource name` of a request.
#[must_use]
pub fn what(request: &Event) -> String {
    let object = &request.object_ref;
    let resource = [object.resource.as_str(), object.subresource.as_str()].join("/");
    format!("{} {} {}", request.verb, resource.trim_end_matches('/'), object.name)
}
