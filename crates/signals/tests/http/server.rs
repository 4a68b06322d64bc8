//! Test servers with fixed answers that record their requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use prunella_core::observation::{Answer, Unknown, UnknownReason};
use prunella_signals::{Prometheus, SourceConfig};
use tokio::net::TcpListener;

/// Long enough for any answer on loopback, even on a busy machine.
pub(crate) const AMPLE: Duration = Duration::from_secs(10);
/// For sources that never answer.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// One request as the server received it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// Starts a server that answers every request with `respond`. Returns its URL and the log
/// of its requests.
pub(crate) async fn serve<R>(respond: R) -> (String, Log)
where
    R: Fn(&Asked) -> Response<Body> + Clone + Send + Sync + 'static,
{
    let log = Log::default();
    let record = log.clone();
    let router = Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let asked = Asked { method, uri, headers, body: String::from_utf8_lossy(&body).into_owned() };
        let response = respond(&asked);
        record.lock().unwrap().push(asked);
        async move { response }
    });
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), log)
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) fn response(status: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    response
}

/// A client with the default configuration, modified by `change`.
pub(crate) fn client(url: &str, change: impl FnOnce(&mut SourceConfig)) -> Prometheus {
    install_provider();
    let mut config = SourceConfig::new(url);
    change(&mut config);
    Prometheus::new(config).unwrap()
}

pub(crate) fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
}

/// How the client reads an answer with this status and body.
pub(crate) async fn answer_to(status: u16, body: &'static str) -> Answer {
    let (url, log) = serve(move |_| response(status, body)).await;
    let answer = client(&url, |_| {}).instant("up == 0", AMPLE).await;
    assert_eq!(log.lock().unwrap().len(), 1, "exactly one request, no retry");
    answer
}

/// The message of `answer`, which must be unknown with `reason`. Checks that the message
/// fits into a status.
#[track_caller]
pub(crate) fn unknown(answer: Answer, reason: UnknownReason) -> String {
    let Answer::Unknown(Unknown { reason: got, message }) = answer else {
        panic!("expected {reason}, got {answer:?}");
    };
    assert_eq!(got, reason, "{message}");
    assert!(message.chars().count() <= 256 && !message.contains('\n'), "{message}");
    assert!(!message.contains("127.0.0.1"), "the message contains an address: {message}");
    message
}
