//! A source for one test: a small HTTP server between the controller and the real Prometheus. It
//! counts queries, can give wrong answers, and can require TLS and a token.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{PATIENCE, Room, eventually};
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// More than the controller reads of one answer.
const TEN_MEGABYTES: usize = 10 << 20;
const POLL: Duration = Duration::from_millis(20);

/// How long a slow answer takes.
const SLOW: Duration = Duration::from_millis(350);

/// How an answer is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Not at all.
    Honest,
    /// The answers are true, and each takes a while.
    Slow,
    /// There is no answer.
    Hang,
    /// The kernel accepts the connection, and nothing reads from it.
    Paused,
    /// The connection is closed without an answer.
    Cut,
    /// An HTML page.
    Html,
    /// Ten megabytes.
    Huge,
    /// No value is a number.
    NotANumber,
    /// A scalar.
    Scalar,
    /// A matrix.
    Matrix,
    /// It has a warning that something is missing.
    Warning,
    /// An error status.
    Status(u16),
    /// No instant selector returns a sample. Only functions over a range do.
    NoInstant,
}

/// The server and its `ClusterPrometheusSource`. Both are removed when it is dropped.
pub(crate) struct Source {
    name: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
    delete: std::process::Command,
}

/// What a client must have.
struct Guard {
    tls: TlsAcceptor,
    token: &'static str,
}

struct Shared {
    guard: Option<Guard>,
    upstream: String,
    http: reqwest::Client,
    lie: Mutex<Lie>,
    asked: Mutex<BTreeMap<String, usize>>,
    requests: Mutex<usize>,
}

impl Source {
    /// A server that pods can reach, and its `ClusterPrometheusSource`. Its answers are correct at
    /// first.
    ///
    /// # Errors
    /// When it cannot listen, or the object is refused.
    pub(crate) async fn new(room: &Room<'_>, suffix: &str) -> Result<Self> {
        Self::start(room, suffix, "http", json!({}), None).await
    }

    /// The same with TLS and a required token. The object has the certificate, and `secret` as the
    /// name of the token's Secret.
    ///
    /// # Errors
    /// Those of [`Source::new`].
    pub(crate) async fn guarded(room: &Room<'_>, suffix: &str, token: &'static str, secret: &str) -> Result<Self> {
        let host = room.ground.testbed.layout().host_ip();
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([host])?;
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key)?;
        let guard = Guard { tls: TlsAcceptor::from(Arc::new(config)), token };
        let spec = json!({"caBundle": cert.pem(), "bearerTokenSecret": {"name": secret}});
        Self::start(room, suffix, "https", spec, Some(guard)).await
    }

    async fn start(room: &Room<'_>, suffix: &str, scheme: &str, mut spec: Value, guard: Option<Guard>) -> Result<Self> {
        let testbed = room.ground.testbed;
        let listener = TcpListener::bind((testbed.layout().host_ip(), 0)).await.context("cannot listen for queries")?;
        spec["url"] = json!(format!("{scheme}://{}", listener.local_addr()?));
        spec["scrapeInterval"] = json!("2s");
        let name = format!("{}-{suffix}", room.name());
        let object = json!({
            "apiVersion": "prunella.dev/v1alpha1",
            "kind": "ClusterPrometheusSource",
            "metadata": {"name": name},
            "spec": spec,
        });
        testbed.apply(&object.to_string()).await?;
        let shared = Arc::new(Shared {
            guard,
            upstream: testbed.prometheus_url(),
            http: reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build()?,
            lie: Mutex::new(Lie::Honest),
            asked: Mutex::default(),
            requests: Mutex::default(),
        });
        let mut delete = testbed.kubectl_command();
        delete.args(["delete", "clusterprometheussource", "--wait=false", "--ignore-not-found", &name]);
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { name, shared, serving, delete })
    }

    /// The name of the `ClusterPrometheusSource`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a policy use this source.
    pub(crate) fn ask_by(&self, policy: &mut Value) {
        policy["spec"]["condition"]["promql"]["source"] = json!({"name": self.name});
    }

    /// Changes the answers from now on.
    pub(crate) fn answer_with(&self, lie: Lie) {
        *lock(&self.shared.lie) = lie;
    }

    /// How many instant queries were sent.
    pub(crate) fn requests(&self) -> usize {
        *lock(&self.shared.requests)
    }

    /// How often exactly this query was sent.
    pub(crate) fn asked(&self, query: &str) -> usize {
        lock(&self.shared.asked).get(query).copied().unwrap_or_default()
    }

    /// Waits until exactly this query was sent this many more times.
    ///
    /// # Errors
    /// When that takes too long.
    pub(crate) async fn asked_again(&self, query: &str, times: usize) -> Result<()> {
        let before = self.asked(query);
        eventually(PATIENCE, &format!("{query} to be sent {times} more times"), async || {
            let since = self.asked(query) - before;
            ensure!(since >= times, "it was sent {since} times");
            Ok(())
        })
        .await
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.serving.abort();
        // Fails only if the testbed is gone.
        let _ = self.delete.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        while *lock(&shared.lie) == Lie::Paused {
            tokio::time::sleep(POLL).await;
        }
        let Ok((connection, _)) = listener.accept().await else { return };
        let shared = Arc::clone(&shared);
        // The client notices a broken connection.
        tokio::spawn(async move {
            drop(match &shared.guard {
                None => converse(connection, &shared).await,
                Some(guard) => match guard.tls.accept(connection).await {
                    Ok(connection) => converse(connection, &shared).await,
                    Err(error) => Err(error.into()),
                },
            });
        });
    }
}

