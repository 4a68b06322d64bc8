//! Patches: merge, JSON, and server-side apply of a status.

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::store::{ObjectKey, Store};

/// The three kinds of patches, by their content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchKind {
    Merge,
    Json,
    Apply,
}

impl PatchKind {
    /// # Errors
    /// 415: another content type.
    pub(super) fn of(content_type: &str) -> Result<Self, Refusal> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/json-patch+json" => Ok(Self::Json),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            other => Err(Refusal::unsupported(&format!("patches of type {other:?}"))),
        }
    }
}

/// The object after a merge patch or a JSON patch.
pub(super) fn patched(object: &Value, how: PatchKind, patch: Value) -> Result<Value, Refusal> {
    let mut next = object.clone();
    if how == PatchKind::Merge {
        json_patch::merge(&mut next, &patch);
        return Ok(next);
    }
    let Value::Array(operations) = patch else {
        return Err(Refusal::bad_request("a JSON patch is a list of operations".to_owned()));
    };
    for mut operation in operations {
        if adds(&next, &operation) {
            operation["op"] = json!("add");
        }
        let one: json_patch::Patch =
            serde_json::from_value(json!([operation])).map_err(|error| Refusal::bad_request(error.to_string()))?;
        json_patch::patch(&mut next, &one).map_err(|_| Refusal::patch_failed())?;
    }
    Ok(next)
}

/// Whether it replaces a field that is missing in an object: the real server adds it.
fn adds(object: &Value, operation: &Value) -> bool {
    let path = operation["path"].as_str().unwrap_or_default();
    let parent = path.rsplit_once('/').and_then(|(parent, _)| object.pointer(parent));
    operation["op"] == "replace" && object.pointer(path).is_none() && parent.is_some_and(Value::is_object)
}

/// The object after `manager` has applied the status of `applied`. Fields that it applied before and
/// does not apply now are removed; fields that it never applied stay. Lists are replaced as a whole:
/// our statuses have one manager, so nobody shares a list.
pub(super) fn applied(
    store: &mut Store,
    key: &ObjectKey,
    object: &Value,
    manager: &str,
    applied: &Value,
) -> Result<Value, Refusal> {
    let status = applied.get("status").cloned().unwrap_or(json!({}));
    let earlier = store.apply(key, manager, status.clone());
    let mut next = object.clone();
    let Some(fields) = next.as_object_mut() else {
        return Err(Refusal::bad_request("the object is not an object".to_owned()));
    };
    let live = fields.entry("status").or_insert_with(|| json!({}));
    apply(live, earlier.as_ref(), status);
    Ok(next)
}

fn apply(live: &mut Value, earlier: Option<&Value>, next: Value) {
    match (live, next) {
        (Value::Object(live), Value::Object(next)) => {
            let earlier = earlier.and_then(Value::as_object);
            for name in earlier.into_iter().flat_map(|earlier| earlier.keys()) {
                if !next.contains_key(name) {
                    live.remove(name);
                }
            }
            for (name, value) in next {
                let earlier = earlier.and_then(|earlier| earlier.get(&name));
                apply(live.entry(name).or_insert(Value::Null), earlier, value);
            }
        }
        (live, next) => *live = next,
    }
}

/// The scale of a workload.
pub(super) fn scale(workload: &Value) -> Value {
    let metadata = |field: &str| workload.pointer(&format!("/metadata/{field}")).cloned().unwrap_or_default();
    let selector = workload.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let labels = selector.into_iter().flatten().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata("name"), "namespace": metadata("namespace"), "uid": metadata("uid"),
            "resourceVersion": metadata("resourceVersion"), "creationTimestamp": metadata("creationTimestamp"),
        },
        "spec": {"replicas": workload.pointer("/spec/replicas").cloned().unwrap_or(json!(1))},
        "status": {
            "replicas": workload.pointer("/status/replicas").cloned().unwrap_or(json!(0)),
            "selector": labels.collect::<Vec<_>>().join(","),
        },
    });
    if scale["spec"]["replicas"] == 0 {
        // As the type of the API server writes it.
        scale["spec"] = json!({});
    }
    scale
}

/// The workload with the replicas of `scale`, bound to the uid and the version of `scale`.
pub(super) fn scaled(workload: &Value, scale: &Value) -> Value {
    let mut next = workload.clone();
    for pointer in ["/metadata/uid", "/metadata/resourceVersion"] {
        if let (Some(to), Some(from)) = (next.pointer_mut(pointer), scale.pointer(pointer)) {
            *to = from.clone();
        }
    }
    if let Some(spec) = next.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".to_owned(), scale.pointer("/spec/replicas").cloned().unwrap_or(json!(0)));
    }
    next
}
