//! Creates, changes and deletes objects: what the API server does to an object on its way into the
//! store.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::kinds::{Kind, KindIndex};
use super::refusal::{Cause, Refusal};
use super::store::{ObjectKey, Store};
use super::{builtin, object_meta, schema, validate};
use crate::chance::Chance;

/// What a write needs beside the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriteContext<'a> {
    pub(super) index: KindIndex,
    pub(super) kind: &'a Kind,
    pub(super) now: Timestamp,
    pub(super) chance: Chance,
    /// Whether the client sent a patch, not the whole object.
    pub(super) by_patch: bool,
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
    /// It exists since this write.
    Created(Arc<Value>),
    /// It exists.
    Kept(Arc<Value>),
    /// It was removed: this was its last state.
    Removed(Arc<Value>),
}

impl Written {
    pub(super) fn object(&self) -> &Arc<Value> {
        match self {
            Self::Created(object) | Self::Kept(object) | Self::Removed(object) => object,
        }
    }
}

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
        let key = self.key(namespace, &name);
        let has_version = text(&object, "/metadata/resourceVersion").is_some_and(|version| !version.is_empty());
        self.set_type(&mut object)?;
        if self.kind.has_status {
            fields(&mut object)?.remove("status");
        }
        let uid = self.chance.uid(&format!("{}/{namespace}/{name}/{}", self.kind.plural, store.generation(&key)));
        let metadata = metadata(&mut object)?;
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
            metadata.remove(field);
        }
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("creationTimestamp".to_owned(), json!(second(self.now)));
        if self.kind.namespaced {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        if self.kind.has_generation() {
            metadata.insert("generation".to_owned(), json!(1));
        }
        if self.kind.name == "Pod" {
            object["status"] = json!({"phase": "Pending"});
        }
        self.complete(&mut object, &name, None, Vec::new())?;
        object_meta::check_name(self.kind, &name)?;
        if has_version {
            return Err(Refusal::unclassified("resourceVersion should not be set on objects to be created"));
        }
        if let Some(existing) = store.get(&key) {
            return Err(Refusal::already_exists(self.kind, &name, is_deleted(existing)));
        }
        Ok(store.put(key, object))
    }

    /// Replaces one part of an object. `next` may name the version and the uid that it is based on.
    pub(super) fn replace(
        &self,
        store: &mut Store,
        key: &ObjectKey,
        mut next: Value,
        part: Part,
    ) -> Result<Written, Refusal> {
        let name = &key.2;
        if store.get(key).is_none() && self.kind.is_created_by_update() {
            object_meta::check_uid(self.kind, name, &Value::Null, &next)?;
            // Also when the client names the version of one that was deleted.
            metadata(&mut next)?.remove("resourceVersion");
            return self.create(store, &key.1, next).map(Written::Created);
        }
        let before = self.found(store, key)?;
        self.set_type(&mut next)?;
        if !self.by_patch {
            object_meta::check_uid(self.kind, name, &before, &next)?;
        }
        let version = text(&next, "/metadata/resourceVersion").unwrap_or_default();
        if !version.is_empty() && Some(version) != text(&before, "/metadata/resourceVersion") {
            const CHANGED: &str =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Refusal::conflict(self.kind, name, CHANGED));
        }
        let causes = object_meta::forbidden(&before, &next);
        if part == Part::Status {
            next = object_meta::with_status(self.kind, &before, &next);
        } else if self.kind.has_status {
            set(fields(&mut next)?, "status", before.get("status").cloned());
        }
        object_meta::keep_fixed(&before, metadata(&mut next)?);
        self.complete(&mut next, name, Some(&before), causes)?;
        if part == Part::Main && self.kind.has_generation() && self.is_new_generation(&before, &next) {
            let generation = before.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
            metadata(&mut next)?.insert("generation".to_owned(), json!(generation + 1));
        }
        if next == *before {
            return Ok(Written::Kept(before));
        }
        if is_deleted(&next) && !is_held(&next) && grace_of(&next) == 0 {
            // The watches do not show this last change.
            store.remove(key);
            return Ok(Written::Removed(Arc::new(next)));
        }
        Ok(Written::Kept(store.put(key.clone(), next)))
    }

    fn is_new_generation(&self, before: &Value, next: &Value) -> bool {
        // Of a Deployment, annotations count too, because its controller copies them.
        let annotations = |object: &Value| object.pointer("/metadata/annotations").cloned();
        spec(before) != spec(next) || (self.kind.name == "Deployment" && annotations(before) != annotations(next))
    }

    /// Deletes an object, now or when its finalizers and its grace period are over.
    pub(super) fn delete(&self, store: &mut Store, key: &ObjectKey, options: &Value) -> Result<Written, Refusal> {
        let before = self.found(store, key)?;
        let differs = |field: &str| {
            let wanted = text(options, &format!("/preconditions/{field}"))?;
            text(&before, &format!("/metadata/{field}")).filter(|is| *is != wanted).map(|is| (wanted, is))
        };
        if let Some((wanted, is)) = differs("uid") {
            return Err(self.other_uid(&key.2, wanted, is));
        }
        if let Some((wanted, is)) = differs("resourceVersion") {
            let why = format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({is}). The object might have been modified"
            );
            return Err(Refusal::precondition(self.kind, &key.2, &why));
        }
        let earlier = before.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
        let grace = match earlier {
            _ if self.kind.name != "Pod" => 0,
            // It is being deleted: the time can only become shorter, and only when a client says so.
            Some(earlier) => wanted_grace(options).map_or(earlier, |wanted| wanted.min(earlier)),
            None => grace(&before, options),
        };
        let is_shorter = !is_deleted(&before) || earlier.is_some_and(|earlier| grace < earlier);
        if grace == 0 && !is_held(&before) {
            let mut last = before;
            if self.kind.name == "Pod" && is_shorter {
                // Two writes, and the watches show both.
                let mut marked = (*last).clone();
                self.mark_deleted(&mut marked, grace)?;
                last = store.put(key.clone(), marked);
            }
            store.remove(key);
            // The answer shows it with the version of its removal.
            let mut removed = (*last).clone();
            metadata(&mut removed)?.insert("resourceVersion".to_owned(), json!(store.version().to_string()));
            return Ok(Written::Removed(Arc::new(removed)));
        }
        if !is_shorter {
            return Ok(Written::Kept(before));
        }
        let mut next = (*before).clone();
        self.mark_deleted(&mut next, grace)?;
        Ok(Written::Kept(store.put(key.clone(), next)))
    }

    /// A deletion or eviction of an object that is another one by now.
    pub(super) fn other_uid(&self, name: &str, wanted: &str, is: &str) -> Refusal {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({is}). The object might have been deleted and then recreated"
        );
        Refusal::precondition(self.kind, name, &why)
    }

    fn mark_deleted(&self, next: &mut Value, grace: i64) -> Result<(), Refusal> {
        let metadata = metadata(next)?;
        let is_first = !metadata.contains_key("deletionTimestamp");
        let end = self.now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
        metadata.insert("deletionTimestamp".to_owned(), json!(second(end)));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        let generation = metadata.get("generation").and_then(Value::as_i64).filter(|_| is_first);
        if let Some(generation) = generation {
            metadata.insert("generation".to_owned(), json!(generation + 1));
        }
        Ok(())
    }

    /// The type of the object is that of the path.
    fn set_type(&self, object: &mut Value) -> Result<(), Refusal> {
        let fields = fields(object)?;
        fields.insert("apiVersion".to_owned(), json!(self.kind.api_version()));
        fields.insert("kind".to_owned(), json!(self.kind.name));
        Ok(())
    }

    /// Makes of the object what the server stores, and checks it. `causes`: what was found before.
    fn complete(
        &self,
        object: &mut Value,
        name: &str,
        before: Option<&Value>,
        mut causes: Vec<Cause>,
    ) -> Result<(), Refusal> {
        if let Some(schema) = &self.kind.schema {
            schema::complete(object, schema);
            causes.extend(validate::validate(object, schema, before));
        } else {
            builtin::complete(self.kind, object)?;
        }
        if !causes.is_empty() {
            return Err(Refusal::invalid(self.kind, name, &causes));
        }
        object_meta::tidy(metadata(object)?);
        Ok(())
    }
}

/// Everything but metadata and status.
fn spec(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "metadata" | "status"));
    }
    object
}

fn grace_of(object: &Value) -> i64 {
    object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or_default()
}

/// The seconds that a pod gets to stop. A pod that runs nowhere, or has ended, gets none.
fn grace(pod: &Value, options: &Value) -> i64 {
    let ended = matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"));
    if text(pod, "/spec/nodeName").is_none() || ended {
        return 0;
    }
    let own = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT_GRACE);
    wanted_grace(options).unwrap_or(own)
}

/// The grace period that a deletion asks for, in seconds.
fn wanted_grace(options: &Value) -> Option<i64> {
    options.get("gracePeriodSeconds").and_then(Value::as_i64).map(|wanted| wanted.max(0))
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
