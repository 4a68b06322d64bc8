//! Reads: one object, a list, and what of an object an answer shows.

use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::Kind;
use super::refusal::Refusal;
use super::request::ApiRequest;
use super::store::{ObjectKey, Objects, Store};

/// One object.
pub(super) fn get(store: &Store, request: &ApiRequest<'_>, key: &ObjectKey) -> Result<Value, Refusal> {
    let object = store.get(key).ok_or_else(|| Refusal::not_found(request.kind, &key.2))?;
    Ok(shown(object, request.metadata_only))
}

/// The object, or its metadata alone.
pub(super) fn shown(object: &Value, metadata_only: bool) -> Value {
    if !metadata_only {
        return object.clone();
    }
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// A page of a list. Its `continue` names the version of the first page and the last key of this
/// one: all pages are of the same version.
pub(super) fn list(store: &Store, request: &ApiRequest<'_>) -> Result<Value, Refusal> {
    let selection = request.selection()?;
    let (version, after) = match request.parameter("continue") {
        Some(token) => {
            let (version, after) = position(token)?;
            (version, Some((request.index, after.0, after.1)))
        }
        None => (version(store, request)?, None),
    };
    let objects: Objects = if version == store.version() {
        store.all(request.index).map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
    } else {
        store.at(request.index, version)?
    };
    let rest = objects.iter().filter(|(key, object)| {
        request.covers(&key.1) && after.as_ref().is_none_or(|after| *key > after) && selection.matches(object)
    });
    let rest: Vec<_> = rest.collect();
    let limit = request.number("limit")?.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok());
    let page = rest.get(..limit.unwrap_or(rest.len())).unwrap_or(&rest);
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if request.kind.is_custom() && !request.metadata_only {
        metadata["continue"] = json!("");
    }
    if let Some((key, _)) = page.last().filter(|_| page.len() < rest.len()) {
        metadata["continue"] = json!(token(version, &key.1, &key.2));
        metadata["remainingItemCount"] = json!(rest.len() - page.len());
    }
    let items: Vec<Value> = page.iter().map(|(_, object)| item(request.kind, object, request.metadata_only)).collect();
    // As the type of the API server writes an empty list of metadata.
    let items = if request.metadata_only && items.is_empty() { Value::Null } else { Value::Array(items) };
    let (kind, api_version) = if request.metadata_only {
        ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned())
    } else {
        (format!("{}List", request.kind.name), request.kind.api_version())
    };
    Ok(json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}))
}

/// The version that a first page shows. Without a match, any version that is not older will do, and
/// the newest is.
fn version(store: &Store, request: &ApiRequest<'_>) -> Result<u64, Refusal> {
    let current = store.version();
    let asked = request.number("resourceVersion")?;
    match (request.parameter("resourceVersionMatch"), asked) {
        (None | Some("NotOlderThan"), Some(asked)) if asked > current => {
            Err(Refusal::too_large_version(asked, current))
        }
        (None, _) | (Some("NotOlderThan"), Some(_)) => Ok(current),
        (Some("Exact"), Some(asked)) if asked > 0 => Ok(asked),
        (Some("Exact"), Some(_)) => {
            Err(Refusal::list_options("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
        }
        (Some(_), _) => {
            Err(Refusal::list_options("resourceVersionMatch is forbidden unless resourceVersion is provided"))
        }
    }
}

/// Where the next page begins. In hexadecimal, so that it fits into a URL whatever the names are.
fn token(version: u64, namespace: &str, name: &str) -> String {
    let text = format!("{version}/{namespace}/{name}");
    text.bytes().fold(String::new(), |token, byte| format!("{token}{byte:02x}"))
}

fn position(token: &str) -> Result<(u64, (String, String)), Refusal> {
    let bytes = token.as_bytes().chunks(2).map(|pair| {
        let pair = str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    let text = bytes.collect::<Option<Vec<u8>>>().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let position = (parts.next().and_then(|version| version.parse().ok()), parts.next(), parts.next());
    let (Some(version), Some(namespace), Some(name)) = position else {
        return Err(Refusal::bad_request("continue key is not valid".to_owned()));
    };
    Ok((version, (namespace, name)))
}

/// An object in a list. Built-in kinds leave out what the list says already.
fn item(kind: &Kind, object: &Value, metadata_only: bool) -> Value {
    let mut item = shown(object, metadata_only);
    if let (Some(fields), false) = (item.as_object_mut(), kind.is_custom() || metadata_only) {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    item
}
