//! Reads a request: which objects it is about, and what it wants.

use std::collections::BTreeMap;

use http::request::Parts;
use http::{Method, header};
use serde_json::{Value, json};

use super::kinds::{Kind, KindIndex, Kinds};
use super::refusal::Refusal;
use super::selectors::Selection;

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Replace,
    Patch,
    Delete,
}

/// A request, read.
#[derive(Debug)]
pub(super) struct ApiRequest<'a> {
    pub(super) verb: Verb,
    pub(super) index: KindIndex,
    pub(super) kind: &'a Kind,
    /// `None`: all namespaces, or a cluster-scoped object.
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    query: BTreeMap<String, String>,
    /// Whether only the metadata is wanted.
    pub(super) metadata_only: bool,
    pub(super) content_type: String,
    pub(super) body: Value,
}

impl<'a> ApiRequest<'a> {
    /// `None`: no such path.
    ///
    /// # Errors
    /// The method does not fit the path, or the body is not JSON.
    pub(super) fn read(kinds: &'a Kinds, head: &Parts, body: &[u8]) -> Option<Result<Self, Refusal>> {
        let path: Vec<&str> = head.uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match path.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        // `namespaces/NAME` is the namespace itself, and so are its subresources.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] if *plural != "status" => {
                (Some((*namespace).to_owned()), [&[*plural], rest].concat())
            }
            _ => (None, rest.to_vec()),
        };
        let (plural, name, subresource) = match rest.as_slice() {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some((*name).to_owned()), None),
            [plural, name, subresource] => (*plural, Some((*name).to_owned()), Some((*subresource).to_owned())),
            _ => return None,
        };
        let (index, kind) = kinds.find(group, version, plural)?;
        if kind.namespaced != namespace.is_some() && (name.is_some() || !kind.namespaced) {
            return None;
        }
        let query = query(head);
        let is_watch = query.get("watch").is_some_and(|watch| watch == "true" || watch == "1");
        let verb = match (&head.method, name.is_some()) {
            (&Method::GET, true) => Verb::Get,
            (&Method::GET, false) if is_watch => Verb::Watch,
            (&Method::GET, false) => Verb::List,
            (&Method::POST, false) => Verb::Create,
            (&Method::POST, true) if subresource.is_some() => Verb::Create,
            (&Method::PUT, true) => Verb::Replace,
            (&Method::PATCH, true) => Verb::Patch,
            (&Method::DELETE, true) => Verb::Delete,
            _ => return Some(Err(Refusal::method_not_allowed())),
        };
        let body = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(body) };
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Some(body.map_err(|error| Refusal::bad_request(error.to_string())).map(|body| Self {
            verb,
            index,
            kind,
            namespace,
            name,
            subresource,
            query,
            metadata_only: header(header::ACCEPT).contains("as=PartialObjectMetadata"),
            content_type: header(header::CONTENT_TYPE).to_owned(),
            body,
        }))
    }

    /// A parameter. Absent and empty are the same.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that is a number.
    ///
    /// # Errors
    /// 400: it is not a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let refused = |text: &str| match name {
            "resourceVersion" => format!(
                "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ),
            _ => format!("invalid {name}: {text:?}"),
        };
        let parse = |text: &str| text.parse().map_err(|_| Refusal::bad_request(refused(text)));
        self.parameter(name).map(parse).transpose()
    }

    /// The label and field selectors.
    pub(super) fn selection(&self) -> Result<Selection, Refusal> {
        let parameter = |name| self.parameter(name).unwrap_or_default();
        Selection::read(self.kind, parameter("labelSelector"), parameter("fieldSelector"))
    }

    /// Whether an object of its kind is in its namespace.
    pub(super) fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

fn query(head: &Parts) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://world{}", head.uri.path_and_query().map_or("/", |it| it.as_str())));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}
