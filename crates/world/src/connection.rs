//! The connections of a process, with all that goes wrong on them.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::{Body, DynBody};
use prunella_controller::ApiServerService;
use prunella_signals::Exchange;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};
use tower::util::BoxService;
use tower::{BoxError, service_fn};

use crate::api_server::{AnswerBody, ApiServer, Sender, path_of};
use crate::faults::{QueryFate, ReadFate, WatchFate, WriteFate};
use crate::life::{Life, SourceState};
use crate::prometheus::PrometheusServer;
use crate::time::WorldClock;

type Answered = Result<Response<Box<DynBody>>, BoxError>;

/// The way of one process to the API server.
#[derive(Debug, Clone)]
pub(crate) struct ApiConnection {
    pub(crate) server: ApiServer,
    pub(crate) clock: WorldClock,
    pub(crate) life: Arc<Life>,
}

impl ApiConnection {
    /// The connection as the controller takes it.
    pub(crate) fn service(&self) -> ApiServerService {
        let connection = self.clone();
        BoxService::new(service_fn(move |request| connection.clone().send(request)))
    }

    async fn send(self, mut request: Request<Body>) -> Answered {
        // Before a pause: what the process has checked, it has checked by now.
        let sender = Sender { name: Arc::clone(&self.life.name), sent: self.clock.now() };
        request.extensions_mut().insert(sender);
        self.life.goes_on().await;
        let line = self.life.line(&format!("{} {}", request.method(), path_of(request.uri())));
        let fates = self.life.fates();
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let answer = match *request.method() {
            Method::GET if is_watch => self.watch(request, fates.watch(&line)).await,
            Method::GET => self.read(request, fates.read(&line)).await,
            _ => self.write(request, fates.write(&line)).await,
        };
        self.life.goes_on().await;
        answer
    }

    async fn write(&self, request: Request<Body>, fate: WriteFate) -> Answered {
        match fate {
            WriteFate::Answered => Ok(whole(self.arrive(request).await)),
            WriteFate::KilledBefore => {
                self.life.met("killed before a write");
                self.life.kill();
                pending().await
            }
            WriteFate::KilledAfter => {
                self.life.met("killed after a write");
                self.arrive(request).await;
                self.life.kill();
                pending().await
            }
            WriteFate::Lost { told } => {
                self.life.met("lost writes");
                reset(told).await
            }
            WriteFate::AnswerLost { told } => {
                self.life.met("lost answers");
                self.arrive(request).await;
                reset(told).await
            }
            WriteFate::Delayed { told, arrives } => {
                self.life.met("delayed writes");
                let server = self.server.clone();
                tokio::spawn(async move {
                    sleep(arrives).await;
                    server.answer(request).await;
                });
                reset(told).await
            }
            WriteFate::Refused(code) => {
                self.life.met("refused writes");
                Ok(refused(code))
            }
        }
    }

    /// A write on its way arrives, whatever becomes of its sender.
    async fn arrive(&self, request: Request<Body>) -> Response<AnswerBody> {
        let server = self.server.clone();
        match tokio::spawn(async move { server.answer(request).await }).await {
            Ok(answer) => answer,
            // The server has panicked, and the panic is counted.
            Err(_) => pending().await,
        }
    }

    async fn read(&self, request: Request<Body>, fate: ReadFate) -> Answered {
        match fate {
            ReadFate::Answered => Ok(whole(self.server.answer(request).await)),
            ReadFate::Reset { told } => {
                self.life.met("reads without an answer");
                reset(told).await
            }
            ReadFate::Refused(code) => {
                self.life.met("refused reads");
                Ok(refused(code))
            }
            ReadFate::CutShort => {
                self.life.met("answers cut short");
                let (head, body) = self.server.answer(request).await.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let half = body.slice(..body.len() / 2);
                let frames = stream::iter([Ok(Frame::data(half)), Err(broken())]);
                Ok(Response::from_parts(head, Box::new(StreamBody::new(frames)) as Box<DynBody>))
            }
        }
    }

