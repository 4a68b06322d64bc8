//! The API server's request log: when it accepted a write, and which writes the
//! controller sent.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;
use testbed::Testbed;
use testbed::audit::Event;

use crate::path::HealingPath;

/// The controller's user name at the API server.
const CONTROLLER: &str = "system:serviceaccount:prunella-system:prunella";

/// A patch that the API server accepted and that restarts a Deployment.
#[derive(Debug, Clone)]
pub(crate) struct Restart {
    deployment: String,
    path: HealingPath,
    /// When the API server received the request.
    pub(crate) received: Timestamp,
    /// When the API server had answered it.
    pub(crate) accepted: Timestamp,
}

/// The requests that record one `HealingAction`.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// The `HealingAction`'s name.
    name: String,
    /// Its policy's name.
    pub(crate) policy: String,
    /// When the API server received the reservation.
    pub(crate) received: Timestamp,
    /// When it had answered the reservation.
    pub(crate) reserved: Timestamp,
    /// When the status `Running` was recorded.
    pub(crate) running: Option<Timestamp>,
    /// When the status `Settling` was recorded: the write is done.
    pub(crate) settling: Option<Timestamp>,
}

/// The restarts since the log was opened.
#[derive(Debug)]
pub(crate) struct RequestLog {
    state: Mutex<(BufReader<File>, Vec<Restart>)>,
}

impl RequestLog {
    /// Reads from the current end of the log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn open(testbed: &Testbed) -> Result<Self> {
        let mut log = File::open(testbed.layout().audit_log()).context("cannot open the request log")?;
        log.seek(SeekFrom::End(0)).context("cannot read the request log")?;
        Ok(Self { state: Mutex::new((BufReader::new(log), Vec::new())) })
    }

    /// The first restart of a Deployment by one path after a time.
    pub(crate) fn first_restart(&self, deployment: &str, path: HealingPath, after: Timestamp) -> Option<Restart> {
        // No code panics under the lock, so the state is consistent even if it is poisoned.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (log, restarts) = &mut *state;
        read_new(log, restarts);
        let wanted = |one: &&Restart| one.deployment == deployment && one.path == path && one.accepted > after;
        restarts.iter().find(wanted).cloned()
    }
}

fn read_new(log: &mut BufReader<File>, restarts: &mut Vec<Restart>) {
    let mut line = String::new();
    while let Ok(length @ 1..) = log.read_line(&mut line) {
        if !line.ends_with('\n') {
            // The line is not complete yet. The next call reads it again.
            let _ = log.seek_relative(-i64::try_from(length).unwrap_or_default());
            return;
        }
        // Parsing is slow and only few lines are of interest.
        if line.contains("\"resource\":\"deployments\"") && line.contains("\"verb\":\"patch\"") {
            restarts.extend(serde_json::from_str(&line).ok().and_then(|event| restart(&event)));
        }
        line.clear();
    }
}

fn restart(event: &Event) -> Option<Restart> {
    let of_pods = event.request_object.pointer("/spec/template/metadata/annotations").is_some();
    (event.verb == "patch" && event.succeeded() && of_pods && event.object_ref.subresource.is_empty()).then_some(())?;
    Some(Restart {
        deployment: event.object_ref.name.clone(),
        path: if event.user.username == CONTROLLER { HealingPath::Prunella } else { HealingPath::Classic },
        received: event.request_received_timestamp.parse().ok()?,
        accepted: event.stage_timestamp.parse().ok()?,
    })
}

/// The writes of the controller between two times, except for its Lease: verb and
/// resource of each.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn writes(testbed: &Testbed, from: Timestamp, to: Timestamp) -> Result<Vec<String>> {
    let events = events_of_controller(testbed, from, to)?;
    let writes = events.filter(|event| event.is_write() && event.object_ref.resource != "leases");
    Ok(writes.map(|event| format!("{} {}", event.verb, event.object_ref.resource)).collect())
}

