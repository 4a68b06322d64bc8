//! The API server's request log: who asked for what, with the bodies of
//! changes (but not of Secrets, Leases and what kubelets report). The oracle of the end-to-end tests: what is not
//! here was not asked for.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One request, as `audit.k8s.io/v1` writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Event {
    /// The same in all of a request's events.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `ResponseStarted` (watches and streams), `ResponseComplete` or `Panic`.
    pub stage: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Who asked.
    pub user: User,
    /// With which client.
    #[serde(default)]
    pub user_agent: String,
    /// For what; not set for paths that are no objects.
    #[serde(default)]
    pub object_ref: ObjectRef,
    /// How it was answered.
    #[serde(default)]
    pub response_status: ResponseStatus,
    /// The body, of changes only; of a delete, its options.
    #[serde(default)]
    pub request_object: Value,
    /// What the API server notes beside, such as the authorizer's decision.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339 with microseconds.
    pub request_received_timestamp: String,
    /// RFC 3339 with microseconds.
    pub stage_timestamp: String,
}

/// Who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct User {
    /// For a pod: `system:serviceaccount:NAMESPACE:NAME`.
    pub username: String,
    /// Groups of the user.
    pub groups: Vec<String>,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ObjectRef {
    /// Empty for the core group.
    pub api_group: String,
    /// Plural, such as `pods`.
    pub resource: String,
    /// Such as `status`, `eviction` or `scale`; else empty.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty for lists and for creations.
    pub name: String,
}

/// How it was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ResponseStatus {
    /// HTTP status; 0 when there was none.
    pub code: u16,
    /// Such as `Conflict`.
    pub reason: String,
}

impl Event {
    /// Whether it asked for a change.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether the user had the right to ask: `None` for what needs none.
    #[must_use]
    pub fn permitted(&self) -> Option<bool> {
        self.annotations.get("authorization.k8s.io/decision").map(|decision| decision == "allow")
    }

    /// Whether the API server did what was asked.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.response_status.code)
    }
}

/// Reads a log. A line that is being written is left out.
///
/// # Errors
/// When the log cannot be opened.
pub fn events(log: &Path) -> Result<impl Iterator<Item = Event> + use<>> {
    let file = File::open(log).with_context(|| format!("cannot read the request log {}", log.display()))?;
    Ok(BufReader::new(file).lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_needs_neither_object_nor_answer() {
        let line = r#"{"kind":"Event","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/readyz",
            "verb":"get","user":{"username":"system:anonymous"},"requestReceivedTimestamp":"t","stageTimestamp":"t"}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        assert!(!event.is_write() && !event.succeeded());
        assert_eq!(event.object_ref, ObjectRef::default());
    }
}
