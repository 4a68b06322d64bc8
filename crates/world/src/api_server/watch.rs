//! Watches: the changes since a version, as a body that goes on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::kinds::KindIndex;
use super::read::shown;
use super::refusal::Refusal;
use super::request::ApiRequest;
use super::selectors::Selection;
use super::store::{Change, Store};
use super::{AnswerBody, Shared};

/// How long a watch lasts that names no time.
const DEFAULT_TIMEOUT: u64 = 1800;
/// How often a watch without changes shows its version.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);

/// One watch.
struct Watch {
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    index: KindIndex,
    api_version: String,
    kind: String,
    namespace: Option<String>,
    selection: Selection,
    metadata_only: bool,
    /// Everything up to this version was shown.
    version: u64,
    /// Events that are not sent yet.
    events: VecDeque<Value>,
    bookmarks: bool,
    next_bookmark: Instant,
    until: Instant,
    is_over: bool,
}

/// The body of a watch.
///
/// # Errors
/// The request is not valid. That the version is too old is an event of the watch.
pub(super) fn watch(shared: &Arc<Shared>, store: &Store, request: &ApiRequest<'_>) -> Result<AnswerBody, Refusal> {
    if request.parameter("sendInitialEvents").is_some() {
        return Err(Refusal::bad_request(
            "sendInitialEvents: Forbidden: this API server does not simulate it".to_owned(),
        ));
    }
    let since = request.number("resourceVersion")?.filter(|version| *version > 0);
    if let Some(since) = since.filter(|since| *since > store.version()) {
        return Err(Refusal::too_large_version(since, store.version()));
    }
    let timeout = Duration::from_secs(request.number("timeoutSeconds")?.unwrap_or(DEFAULT_TIMEOUT));
    let mut watch = Watch {
        shared: Arc::clone(shared),
        changed: shared.changed.subscribe(),
        index: request.index,
        api_version: request.kind.api_version(),
        kind: request.kind.name.clone(),
        namespace: request.namespace.clone(),
        selection: request.selection()?,
        metadata_only: request.metadata_only,
        version: since.unwrap_or(store.version()),
        events: VecDeque::new(),
        bookmarks: request.parameter("allowWatchBookmarks").is_some_and(|allowed| allowed == "true"),
        next_bookmark: Instant::now() + BOOKMARK_EVERY,
        until: Instant::now() + timeout,
        is_over: false,
    };
    if since.is_none() {
        // Without a version, it starts with the objects that exist.
        let existing = store.all(request.index).filter(|(key, object)| watch.shows(&key.1, object));
        watch.events = existing.map(|(_, object)| watch.event("ADDED", object, None)).collect();
    }
    let frames = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        let line = Bytes::from(format!("{event}\n"));
        Some((Ok::<_, Infallible>(Frame::data(line)), watch))
    });
    Ok(BodyExt::boxed_unsync(StreamBody::new(frames)))
}

impl Watch {
    /// The next event. `None`: the time of the watch is over.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            self.read();
            if !self.events.is_empty() || self.is_over {
                continue;
            }
            tokio::select! {
                biased;
                changed = self.changed.changed() => self.is_over = changed.is_err(),
                () = tokio::time::sleep_until(self.next_bookmark.min(self.until)) => {
                    self.is_over = Instant::now() >= self.until;
                    self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                    // The last one lets the next watch start where this one ends.
                    self.events.extend(self.bookmarks.then(|| self.bookmark()));
                }
            }
        }
    }

    /// Takes over the changes since the last read.
    fn read(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.changed.mark_unchanged();
        let store = shared.store();
        match store.since(self.version) {
            Ok(changes) => {
                let changes = changes.filter(|change| change.key.0 == self.index);
                let events: Vec<Value> = changes.filter_map(|change| self.change(change)).collect();
                self.events.extend(events);
                self.version = store.version();
            }
            Err(refusal) => {
                self.events.push_back(json!({"type": "ERROR", "object": refusal.status()}));
                self.is_over = true;
            }
        }
    }

    /// A change as the watch shows it: an object that the selectors select no more is deleted, as
    /// far as this watch is concerned.
    fn change(&self, change: &Change) -> Option<Value> {
        let selected = |object: &Option<Arc<Value>>| object.clone().filter(|object| self.shows(&change.key.1, object));
        match (selected(&change.before), selected(&change.after)) {
            (None, None) => None,
            (None, Some(after)) => Some(self.event("ADDED", &after, None)),
            (Some(_), Some(after)) => Some(self.event("MODIFIED", &after, None)),
            // As it was when it was last selected.
            (Some(before), None) => Some(self.event("DELETED", &before, Some(change.version))),
        }
    }

    fn shows(&self, namespace: &str, object: &Value) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace) && self.selection.matches(object)
    }

    fn event(&self, kind: &str, object: &Value, version: Option<u64>) -> Value {
        let mut object = shown(object, self.metadata_only);
        if let (Some(version), Some(metadata)) = (version, object.get_mut("metadata")) {
            metadata["resourceVersion"] = json!(version.to_string());
        }
        json!({"type": kind, "object": object})
    }

    fn bookmark(&self) -> Value {
        let metadata = json!({"resourceVersion": self.version.to_string(), "creationTimestamp": null});
        let object = json!({"kind": self.kind, "apiVersion": self.api_version, "metadata": metadata});
        json!({"type": "BOOKMARK", "object": object})
    }
}
