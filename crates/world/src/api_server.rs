//! An API server in this process: a [`tower::Service`] behind [`kube::Client::new`]. It serves what
//! the controller uses, and that as the real one does.
//!
//! # Served
//! - Reads: get, list with pages of one version, label and field selectors (also the selectable
//!   fields of our kinds), objects as metadata alone, `resourceVersion` and its match.
//! - Watches: from a version or from the objects that exist, with selectors, bookmarks, a time limit,
//!   and 410 for a version that is too old.
//! - Writes: create, replace, merge patch, JSON patch with tests, server-side apply of a status, the
//!   subresources `status`, `scale` and `eviction`, deletion with preconditions, finalizers and grace.
//!   Custom resources get the defaults of their schema and are validated by it.
//! - Every answer has the `Date` of the world's clock.
//!
//! # Not served
//! Rules in CEL except that a record never changes, admission, defaults and most validation of built-in
//! kinds, authorisation, conversion, managed fields, garbage collection, `sendInitialEvents`, dry runs,
//! tables. Lists inside an applied status are replaced as a whole.
//!
//! The suite `tests/tests/api_server` compares it with the real one, field by field.

mod audit;
mod builtin;
mod evict;
mod from_inside;
mod kinds;
mod log;
mod object_meta;
mod patch;
mod read;
mod refusal;
mod request;
mod schema;
mod selectors;
mod store;
mod validate;
mod watch;
mod write;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::client::{Body, DynBody};
use prunella_controller::ApiServerService;
use serde_json::{Value, json};
use tower::util::BoxService;
use tower::{BoxError, Service, service_fn};

pub use audit::{Audit, AuditEntry, Sender};
pub(crate) use evict::{is_ready, selects};
pub(crate) use log::path_of;
pub use log::{LoggedRequest, RequestLog};

use crate::chance::Chance;
use crate::time::WorldClock;
use kinds::Kinds;
use patch::PatchKind;
use refusal::Refusal;
use request::{ApiRequest, Verb};
use store::{ObjectKey, Store};
use write::{Part, WriteContext, Written};

/// The time from a request to its effect, at least and at most, in milliseconds.
const LATENCY: (u64, u64) = (1, 5);
/// For how long the real server repeats an eviction whose pod is another one, before it says so.
const EVICTION_RETRIES: Duration = Duration::from_secs(10);

/// The API server. All copies are the same server.
#[derive(Debug, Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
}

/// The state of the server.
#[derive(Debug)]
struct Shared {
    kinds: Kinds,
    store: Mutex<Store>,
    /// The version of the newest change.
    changed: tokio::sync::watch::Sender<u64>,
    clock: WorldClock,
    chance: Chance,
    log: RequestLog,
    audit: Audit,
}

impl Shared {
    /// Tells the watches, and the audit, what has changed after `version`.
    fn publish(&self, store: &Store, version: u64, by: Option<&Sender>) {
        for change in store.since(version).into_iter().flatten() {
            let (index, namespace, name) = change.key.clone();
            let kind = self.kinds.name(index).to_owned();
            let (before, after) = (change.before.clone(), change.after.clone());
            self.audit.note(AuditEntry { at: self.clock.now(), by: by.cloned(), kind, namespace, name, before, after });
        }
        self.changed.send_replace(store.version());
    }

