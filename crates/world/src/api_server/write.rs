//! Creates, changes and deletes objects: what the API server does to an object on its way into the
//! store.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::kinds::{Kind, KindIndex};
use super::refusal::Refusal;
use super::schema;
use super::store::{ObjectKey, Store};
use crate::chance::Chance;

/// What a write needs beside the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriteContext<'a> {
    pub(super) index: KindIndex,
    pub(super) kind: &'a Kind,
    pub(super) now: Timestamp,
    pub(super) chance: Chance,
}

/// Which part of an object a write changes. The rest stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything but the status.
    Main,
    /// The status alone.
    Status,
}

/// What became of an object after a write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Written {
    /// It exists.
    Kept(Arc<Value>),
    /// It was removed: this was its last state.
    Removed(Arc<Value>),
}

impl Written {
    pub(super) fn object(&self) -> &Arc<Value> {
        match self {
            Self::Kept(object) | Self::Removed(object) => object,
        }
    }
}

/// Fields of the metadata that no client can change.
const FIXED: [&str; 6] =
    ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
/// The grace period of a pod that names none, in seconds.
const DEFAULT_GRACE: i64 = 30;

impl WriteContext<'_> {
    pub(super) fn key(&self, namespace: &str, name: &str) -> ObjectKey {
        (self.index, namespace.to_owned(), name.to_owned())
    }

    fn found(&self, store: &Store, key: &ObjectKey) -> Result<Arc<Value>, Refusal> {
        store.get(key).cloned().ok_or_else(|| Refusal::not_found(self.kind, &key.2))
    }

    /// Creates an object.
    pub(super) fn create(&self, store: &mut Store, namespace: &str, mut object: Value) -> Result<Arc<Value>, Refusal> {
        let name = text(&object, "/metadata/name").unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(Refusal::invalid(self.kind, &name, "metadata.name: Required value: name is required"));
        }
        let key = self.key(namespace, &name);
        if store.get(&key).is_some() {
            return Err(Refusal::already_exists(self.kind, &name));
        }
        self.complete(&mut object, &name)?;
        let uid = self.chance.uid(&format!("{}/{namespace}/{name}/{}", self.kind.plural, store.generation(&key)));
        let fields = fields(&mut object)?;
        fields.insert("apiVersion".to_owned(), json!(self.kind.api_version()));
        fields.insert("kind".to_owned(), json!(self.kind.name));
        if self.kind.has_status {
            fields.remove("status");
        }
        let metadata = metadata(&mut object)?;
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"] {
            metadata.remove(field);
        }
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("creationTimestamp".to_owned(), json!(second(self.now)));
        if self.kind.namespaced {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        if self.has_generation() {
            metadata.insert("generation".to_owned(), json!(1));
        }
        Ok(store.put(key, object))
    }

    /// Replaces one part of an object. `next` may name the version that it is based on.
    pub(super) fn replace(
        &self,
        store: &mut Store,
        key: &ObjectKey,
        mut next: Value,
        part: Part,
    ) -> Result<Written, Refusal> {
        let before = self.found(store, key)?;
        let name = &key.2;
        let version = text(&next, "/metadata/resourceVersion").unwrap_or_default();
        if !version.is_empty() && Some(version) != text(&before, "/metadata/resourceVersion") {
            const CHANGED: &str =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Refusal::conflict(self.kind, name, CHANGED));
        }
        let uid = text(&next, "/metadata/uid").unwrap_or_default();
        if !uid.is_empty() && Some(uid) != text(&before, "/metadata/uid") {
            return Err(Refusal::conflict(self.kind, name, &precondition("UID", uid, &before)));
        }
        if part == Part::Status {
            let mut whole = (*before).clone();
            set(fields(&mut whole)?, "status", next.get("status").cloned());
            next = whole;
        } else if self.kind.has_status {
            set(fields(&mut next)?, "status", before.get("status").cloned());
        }
        self.complete(&mut next, name)?;
        keep_fixed(&before, &mut next, part)?;
        if next == *before {
            return Ok(Written::Kept(before));
        }
        if is_deleted(&next) && !is_held(&next) && self.kind.name != "Pod" {
            return store.remove(key).map(Written::Removed).ok_or_else(|| Refusal::not_found(self.kind, name));
        }
        Ok(Written::Kept(store.put(key.clone(), next)))
    }

    /// Deletes an object, now or when its finalizers and its grace period are over.
    pub(super) fn delete(&self, store: &mut Store, key: &ObjectKey, options: &Value) -> Result<Written, Refusal> {
        let before = self.found(store, key)?;
        for (field, words) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let wanted = text(options, &format!("/preconditions/{field}"));
            if wanted.is_some_and(|wanted| text(&before, &format!("/metadata/{field}")) != Some(wanted)) {
                let why = precondition(words, wanted.unwrap_or_default(), &before);
                return Err(Refusal::conflict(self.kind, &key.2, &why));
            }
        }
        let grace = if self.kind.name == "Pod" { grace(&before, options) } else { 0 };
        if grace == 0 && !is_held(&before) {
            return store.remove(key).map(Written::Removed).ok_or_else(|| Refusal::not_found(self.kind, &key.2));
        }
        let earlier = before.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
        if is_deleted(&before) && earlier.is_none_or(|earlier| earlier <= grace) {
            return Ok(Written::Kept(before));
        }
        let mut next = (*before).clone();
        let metadata = metadata(&mut next)?;
        let end = self.now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
        metadata.insert("deletionTimestamp".to_owned(), json!(second(end)));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".to_owned(), json!(generation + 1));
        }
        Ok(Written::Kept(store.put(key.clone(), next)))
    }

    /// Sets what a custom resource must have, and checks that its type is the controller's.
    fn complete(&self, object: &mut Value, name: &str) -> Result<(), Refusal> {
        if let Some(schema) = &self.kind.schema {
            schema::complete(object, schema);
            self.kind.check(object).map_err(|why| Refusal::invalid(self.kind, name, &why))?;
        }
        Ok(())
    }

    /// Whether the API server counts the changes of the spec.
    fn has_generation(&self) -> bool {
        self.kind.has_status || self.kind.is_custom()
    }
}