    async fn watch(&self, request: Request<Body>, fate: WatchFate) -> Answered {
        let (head, body) = self.server.answer(request).await.into_parts();
        let began = Instant::now();
        let life = Arc::clone(&self.life);
        let frames = stream::unfold(Some((body, life)), move |state| async move {
            let (mut body, life) = state?;
            let frame = tokio::select! {
                frame = body.frame() => frame?,
                () = until(began, fate.cut) => {
                    life.met("watches cut");
                    return Some((Err(broken()), None));
                }
            };
            if let Some((_, to)) = fate.held.filter(|(from, _)| began + *from <= Instant::now()) {
                life.met("watches held");
                sleep_until(began + to).await;
            }
            life.sees().await;
            Some((frame.map_err(|never: Infallible| -> BoxError { match never {} }), Some((body, life))))
        });
        Ok(Response::from_parts(head, Box::new(StreamBody::new(frames.boxed())) as Box<DynBody>))
    }
}

async fn until(began: Instant, after: Option<Duration>) {
    match after {
        Some(after) => sleep_until(began + after).await,
        None => pending().await,
    }
}

fn whole(answer: Response<AnswerBody>) -> Response<Box<DynBody>> {
    let failing = |body: AnswerBody| body.map_err(|never: Infallible| -> BoxError { match never {} });
    answer.map(|body| Box::new(failing(body)) as Box<DynBody>)
}

async fn reset(told: Duration) -> Answered {
    sleep(told).await;
    Err(broken())
}

fn broken() -> BoxError {
    Box::new(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer"))
}

fn refused(code: u16) -> Response<Box<DynBody>> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": match code { 429 => "TooManyRequests", 503 => "ServiceUnavailable", _ => "InternalError" },
        "message": "the server is unwell",
    });
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never: Infallible| -> BoxError { match never {} });
    let mut response = Response::new(Box::new(body) as Box<DynBody>);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}

/// The way of one process to the source.
#[derive(Debug, Clone)]
pub(crate) struct SourceConnection {
    pub(crate) prometheus: PrometheusServer,
    pub(crate) life: Arc<Life>,
}

impl Exchange for SourceConnection {
    fn send(&self, request: reqwest::Request) -> BoxFuture<'static, Result<reqwest::Response, reqwest::Error>> {
        let connection = self.clone();
        async move {
            let life = &connection.life;
            life.goes_on().await;
            let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
            let query = query_of(&String::from_utf8_lossy(body));
            let told = life.line(&format!("{} {query}", request.url().path()));
            let fate = match life.source() {
                SourceState::Fine => life.fates().query(&told),
                SourceState::Down => QueryFate::Refused(503),
                SourceState::Empty => QueryFate::Empty,
                SourceState::Partial => QueryFate::Partial,
            };
            if let QueryFate::Late(after) = fate {
                sleep(after).await;
            }
            let (code, body) = connection.prometheus.answer(&request).await;
            if fate != QueryFate::Answered {
                life.met("queries without a right answer");
            }
            let (code, body) = match fate {
                QueryFate::Answered | QueryFate::Late(_) => (code, body.to_string()),
                QueryFate::Refused(code) => (code, "<html>out of order</html>".to_owned()),
                QueryFate::Empty => (code, emptied(body).to_string()),
                QueryFate::Partial => (code, marked(body).to_string()),
            };
            life.goes_on().await;
            let mut response = Response::new(body);
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            Ok(response.into())
        }
        .boxed()
    }
}

/// The query in the form of a request: its other fields name times.
fn query_of(form: &str) -> String {
    form.split('&').find(|field| field.starts_with("query=")).unwrap_or_default().to_owned()
}

fn emptied(mut body: serde_json::Value) -> serde_json::Value {
    if let Some(result) = body.pointer_mut("/data/result").filter(|result| result.is_array()) {
        *result = json!([]);
    }
    body
}

fn marked(mut body: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("warnings".to_owned(), json!(["a store could not be reached: the answer is incomplete"]));
    }
    body
}