    // Without a second thread the lock is never waited for. After a panic a test has failed anyway.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a request: a status code and a body.
type Answer = Result<(u16, AnswerBody), Refusal>;

/// The body of an answer: at once, or as long as a watch goes on.
pub type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

impl ApiServer {
    /// A server without objects, which also serves the kinds of `definitions`.
    #[must_use]
    pub fn new(
        definitions: impl IntoIterator<Item = CustomResourceDefinition>,
        clock: WorldClock,
        chance: Chance,
    ) -> Self {
        let shared = Shared {
            kinds: Kinds::new(definitions),
            store: Mutex::default(),
            changed: tokio::sync::watch::Sender::new(0),
            clock,
            chance,
            log: RequestLog::default(),
            audit: Audit::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A client of this server. It never retries.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// This server as the controller takes it.
    #[must_use]
    pub fn service(&self) -> ApiServerService {
        let server = self.clone();
        BoxService::new(service_fn(move |request| {
            let server = server.clone();
            async move {
                let answer = server.answer(request).await;
                let failing = |body: AnswerBody| body.map_err(|never: Infallible| -> BoxError { match never {} });
                Ok(answer.map(|body| Box::new(failing(body)) as Box<DynBody>))
            }
        }))
    }

    /// The requests of all clients so far.
    #[must_use]
    pub fn log(&self) -> &RequestLog {
        &self.shared.log
    }

    /// All changes so far, and who made them.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.shared.audit
    }

    /// Forgets the history, as a compaction of etcd does: watches and lists of earlier versions are
    /// answered with 410.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Waits for a change after `version` of an object that the cluster's own controllers know. The
    /// Lease, Events and custom resources change more often, and concern none of them.
    pub(crate) async fn cluster_changed_since(&self, mut version: u64) {
        let mut changed = self.shared.changed.subscribe();
        loop {
            // The sender lives as long as `self`: the wait cannot fail.
            let _ = changed.wait_for(|newest| *newest > version).await;
            let store = self.shared.store();
            let concerns = |change: &store::Change| self.shared.kinds.is_of_cluster(change.key.0);
            if store.since(version).is_ok_and(|mut changes| changes.any(concerns)) {
                return;
            }
            version = store.version();
        }
    }

    /// The version of the newest change.
    pub(crate) fn version(&self) -> u64 {
        self.shared.store().version()
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
        let line = self.shared.log.begin(&head);
        let (least, most) = LATENCY;
        tokio::time::sleep(Duration::from_millis(self.shared.chance.between(&line, least, most))).await;
        let answer = match ApiRequest::read(&self.shared.kinds, &head, &body) {
            None if head.uri.path() == "/version" => Ok((200, text(&version()))),
            None => Ok((404, whole("404 page not found\n".to_owned()))),
            Some(Err(refusal)) => Err(refusal),
            Some(Ok(request)) => self.serve(&request, head.extensions.get()),
        };
        let (code, body) = answer.unwrap_or_else(|refusal| (refusal.code, text(&refusal.status())));
        if code == 409 && head.uri.path().ends_with("/eviction") {
            tokio::time::sleep(EVICTION_RETRIES).await;
        }
        self.shared.log.end(self.shared.clock.elapsed(), line, code);
        let date = self.shared.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let response = Response::builder()
            .status(code)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::DATE, date)
            .body(body);
        // Nothing in it comes from the request, so it is always valid.
        response.unwrap_or_else(|_| Response::new(whole(String::new())))
    }

    fn serve(&self, request: &ApiRequest<'_>, sender: Option<&Sender>) -> Answer {
        let mut store = self.shared.store();
        let version = store.version();
        let context = self.context(request.index, request.kind);
        let namespace = request.namespace.clone().unwrap_or_default();
        let key = context.key(&namespace, request.name.as_deref().unwrap_or_default());
        let answer = match request.verb {
            Verb::List => read::list(&store, request).map(|list| (200, text(&list))),
            Verb::Watch => watch::watch(&self.shared, &store, request).map(|body| (200, body)),
            Verb::Get => get(&store, request, &key),
            Verb::Create if request.subresource.is_some() => self.evict(&mut store, request, &context, &key),
            Verb::Create => {
                self.create(&mut store, &context, &namespace, request.body.clone()).map(|it| (201, text(&it)))
            }
            Verb::Replace => check_subresource(request).and_then(|()| part(request)).and_then(|part| {
                let written = context.replace(&mut store, &key, request.body.clone(), part)?;
                Ok((if matches!(written, Written::Created(_)) { 201 } else { 200 }, text(written.object())))
            }),
            Verb::Patch => patch(&mut store, request, &context, &key),
            Verb::Delete => context
                .delete(&mut store, &key, &request.body)
                .map(|written| (200, text(&deleted(request.kind, &written)))),
        };
        self.shared.publish(&store, version, sender);
        answer
    }

