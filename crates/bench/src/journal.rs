//! The API server's request log, read on from where it was left: when a write was taken,
//! and what was written at all.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use jiff::Timestamp;
use testbed::Testbed;
use testbed::audit::Event;

use crate::latency::Way;

/// The controller as the API server knows it.
const CONTROLLER: &str = "system:serviceaccount:prunella-system:prunella";

/// A restart that the API server took.
#[derive(Debug, Clone)]
struct Restart {
    deployment: String,
    way: Way,
    at: Timestamp,
}

/// The restarts of Deployments so far.
#[derive(Debug)]
pub(crate) struct Journal {
    state: Mutex<(BufReader<File>, Vec<Restart>)>,
}

impl Journal {
    /// From now on.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn open(testbed: &Testbed) -> Result<Self> {
        let mut log = File::open(testbed.layout().audit_log()).context("cannot open the request log")?;
        log.seek(SeekFrom::End(0)).context("cannot read the request log")?;
        Ok(Self { state: Mutex::new((BufReader::new(log), Vec::new())) })
    }

    /// When the first restart of a Deployment by one path after an instant was taken.
    pub(crate) fn restarted(&self, deployment: &str, way: Way, after: Timestamp) -> Option<Timestamp> {
        // Nothing can be half done under the lock.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (log, restarts) = &mut *state;
        read_on(log, restarts);
        let wanted = |one: &&Restart| one.deployment == deployment && one.way == way && one.at > after;
        restarts.iter().find(wanted).map(|one| one.at)
    }
}

fn read_on(log: &mut BufReader<File>, restarts: &mut Vec<Restart>) {
    let mut line = String::new();
    while let Ok(length @ 1..) = log.read_line(&mut line) {
        if !line.ends_with('\n') {
            // Still being written: next time.
            let _ = log.seek_relative(-i64::try_from(length).unwrap_or_default());
            return;
        }
        // Few lines are meant, and parsing is slow.
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
        way: if event.user.username == CONTROLLER { Way::Ours } else { Way::Classic },
        at: event.stage_timestamp.parse().ok()?,
    })
}

/// What the controller asked to be changed between two instants, other than its Lease:
/// verb and resource of each.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn writes(testbed: &Testbed, from: Timestamp, to: Timestamp) -> Result<Vec<String>> {
    let log = File::open(testbed.layout().audit_log()).context("cannot open the request log")?;
    let lines = BufReader::new(log).lines().map_while(Result::ok).filter(|line| line.contains(CONTROLLER));
    let events = lines.filter_map(|line| serde_json::from_str::<Event>(&line).ok());
    let between =
        |event: &Event| event.request_received_timestamp.parse::<Timestamp>().is_ok_and(|at| at >= from && at <= to);
    let meant = events.filter(|event| {
        event.user.username == CONTROLLER && event.is_write() && event.object_ref.resource != "leases" && between(event)
    });
    Ok(meant.map(|event| format!("{} {}", event.verb, event.object_ref.resource)).collect())
}
