//! How much a process asks and tells: bounded, whatever happens.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Violation;
use crate::api_server::LoggedRequest;

/// Requests of one process within a minute. Five actions that wait for a budget read
/// their objects twice a second, which is half of it.
const REQUESTS: u64 = 1200;
/// Events of one process within a minute: a policy writes at most 60 at once, and there are two besides the witness.
const EVENTS: u64 = 150;

/// The most requests, and the most Events, of any process within any minute of the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Requests within a minute.
    pub requests: u64,
    /// Events within a minute.
    pub events: u64,
}

/// How busy the processes were, and whether that was too much.
pub(crate) fn pace(requests: &[LoggedRequest], epoch: Timestamp) -> (Pace, Vec<Violation>) {
    let mut minutes: BTreeMap<(&str, u64), Pace> = BTreeMap::new();
    for request in requests {
        let process = request.line.split(' ').next().unwrap_or_default();
        let pace = minutes.entry((process, request.at.as_secs() / 60)).or_default();
        pace.requests += 1;
        pace.events += u64::from(request.line.contains("/events") && !request.line.contains(" GET "));
    }
    let mut most = Pace::default();
    let mut violations = Vec::new();
    for ((process, minute), pace) in minutes {
        most = Pace { requests: most.requests.max(pace.requests), events: most.events.max(pace.events) };
        if pace.requests > REQUESTS || pace.events > EVENTS {
            let at = epoch.checked_add(SignedDuration::from_mins(i64::try_from(minute).unwrap_or(0))).unwrap_or(epoch);
            let what = format!("{process} sent {} requests and {} Events within a minute", pace.requests, pace.events);
            violations.push(Violation { at, promise: "no busy loop", what });
        }
    }
    (most, violations)
}