    fn context<'a>(&self, index: kinds::KindIndex, kind: &'a kinds::Kind) -> WriteContext<'a> {
        WriteContext { index, kind, now: self.shared.clock.now(), chance: self.shared.chance, by_patch: false }
    }

    fn create(
        &self,
        store: &mut Store,
        context: &WriteContext<'_>,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        if let (true, Some((index, kind))) = (context.kind.namespaced, self.shared.kinds.of::<Namespace>()) {
            let key = (index, String::new(), namespace.to_owned());
            store.get(&key).ok_or_else(|| Refusal::not_found(kind, namespace))?;
        }
        context.create(store, namespace, object)
    }

    fn evict(
        &self,
        store: &mut Store,
        request: &ApiRequest<'_>,
        context: &WriteContext<'_>,
        key: &ObjectKey,
    ) -> Answer {
        if (request.kind.plural.as_str(), request.subresource.as_deref()) != ("pods", Some("eviction")) {
            return Err(Refusal::method_not_allowed());
        }
        evict::evict(store, &self.shared.kinds, context, key, &request.body)?;
        Ok((
            201,
            text(&json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})),
        ))
    }
}

fn get(store: &Store, request: &ApiRequest<'_>, key: &ObjectKey) -> Answer {
    check_subresource(request)?;
    let object = read::get(store, request, key)?;
    match request.subresource.as_deref() {
        Some("scale") => Ok((200, text(&patch::scale(&object)))),
        _ => Ok((200, text(&object))),
    }
}

fn patch(store: &mut Store, request: &ApiRequest<'_>, context: &WriteContext<'_>, key: &ObjectKey) -> Answer {
    let how = PatchKind::of(&request.content_type)?;
    check_subresource(request)?;
    if how == PatchKind::Apply && request.parameter("fieldManager").is_none() {
        return Err(Refusal::no_manager());
    }
    let before = store.get(key).cloned().ok_or_else(|| Refusal::not_found(request.kind, &key.2))?;
    let body = &request.body;
    let next = match (how, request.subresource.as_deref()) {
        (PatchKind::Apply, Some("status")) => {
            let manager = request.parameter("fieldManager").unwrap_or_default();
            patch::applied(store, key, &before, manager, body)?
        }
        (PatchKind::Apply, _) => return Err(Refusal::unsupported("server-side apply except of a status")),
        (how, Some("scale")) if request.kind.has_scale => {
            let scale = patch::patched(&patch::scale(&before), how, body.clone())?;
            let written = context.replace(store, key, patch::scaled(&before, &scale), Part::Main)?;
            return Ok((200, text(&patch::scale(written.object()))));
        }
        (how, _) => patch::patched(&before, how, body.clone())?,
    };
    let context = WriteContext { by_patch: true, ..*context };
    let written = context.replace(store, key, next, part(request)?)?;
    Ok((200, text(&read::shown(written.object(), request.metadata_only))))
}

/// Checks that the kind has this subresource.
fn check_subresource(request: &ApiRequest<'_>) -> Result<(), Refusal> {
    let name = request.name.as_deref().unwrap_or_default();
    match request.subresource.as_deref() {
        None => Ok(()),
        Some("status") if request.kind.has_status => Ok(()),
        Some("scale") if request.kind.has_scale => Ok(()),
        // A custom resource is looked for first.
        Some(_) if request.kind.is_custom() => Err(Refusal::not_found(request.kind, name)),
        Some(_) => Err(Refusal::no_such_path()),
    }
}

/// The part of the object that the request is about.
fn part(request: &ApiRequest<'_>) -> Result<Part, Refusal> {
    match request.subresource.as_deref() {
        None => Ok(Part::Main),
        Some("status") => Ok(Part::Status),
        Some(_) => Err(Refusal::no_such_path()),
    }
}

/// What a deletion answers: the object while it still exists, otherwise that it is gone.
fn deleted(kind: &kinds::Kind, written: &Written) -> Value {
    match written {
        Written::Removed(object) if kind.name == "Pod" => (**object).clone(),
        Written::Created(object) | Written::Kept(object) => (**object).clone(),
        Written::Removed(object) => json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {
                "name": object["metadata"]["name"], "group": (!kind.group.is_empty()).then_some(&kind.group),
                "kind": kind.plural, "uid": object["metadata"]["uid"],
            },
        }),
    }
}

/// The version of Kubernetes that this server is like.
fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "",
    })
}

fn text(body: &Value) -> AnswerBody {
    whole(body.to_string())
}

fn whole(body: String) -> AnswerBody {
    Full::new(Bytes::from(body)).boxed_unsync()
}

impl Service<Request<Body>> for ApiServer {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.answer(request).await) })
    }
}