/// The records of all actions that the controller reserved between two times.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn records(testbed: &Testbed, from: Timestamp, to: Timestamp) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for event in events_of_controller(testbed, from, to)? {
        note(&mut records, &event);
    }
    Ok(records)
}

fn events_of_controller(testbed: &Testbed, from: Timestamp, to: Timestamp) -> Result<impl Iterator<Item = Event>> {
    let log = File::open(testbed.layout().audit_log()).context("cannot open the request log")?;
    let lines = BufReader::new(log).lines().map_while(Result::ok).filter(|line| line.contains(CONTROLLER));
    let events = lines.filter_map(|line| serde_json::from_str::<Event>(&line).ok());
    let between = move |event: &Event| {
        event.request_received_timestamp.parse::<Timestamp>().is_ok_and(|at| at >= from && at <= to)
    };
    Ok(events.filter(move |event| event.user.username == CONTROLLER && between(event)))
}

/// Adds an event to the records if it is about an action.
fn note(records: &mut Vec<Record>, event: &Event) {
    if event.object_ref.resource != "healingactions" || !event.succeeded() {
        return;
    }
    let Ok(answered) = event.stage_timestamp.parse::<Timestamp>() else { return };
    match (event.verb.as_str(), event.object_ref.subresource.as_str()) {
        ("create", "") => records.extend(reservation(event, answered)),
        ("update" | "patch", "status") => {
            let record = records.iter_mut().find(|one| one.name == event.object_ref.name);
            let Some(record) = record else { return };
            match state(&event.request_object) {
                Some("Running") => record.running = record.running.or(Some(answered)),
                Some("Settling") => record.settling = record.settling.or(Some(answered)),
                _ => {}
            }
        }
        _ => {}
    }
}

fn reservation(event: &Event, reserved: Timestamp) -> Option<Record> {
    let text = |pointer| Some(event.request_object.pointer(pointer)?.as_str()?.to_owned());
    Some(Record {
        name: text("/metadata/name")?,
        policy: text("/spec/policy/name")?,
        received: event.request_received_timestamp.parse().ok()?,
        reserved,
        running: None,
        settling: None,
    })
}

/// The state in the status of an action: the reason of its condition `Progressing`.
fn state(action: &Value) -> Option<&str> {
    let conditions = action.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|one| one["type"] == "Progressing")?["reason"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(verb: &str, subresource: &str, second: u32, object: &Value) -> Event {
        serde_json::from_value(json!({
            "auditID": "a", "stage": "ResponseComplete", "verb": verb, "requestURI": "/", "user": {"username": CONTROLLER},
            "objectRef": {"resource": "healingactions", "subresource": subresource, "name": "a1"},
            "responseStatus": {"code": 200}, "requestObject": object,
            "requestReceivedTimestamp": format!("2026-01-01T00:00:{second:02}.000000Z"),
            "stageTimestamp": format!("2026-01-01T00:00:{second:02}.500000Z"),
        }))
        .unwrap()
    }

    #[test]
    fn a_record_has_the_first_time_of_each_state() {
        let status = |reason: &str| json!({"status": {"conditions": [{"type": "Progressing", "reason": reason}]}});
        let mut records = Vec::new();
        note(
            &mut records,
            &event("create", "", 1, &json!({"metadata": {"name": "a1"}, "spec": {"policy": {"name": "p"}}})),
        );
        for (second, reason) in [(2, "Running"), (3, "Running"), (4, "Settling"), (5, "Verifying")] {
            note(&mut records, &event("update", "status", second, &status(reason)));
        }
        let at = |time: &str| Some(format!("2026-01-01T00:00:{time}Z").parse::<Timestamp>().unwrap());
        let [record] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((record.policy.as_str(), Some(record.received), Some(record.reserved)), ("p", at("01"), at("01.5")));
        assert_eq!((record.running, record.settling), (at("02.5"), at("04.5")));
    }
}