/// Answers one request.
async fn converse(mut connection: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) -> Result<()> {
    let (head, body) = read(&mut connection).await?;
    // `head` is in lower case, and so are the paths of the API.
    let path = head.split_whitespace().nth(1).context("no path")?.to_owned();
    let query = query_of(&body);
    if path.ends_with("/query") {
        *lock(&shared.requests) += 1;
        *lock(&shared.asked).entry(query.clone()).or_default() += 1;
    }
    let lie = *lock(&shared.lie);
    let wanted = shared.guard.as_ref().map(|guard| format!("authorization: bearer {}", guard.token));
    let (status, kind, answer) = match lie {
        _ if wanted.is_some_and(|wanted| !head.lines().any(|line| line == wanted)) => {
            (401, "text/plain", b"no".to_vec())
        }
        Lie::Hang | Lie::Paused => {
            while *lock(&shared.lie) == lie {
                tokio::time::sleep(POLL).await;
            }
            return Ok(());
        }
        Lie::Cut => return Ok(()),
        Lie::Html => (200, "text/html", b"<html><body>Please sign in</body></html>".to_vec()),
        Lie::Huge => (200, "application/json", vec![b' '; TEN_MEGABYTES]),
        Lie::Scalar => (200, "application/json", answer("scalar", &json!([1, "9"]))),
        Lie::Matrix => (200, "application/json", answer("matrix", &json!([{"metric": {}, "values": [[1, "9"]]}]))),
        Lie::Status(status) => (status, "text/plain", b"no".to_vec()),
        Lie::NoInstant if path.ends_with("/query") && !query.contains('[') => {
            (200, "application/json", answer("vector", &json!([])))
        }
        Lie::Slow => {
            tokio::time::sleep(SLOW).await;
            forward(shared, &path, body, Lie::Honest).await?
        }
        Lie::Honest | Lie::NotANumber | Lie::Warning | Lie::NoInstant => forward(shared, &path, body, lie).await?,
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(&answer).await?;
    // Also ends a TLS connection properly.
    connection.shutdown().await?;
    Ok(())
}

async fn forward(shared: &Shared, path: &str, body: Vec<u8>, lie: Lie) -> Result<(u16, &'static str, Vec<u8>)> {
    let url = format!("{}{path}", shared.upstream);
    let request = if body.is_empty() { shared.http.get(url) } else { shared.http.post(url).body(body) };
    let response = request.header("content-type", "application/x-www-form-urlencoded").send().await?;
    let status = response.status().as_u16();
    let mut answer = response.bytes().await?.to_vec();
    if lie != Lie::Honest {
        let mut changed: Value = serde_json::from_slice(&answer)?;
        match lie {
            Lie::Warning => changed["warnings"] = json!(["a part of the data could not be read"]),
            Lie::NotANumber => {
                let series = changed.pointer_mut("/data/result").and_then(Value::as_array_mut);
                for one in series.into_iter().flatten() {
                    one["value"][1] = json!("NaN");
                }
            }
            _ => {}
        }
        answer = changed.to_string().into_bytes();
    }
    Ok((status, "application/json", answer))
}

fn answer(kind: &str, result: &Value) -> Vec<u8> {
    json!({"status": "success", "data": {"resultType": kind, "result": result}}).to_string().into_bytes()
}

/// Head, in lower case, and body of one request.
async fn read(connection: &mut (impl AsyncRead + Unpin)) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        read_more(connection, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
    while bytes.len() < end + length {
        read_more(connection, &mut bytes).await?;
    }
    Ok((head, bytes[end..].to_vec()))
}

async fn read_more(connection: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Result<()> {
    ensure!(connection.read_buf(bytes).await? > 0, "the request is incomplete");
    Ok(())
}

/// The field `query` of a form.
fn query_of(body: &[u8]) -> String {
    let form = reqwest::Url::parse(&format!("http://form/?{}", String::from_utf8_lossy(body)));
    let found = form.ok().and_then(|form| form.query_pairs().find(|(name, _)| name == "query").map(|(_, v)| v.into()));
    found.unwrap_or_default()
}
