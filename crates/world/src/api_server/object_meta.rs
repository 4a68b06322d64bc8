//! The metadata of an object: its name, what is left out when it is empty, and what no client can
//! change.

use serde_json::{Map, Value};

use super::kinds::Kind;
use super::refusal::{Cause, Refusal};
use super::write::text;

/// Fields that a write takes over from the object as it was, whatever the client sent.
const FIXED: [&str; 4] = ["namespace", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
/// Fields that are left out when they are empty.
const LEFT_OUT: [&str; 5] = ["labels", "annotations", "finalizers", "ownerReferences", "generateName"];

/// A DNS label, and a name of such labels.
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Checks the name of a new object.
///
/// # Errors
/// 422: it is no name.
pub(super) fn check_name(kind: &Kind, name: &str) -> Result<(), Refusal> {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(inner)
    };
    let (fits, rule) = if kind.name == "PodDisruptionBudget" {
        // The real server does not check it either.
        (!name.is_empty(), SUBDOMAIN)
    } else if matches!(kind.name.as_str(), "StatefulSet" | "Namespace") {
        (is_label(name), LABEL)
    } else {
        (name.split('.').all(is_label), SUBDOMAIN)
    };
    if fits {
        return Ok(());
    }
    let cause = if name.is_empty() {
        let message = "Required value: name or generateName is required".to_owned();
        Cause { reason: "FieldValueRequired", field: "metadata.name".to_owned(), message }
    } else {
        Cause::invalid("metadata.name", format!("Invalid value: {name:?}: {rule}"))
    };
    Err(Refusal::invalid(kind, name, &[cause]))
}

/// Leaves out what is empty, and what this server does not keep.
pub(super) fn tidy(metadata: &mut Map<String, Value>) {
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    metadata.retain(|name, value| !(value.is_null() || LEFT_OUT.contains(&name.as_str()) && is_empty(value)));
}

/// Takes over what no client can change. The generation is the caller's.
pub(super) fn keep_fixed(before: &Value, next: &mut Map<String, Value>) {
    let earlier = |field: &str| before.get("metadata").and_then(|metadata| metadata.get(field)).cloned();
    for field in FIXED.into_iter().chain(["name", "uid", "resourceVersion", "generation"]) {
        match earlier(field) {
            Some(value) => next.insert(field.to_owned(), value),
            None => next.remove(field),
        };
    }
}

/// The object with the status of `next`. A built-in kind takes over what clients can change in the
/// metadata too, a custom resource does not.
pub(super) fn with_status(kind: &Kind, before: &Value, next: &Value) -> Value {
    let mut whole = before.clone();
    let Some(fields) = whole.as_object_mut() else { return whole };
    match next.get("status") {
        Some(status) => fields.insert("status".to_owned(), status.clone()),
        None => fields.remove("status"),
    };
    if kind.is_custom() {
        return whole;
    }
    let Some(metadata) = next.get("metadata").cloned() else { return whole };
    let kept = if kind.name == "Deployment" { "labels" } else { "ownerReferences" };
    let earlier = before.get("metadata").and_then(|metadata| metadata.get(kept)).cloned().unwrap_or_default();
    if let Some(Value::Object(metadata)) =
        fields.insert("metadata".to_owned(), metadata).and(fields.get_mut("metadata"))
    {
        metadata.insert(kept.to_owned(), earlier);
    }
    whole
}

/// What a write of an object must not change.
pub(super) fn forbidden(before: &Value, next: &Value) -> Vec<Cause> {
    let mut causes: Vec<Cause> = other_uid(before, next).into_iter().collect();
    let finalizers =
        |object: &Value| object.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let earlier = finalizers(before);
    let new: Vec<String> = finalizers(next).iter().filter(|one| !earlier.contains(one)).map(Value::to_string).collect();
    if before.pointer("/metadata/deletionTimestamp").is_some() && !new.is_empty() {
        let message = format!(
            "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            new.join(", ")
        );
        causes.push(Cause { reason: "FieldValueForbidden", ..Cause::invalid("metadata.finalizers", message) });
    }
    causes
}

/// Why the uid that a write names is not valid, if it is another one.
fn other_uid(before: &Value, next: &Value) -> Option<Cause> {
    let uid =
        text(next, "/metadata/uid").filter(|uid| !uid.is_empty() && Some(*uid) != text(before, "/metadata/uid"))?;
    Some(Cause::invalid("metadata.uid", format!("Invalid value: {uid:?}: field is immutable")))
}

/// Checks the uid of an object that replaces another one.
///
/// # Errors
/// 409: it is another one.
pub(super) fn check_uid(kind: &Kind, name: &str, before: &Value, next: &Value) -> Result<(), Refusal> {
    if other_uid(before, next).is_none() {
        return Ok(());
    }
    let uid = |object| text(object, "/metadata/uid").unwrap_or_default();
    let why = format!("Precondition failed: UID in precondition: {}, UID in object meta: {}", uid(next), uid(before));
    Err(Refusal::conflict(kind, name, &format!("StorageError: invalid object, Code: 4, {why}")))
}
