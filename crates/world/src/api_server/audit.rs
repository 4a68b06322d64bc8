//! What was changed, and by whom: the oracle of the promises. It knows nothing of what a client believes.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

/// The client that sent a request. Carried by the request as an extension, as a connection carries it.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The name of the process.
    pub name: Arc<str>,
    /// When the process sent the request.
    pub sent: Timestamp,
}

/// One change of one object.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// When it took effect.
    pub at: Timestamp,
    /// Who asked for it. `None`: the cluster itself, or a person.
    pub by: Option<Sender>,
    /// The kind of the object.
    pub kind: String,
    /// Its namespace. Empty for cluster-scoped objects.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The object before. `None`: it was created.
    pub before: Option<Arc<Value>>,
    /// The object after. `None`: it was removed.
    pub after: Option<Arc<Value>>,
}

/// All changes of a server.
#[derive(Debug, Default)]
pub struct Audit {
    entries: Mutex<Vec<AuditEntry>>,
}

impl Audit {
    pub(super) fn note(&self, entry: AuditEntry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// The changes so far, in the order in which they took effect.
    #[must_use]
    pub fn entries(&self) -> Vec<AuditEntry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
