//! One request of a sequence, as a template for both servers.

use std::fmt;

use serde_json::Value;

/// A request. In path and body, `<uid:KEY>`, `<rv:KEY>` and `<old:KEY>` stand for the uid, the
/// newest and the previous version of the object `plural/name`, and `<list>`, `<start>` and
/// `<continue>` for those of the last list, the first list, and the last incomplete list.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) content: Content,
    pub(crate) metadata_only: bool,
}

/// The body of a request.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    None,
    Json(Value),
    /// A patch of this content type.
    Patch(&'static str, Value),
    /// The object of the last answer about it, changed as a merge patch says.
    Known {
        key: String,
        change: Value,
    },
}

impl Content {
    pub(crate) fn header(&self) -> &'static str {
        match self {
            Self::Patch(kind, _) => kind,
            _ => "application/json",
        }
    }
}

pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON: &str = "application/json-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

impl Step {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), content: Content::None, metadata_only: false }
    }

    pub(crate) fn metadata(path: impl Into<String>) -> Self {
        Self { metadata_only: true, ..Self::get(path) }
    }

    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: "POST", content: Content::Json(body), ..Self::get(path) }
    }

    pub(crate) fn put(path: impl Into<String>, key: impl Into<String>, change: Value) -> Self {
        Self { method: "PUT", content: Content::Known { key: key.into(), change }, ..Self::get(path) }
    }

    pub(crate) fn patch(path: impl Into<String>, kind: &'static str, body: Value) -> Self {
        Self { method: "PATCH", content: Content::Patch(kind, body), ..Self::get(path) }
    }

    pub(crate) fn delete(path: impl Into<String>, options: Value) -> Self {
        let content = if options.is_null() { Content::None } else { Content::Json(options) };
        Self { method: "DELETE", content, ..Self::get(path) }
    }

    pub(crate) fn accept(&self) -> &'static str {
        let is_list = self.method == "GET" && !self.path.contains("?name=") && self.is_collection();
        match (self.metadata_only, is_list && !self.is_watch()) {
            (false, _) => "application/json",
            (true, false) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            (true, true) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        }
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.path.contains("watch=true")
    }

    /// The plural of the kind that it is about.
    pub(crate) fn plural(&self) -> &str {
        self.segments().first().copied().unwrap_or_default()
    }

    fn is_collection(&self) -> bool {
        self.segments().len() == 1
    }

    /// The plural, the name and the subresource.
    fn segments(&self) -> Vec<&str> {
        let path = self.path.split('?').next().unwrap_or_default();
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let skipped = if parts.first() == Some(&"api") { 2 } else { 3 };
        parts.drain(..skipped.min(parts.len()));
        if parts.len() > 2 && parts.first() == Some(&"namespaces") {
            parts.drain(..2);
        }
        parts
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = if self.metadata_only { " (metadata)" } else { "" };
        write!(f, "{} {}{metadata}", self.method, self.path)?;
        match &self.content {
            Content::None => Ok(()),
            Content::Json(body) => write!(f, " {body}"),
            Content::Patch(kind, body) => write!(f, " {kind} {body}"),
            Content::Known { key, change } => write!(f, " {key} with {change}"),
        }
    }
}