/// Takes over what no client can change, and counts the changes of the spec.
fn keep_fixed(before: &Value, next: &mut Value, part: Part) -> Result<(), Refusal> {
    let has_new_spec = part == Part::Main && {
        let spec = |object: &Value| {
            let mut object = object.clone();
            if let Some(fields) = object.as_object_mut() {
                fields.retain(|name, _| !matches!(name.as_str(), "metadata" | "status" | "apiVersion" | "kind"));
            }
            object
        };
        spec(before) != spec(next)
    };
    let fields = fields(next)?;
    for field in ["apiVersion", "kind"] {
        set(fields, field, before.get(field).cloned());
    }
    let metadata = metadata(next)?;
    metadata.remove("managedFields");
    let earlier = |field: &str| before.get("metadata").and_then(|metadata| metadata.get(field)).cloned();
    for field in FIXED.into_iter().chain(["generation", "resourceVersion"]) {
        set(metadata, field, earlier(field));
    }
    if let (true, Some(generation)) = (has_new_spec, earlier("generation").and_then(|it| it.as_i64())) {
        metadata.insert("generation".to_owned(), json!(generation + 1));
    }
    Ok(())
}

/// The seconds that a pod gets to stop. A pod that runs nowhere, or has ended, gets none.
fn grace(pod: &Value, options: &Value) -> i64 {
    let ended = matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"));
    if text(pod, "/spec/nodeName").is_none() || ended {
        return 0;
    }
    let own = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_GRACE);
    options.get("gracePeriodSeconds").and_then(Value::as_i64).unwrap_or(own).max(0)
}

fn precondition(field: &str, wanted: &str, before: &Value) -> String {
    let pointer = if field == "UID" { "/metadata/uid" } else { "/metadata/resourceVersion" };
    let is = text(before, pointer).unwrap_or_default();
    format!("Precondition failed: {field} in precondition: {wanted}, {field} in object meta: {is}")
}

/// The text at a JSON pointer.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// An instant as the API shows it.
pub(super) fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn is_deleted(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// Whether a finalizer prevents its removal.
fn is_held(object: &Value) -> bool {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|all| !all.is_empty())
}

fn set(fields: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.remove(name),
    };
}

fn fields(object: &mut Value) -> Result<&mut Map<String, Value>, Refusal> {
    object.as_object_mut().ok_or_else(|| Refusal::bad_request("the body is not an object".to_owned()))
}

fn metadata(object: &mut Value) -> Result<&mut Map<String, Value>, Refusal> {
    let metadata = fields(object)?.entry("metadata").or_insert_with(|| json!({}));
    metadata.as_object_mut().ok_or_else(|| Refusal::bad_request("metadata is not an object".to_owned()))
}
