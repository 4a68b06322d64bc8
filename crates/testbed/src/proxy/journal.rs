//! What was asked, what was done with it, and how it was answered.

use super::request::Asked;
use super::script::Fate;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Entry {
    /// When it came.
    pub at: Timestamp,
    /// Its number among the changes that are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Where from.
    pub peer: IpAddr,
    /// With which client.
    pub user_agent: String,
    /// For what.
    #[serde(flatten)]
    pub asked: Asked,
    /// What the API server answered; not set if it never arrived there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the client was answered; not set if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<u16>,
    /// What a rule did with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fell: Option<Fell>,
    /// The body of a change, if it is JSON.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// What a rule did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Fell {
    /// What became of the request.
    pub fate: Fate,
    /// Why nobody was killed at that point, though somebody was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_killed: Option<String>,
}

impl Entry {
    /// Whether the API server did what was asked.
    #[must_use]
    pub fn took_effect(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// All entries so far.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: Mutex<Vec<Entry>>,
    count: watch::Sender<usize>,
}

impl Journal {
    pub(super) fn add(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
        self.count.send_replace(entries.len());
    }

    pub(super) fn from(&self, first: usize) -> Vec<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(first..).map(<[Entry]>::to_vec).unwrap_or_default()
    }

    pub(super) async fn after(&self, first: usize) -> Vec<Entry> {
        // The sender lives as long as this.
        let _ = self.count.subscribe().wait_for(|count| *count > first).await;
        self.from(first)
    }
}
