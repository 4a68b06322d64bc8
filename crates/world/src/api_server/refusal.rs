//! What the API server answers when it refuses: the `Status` of its API, in its words.

use serde_json::{Value, json};

use super::kinds::Kind;

/// A refusal: status code, machine-readable reason, and words.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: u16,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self { code, reason, message, details: Value::Null }
    }

    fn about(self, kind: &Kind, name: &str) -> Self {
        Self { details: json!({"name": name, "group": kind.group, "kind": kind.plural}), ..self }
    }

    pub(super) fn bad_request(message: String) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", full_name(kind))).about(kind, name)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource".to_owned())
    }

    pub(super) fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", full_name(kind))).about(kind, name)
    }

    /// The object has another version, or a precondition does not hold.
    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", full_name(kind));
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// The version is older than what is kept.
    pub(super) fn expired(message: &str) -> Self {
        Self::new(410, "Expired", message.to_owned())
    }

    pub(super) fn unsupported(what: &str) -> Self {
        Self::new(415, "UnsupportedMediaType", format!("this API server does not simulate {what}"))
    }

    /// The object is not valid, or a test of a patch failed.
    pub(super) fn invalid(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(422, "Invalid", format!("{} {name:?} is invalid: {why}", kind.name)).about(kind, name)
    }

    /// A disruption budget allows no eviction.
    pub(super) fn disruption_budget(words: &str) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.".to_owned();
        let cause = json!({"reason": "DisruptionBudget", "message": words});
        Self { details: json!({"causes": [cause]}), ..Self::new(429, "TooManyRequests", message) }
    }

    pub(super) fn internal(message: &str) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// The version that was asked for does not exist yet.
    pub(super) fn too_large_version(asked: u64, current: u64) -> Self {
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        Self { details: json!({"causes": [cause], "retryAfterSeconds": 1}), ..Self::new(504, "Timeout", message) }
    }

    /// As the body of an answer, or of an event of a watch.
    pub(super) fn status(&self) -> Value {
        let Self { code, reason, message, details } = self;
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": message, "reason": reason, "code": code,
        });
        if let (Some(status), false) = (status.as_object_mut(), details.is_null()) {
            status.insert("details".to_owned(), details.clone());
        }
        status
    }
}

/// `deployments.apps`, or `pods` of the core group.
fn full_name(kind: &Kind) -> String {
    if kind.group.is_empty() { kind.plural.clone() } else { format!("{}.{}", kind.plural, kind.group) }
}
