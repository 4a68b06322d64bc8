//! One request on its way: met by the script, then passed on or not.

use super::Shared;
use super::journal::{Entry, Fell};
use super::request::Asked;
use super::script::{Fate, Kill, Order};
use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch;

type Body = UnsyncBoxBody<Bytes, reqwest::Error>;

/// These are between two ends of one connection, and there are two here. The
/// length is of a body that is sent on in pieces.
const OF_THE_CONNECTION: [HeaderName; 6] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::HOST, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];

/// Where the requests of one connection come by.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: IpAddr,
}

/// The connection is closed without an answer.
#[derive(Debug)]
pub(super) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed without an answer")
    }
}

impl std::error::Error for Closed {}

/// A request, read to its end.
#[derive(Debug)]
struct Taken {
    asked: Asked,
    headers: HeaderMap,
    body: Bytes,
}

impl Passage {
    /// Takes a request and answers it, or closes the connection.
    pub(super) async fn take(&self, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let taken = Taken { asked: Asked::new(head.method.as_str(), path), headers: head.headers, body };
        open(&self.shared.paused).await;
        let passing = pass(Arc::clone(&self.shared), self.peer, taken);
        if head.method == Method::GET {
            // Nobody reads on when the client has hung up.
            return passing.await;
        }
        let mut ended = self.shared.ended.subscribe();
        let carried = tokio::spawn(async move {
            tokio::select! {
                answer = passing => answer,
                _ = ended.wait_for(|ended| *ended) => Err(Closed),
            }
        });
        carried.await.unwrap_or(Err(Closed))
    }
}

async fn pass(shared: Arc<Shared>, peer: IpAddr, taken: Taken) -> Result<Response<Body>, Closed> {
    let (number, order) = shared.script().meet(&taken.asked, &taken.body, peer);
    let agent = taken.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let mut entry = Entry {
        at: Timestamp::now(),
        number,
        peer,
        user_agent: agent.to_owned(),
        asked: taken.asked.clone(),
        status: None,
        answered: None,
        fell: None,
        body: if taken.asked.is_change() {
            serde_json::from_slice(&taken.body).unwrap_or_default()
        } else {
            Value::Null
        },
    };
    let answer = match order {
        Some(order) => fall(&shared, &taken, order, &mut entry).await,
        None => forward(&shared, &taken, &mut entry).await,
    };
    entry.answered = answer.as_ref().ok().map(|answer| answer.status().as_u16());
    shared.journal.add(entry);
    answer
}

/// Does with a request what a rule says.
async fn fall(shared: &Arc<Shared>, taken: &Taken, order: Order, entry: &mut Entry) -> Result<Response<Body>, Closed> {
    let applied = if order.fate.applies_first() { Some(arrive(shared, taken, entry).await?) } else { None };
    // Before anybody is told: whoever is to be killed must not go on meanwhile.
    let mut released = shared.released.subscribe();
    let not_killed = match &order.kill {
        Some(who) => end(who).await.err().map(|error| format!("{error:#}")),
        None => None,
    };
    entry.fell = Some(Fell { fate: order.fate, not_killed });
    shared.script().hit(order.rule);
    shared.happened.send_modify(|count| *count += 1);
    match order.fate {
        Fate::Swallow | Fate::ApplyThenDrop => Err(Closed),
        Fate::Answer(status) | Fate::ApplyThenAnswer(status) => made_up(status, &taken.asked),
        Fate::Stall { millis } | Fate::ApplyThenStall { millis } => {
            match millis {
                Some(millis) => {
                    let limit = Duration::from_millis(millis);
                    let _ = tokio::time::timeout(limit, released.changed()).await;
                }
                None => drop(released.changed().await),
            }
            match applied {
                Some(answer) => Ok(answer),
                None => forward(shared, taken, entry).await,
            }
        }
        Fate::Cut => {
            shared.cut.send_modify(|count| *count += 1);
            Err(Closed)
        }
    }
}

/// Passes a request on and reads the answer to its end: it took effect then.
async fn arrive(shared: &Arc<Shared>, taken: &Taken, entry: &mut Entry) -> Result<Response<Body>, Closed> {
    let (head, body) = forward(shared, taken, entry).await?.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    Ok(Response::from_parts(head, whole(body)))
}

async fn forward(shared: &Arc<Shared>, taken: &Taken, entry: &mut Entry) -> Result<Response<Body>, Closed> {
    let Taken { asked, headers, body } = taken;
    let method = asked.method.parse().unwrap_or(Method::GET);
    let mut headers = headers.clone();
    strip(&mut headers);
    let request = shared.upstream.request(method, format!("{}{}", shared.api, asked.path)).headers(headers);
    // An API server that is away closes connections, and so does this.
    let mut answer = request.body(body.clone()).send().await.map_err(|_| Closed)?;
    entry.status = Some(answer.status().as_u16());

    let mut response = Response::new(());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    strip(response.headers_mut());
    let shared = Arc::clone(shared);
    let pieces = answer.bytes_stream().then(move |piece| {
        let shared = Arc::clone(&shared);
        async move {
            open(&shared.paused).await;
            piece
        }
    });
    Ok(response.map(|()| StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()))
}

fn strip(headers: &mut HeaderMap) {
    for name in &OF_THE_CONNECTION {
        headers.remove(name);
    }
}

/// Waits for the end of a pause.
async fn open(paused: &watch::Sender<bool>) {
    // The sender lives as long as this.
    let _ = paused.subscribe().wait_for(|paused| !*paused).await;
}

async fn end(who: &Kill) -> Result<()> {
    match who {
        Kill::Pid(pid) => kill(Pid::from_raw(*pid), Signal::SIGKILL).with_context(|| format!("cannot kill {pid}")),
        Kill::Command(words) => {
            let Some((program, args)) = words.split_first() else { bail!("no command is given") };
            let status = Command::new(program).args(args).status().await.with_context(|| format!("no {program}"))?;
            if !status.success() {
                bail!("{program} ended with {status}");
            }
            Ok(())
        }
    }
}

/// An answer as the API server would give it.
fn made_up(status: u16, asked: &Asked) -> Result<Response<Body>, Closed> {
    let creation = asked.method == Method::POST.as_str() && !asked.resource.contains('/');
    let reason = match status {
        409 if creation => "AlreadyExists",
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("the testbed's proxy answers {status}"), "reason": reason, "code": status,
    });
    let mut answer = Response::builder()
        .status(StatusCode::from_u16(status).map_err(|_| Closed)?)
        .header(header::CONTENT_TYPE, "application/json");
    if status == 429 {
        answer = answer.header(header::RETRY_AFTER, "1");
    }
    answer.body(whole(Bytes::from(body.to_string()))).map_err(|_| Closed)
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}
