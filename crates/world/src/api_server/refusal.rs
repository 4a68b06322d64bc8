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
        Self { details: subject(kind, name), ..self }
    }

    pub(super) fn bad_request(message: String) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", full_name(kind))).about(kind, name)
    }

    /// No such subresource.
    pub(super) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource".to_owned();
        Self { details: json!({}), ..Self::new(404, "NotFound", message) }
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource".to_owned())
    }

    pub(super) fn already_exists(kind: &Kind, name: &str, is_deleted: bool) -> Self {
        let deleted = if is_deleted { "object is being deleted: " } else { "" };
        Self::new(409, "AlreadyExists", format!("{deleted}{} {name:?} already exists", full_name(kind)))
            .about(kind, name)
    }

    /// The object has another version, or a precondition does not hold.
    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", full_name(kind));
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// A precondition of a deletion does not hold. The server says this of the kind, not of its plural.
    pub(super) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", full_kind(kind));
        Self { details: kind_subject(kind, name), ..Self::new(409, "Conflict", message) }
    }

    /// The version is older than what is kept.
    pub(super) fn expired(message: &str) -> Self {
        Self::new(410, "Expired", message.to_owned())
    }

    pub(super) fn unsupported(what: &str) -> Self {
        Self::new(415, "UnsupportedMediaType", format!("this API server does not simulate {what}"))
    }

    /// A field of the object is not valid. `field` is where, `cause` one of the reasons for that.
    pub(super) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let words: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let words = if words.len() == 1 { words.concat() } else { format!("[{}]", words.join(", ")) };
        let mut details = kind_subject(kind, name);
        let one = |cause: &Cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field});
        details["causes"] = causes.iter().map(one).collect();
        Self { details, ..Self::new(422, "Invalid", format!("{} {name:?} is invalid: {words}", full_kind(kind))) }
    }

    /// The version that a list asks for and how it must match do not go together.
    pub(super) fn list_options(why: &str) -> Self {
        let message = format!("Forbidden: {why}");
        let cause = json!({"reason": "FieldValueForbidden", "message": message, "field": "resourceVersionMatch"});
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: {message}");
        let details = json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]});
        Self { details, ..Self::new(422, "Invalid", message) }
    }

    /// A server-side apply without a field manager.
    pub(super) fn no_manager() -> Self {
        let message = "Required value: is required for apply patch";
        let cause = json!({"reason": "FieldValueRequired", "message": message, "field": "fieldManager"});
        let message = format!("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: {message}");
        let details = json!({"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [cause]});
        Self { details, ..Self::new(422, "Invalid", message) }
    }

    /// A JSON patch does not fit the object, or one of its tests failed.
    pub(super) fn patch_failed() -> Self {
        let message = "the server rejected our request due to an error in our request".to_owned();
        Self { details: json!({}), ..Self::new(422, "Invalid", message) }
    }

    /// An error without a reason.
    pub(super) fn unclassified(message: &str) -> Self {
        Self::new(500, "", message.to_owned())
    }

    /// A disruption budget allows no eviction.
    pub(super) fn disruption_budget(words: &str, retry_after: Option<u32>) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.".to_owned();
        let cause = json!({"reason": "DisruptionBudget", "message": words});
        let mut details = json!({"causes": [cause]});
        if let Some(seconds) = retry_after {
            details["retryAfterSeconds"] = json!(seconds);
        }
        Self { details, ..Self::new(429, "TooManyRequests", message) }
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
        if let (Some(status), true) = (status.as_object_mut(), reason.is_empty()) {
            status.remove("reason");
        }
        status
    }
}

/// Why a field is not valid.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cause {
    /// `FieldValueInvalid` and so on.
    pub(super) reason: &'static str,
    /// For example `spec.steps[0].name`.
    pub(super) field: String,
    pub(super) message: String,
}

impl Cause {
    pub(super) fn invalid(field: &str, message: String) -> Self {
        Self { reason: "FieldValueInvalid", field: field.to_owned(), message }
    }
}

/// What a refusal is about.
fn subject(kind: &Kind, name: &str) -> Value {
    named(&kind.plural, &kind.group, name)
}

/// The same, where the server names the kind. An Event belongs to the core group then.
fn kind_subject(kind: &Kind, name: &str) -> Value {
    named(&kind.name, internal_group(kind), name)
}

fn named(kind: &str, group: &str, name: &str) -> Value {
    let mut subject = json!({"name": name, "kind": kind});
    if !group.is_empty() {
        subject["group"] = json!(group);
    }
    subject
}

/// `deployments.apps`, or `pods` of the core group.
fn full_name(kind: &Kind) -> String {
    dotted(&kind.plural, &kind.group)
}

/// `Deployment.apps`, or `Pod`.
fn full_kind(kind: &Kind) -> String {
    dotted(&kind.name, internal_group(kind))
}

fn internal_group(kind: &Kind) -> &str {
    if kind.name == "Event" { "" } else { &kind.group }
}

fn dotted(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}
