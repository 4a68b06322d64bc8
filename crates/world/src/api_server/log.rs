//! The log of all requests, as far as it is the same whenever the same seed runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use http::request::Parts;

use super::Sender;

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoggedRequest {
    /// When it was answered, since the world began.
    pub at: Duration,
    /// Method, path and query, and which one of these it was.
    pub line: String,
    /// The status code of its answer.
    pub code: u16,
}

impl fmt::Display for LoggedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.3} s  {}  {}", self.at.as_secs_f64(), self.code, self.line)
    }
}

/// The log of a server.
#[derive(Debug, Default)]
pub struct RequestLog {
    state: Mutex<LogState>,
}

#[derive(Debug, Default)]
struct LogState {
    answered: Vec<LoggedRequest>,
    /// How many requests each line has had.
    counts: BTreeMap<String, u64>,
}

/// kube-runtime names an Event after the wall clock of the machine, the only one that it reads.
const EVENTS: &str = "/events/";

impl RequestLog {
    /// The answered requests, by time. Those of the same millisecond are ordered by their text:
    /// which of them came first depends on the addresses of hash maps, and means nothing.
    #[must_use]
    pub fn answered(&self) -> Vec<LoggedRequest> {
        let mut answered = self.state().answered.clone();
        answered.sort();
        answered
    }

    /// Notes that a request has arrived. Returns the line of the log that tells it from all others.
    pub(super) fn begin(&self, head: &Parts) -> String {
        let path = path_of(&head.uri);
        let sender = head.extensions.get().map_or(String::new(), |sender: &Sender| format!("{} ", sender.name));
        let line = format!("{sender}{} {path}", head.method);
        let mut state = self.state();
        let count = state.counts.entry(line.clone()).or_default();
        *count += 1;
        format!("{line} #{count}")
    }

    /// Notes the answer.
    pub(super) fn end(&self, at: Duration, line: String, code: u16) {
        // Timers have milliseconds.
        let at = Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        self.state().answered.push(LoggedRequest { at, line, code });
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Path and query, without what differs whenever the same seed runs.
pub(crate) fn path_of(uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    match path.split_once(EVENTS) {
        Some((before, after)) => {
            let query = after.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
            format!("{before}{EVENTS}*{query}")
        }
        None => without_version(path),
    }
}

/// The path without the versions in its query: they count requests of the same millisecond in the
/// order of their arrival.
fn without_version(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let kept: Vec<&str> = query.split('&').filter(|one| !one.starts_with("resourceVersion=")).collect();
    format!("{path}?{}", kept.join("&"))
}
