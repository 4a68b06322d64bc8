//! A proxy between clients and the API server, on a real socket: what a
//! client sees when a request is lost, its answer is lost, or its own process
//! is killed at just that point.
//!
//! # Contract
//! - It listens on the host's address on the testbed's network, where pods
//!   reach it, with a certificate of the testbed's own authority: a pod with
//!   `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` set to it takes
//!   it for the API server.
//! - It adds nothing and takes nothing away: bearer tokens pass through, and
//!   watches are streamed. A client certificate does not pass: it proves who
//!   is at this end of the connection only.
//! - Changes are numbered in the order in which they arrived. What no
//!   [`Rule`] is meant for is passed on as it is.
//! - A change is carried through even if its client has hung up meanwhile:
//!   one that was stalled arrives late, as it does on a network.

mod journal;
mod pass;
mod request;
mod script;

pub use journal::{Entry, Fell};
pub use request::Asked;
pub use script::{Fate, Kill, On, Rule};

use crate::layout::Layout;
use crate::testbed::Testbed;
use anyhow::{Context, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use journal::Journal;
use pass::Passage;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use script::Script;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// How a proxy is made.
#[derive(Debug, Clone, Default)]
pub struct ProxyOptions {
    /// Where it listens; 0 for a port that is free.
    pub port: u16,
    /// Resources whose changes are neither numbered nor counted by rules,
    /// such as `leases` and `events`: they come by the clock.
    pub uncounted: Vec<String>,
}

/// A proxy that runs. When it is dropped, all its connections are cut.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// Identifies a rule that was armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleId(u64);

/// What the connections share.
#[derive(Debug)]
struct Shared {
    upstream: reqwest::Client,
    api: String,
    script: Mutex<Script>,
    journal: Journal,
    /// Counts up each time: all connections at that moment are cut.
    cut: watch::Sender<u64>,
    /// Counts up each time: all requests that are stalled at that moment go on.
    released: watch::Sender<u64>,
    /// While true, nothing goes through in either direction.
    paused: watch::Sender<bool>,
    /// Counts up with everything that a rule did.
    happened: watch::Sender<u64>,
    ended: watch::Sender<bool>,
}

impl Testbed {
    /// Stands a proxy before the API server.
    ///
    /// # Errors
    /// When the port is taken or the certificate cannot be read.
    pub async fn proxy(&self, options: ProxyOptions) -> Result<Proxy> {
        let layout = self.layout();
        let acceptor = acceptor(layout)?;
        let host = layout.host_ip();
        let listener = TcpListener::bind((host.as_str(), options.port))
            .await
            .with_context(|| format!("cannot listen on {host}:{}: choose another port", options.port))?;
        let shared = Arc::new(Shared {
            upstream: upstream(layout)?,
            api: layout.api_url(),
            script: Mutex::new(Script::new(options.uncounted)),
            journal: Journal::default(),
            cut: watch::Sender::new(0),
            released: watch::Sender::new(0),
            paused: watch::Sender::new(false),
            happened: watch::Sender::new(0),
            ended: watch::Sender::new(false),
        });
        let address = listener.local_addr().context("the proxy has no address")?;
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Proxy { address, shared, accepting })
    }
}

impl Proxy {
    /// Where it listens, from the host and from every pod.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL, `https://…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Sets a rule beside those that are set. It counts from now on.
    #[expect(clippy::must_use_candidate, reason = "what it returns is for those who wait for it")]
    pub fn arm(&self, rule: Rule) -> RuleId {
        RuleId(self.shared.script().arm(rule))
    }

    /// Forgets every rule, and lets go on what is stalled.
    pub fn disarm(&self) {
        self.shared.script().disarm();
        self.release();
    }

    /// How often a rule has come about.
    #[must_use]
    pub fn hits(&self, rule: RuleId) -> u32 {
        self.shared.script().hits(rule.0)
    }

    /// Waits until a rule has come about once: its process is killed then,
    /// or its request stalls.
    pub async fn until_hit(&self, rule: RuleId) {
        let mut happened = self.shared.happened.subscribe();
        while self.hits(rule) == 0 {
            // The sender lives as long as this.
            let _ = happened.changed().await;
        }
    }

    /// Lets go on what is stalled.
    pub fn release(&self) {
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// Cuts every connection there is. New ones are taken.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|count| *count += 1);
    }

    /// Keeps everything back, in both directions, until [`Proxy::resume`].
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }

    /// What was asked so far, in the order in which it was done with.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.shared.journal.from(0)
    }

    /// What was asked after the first so many; waits until there is something.
    pub async fn log_from(&self, first: usize) -> Vec<Entry> {
        self.shared.journal.after(first).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.ended.send_replace(true);
        self.cut();
    }
}

impl Shared {
    // Every change to it is whole at once: a panic cannot leave half of one.
    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, peer)) = listener.accept() => {
                connections.spawn(connection(stream, peer, acceptor.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    let serve = async {
        // A client that does not trust the certificate tells it better than this end could.
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let passage = Passage { shared, peer: peer.ip() };
        // It ends with an error each time that a request is swallowed.
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(|request| passage.take(request)))
            .await;
    };
    tokio::select! {
        () = serve => {}
        _ = cut.changed() => {}
    }
}

fn acceptor(layout: &Layout) -> Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let outdated = "the testbed has no certificate for a proxy: take it down and up again";
    let chain = CertificateDer::pem_file_iter(layout.pki("proxy.crt")).context(outdated)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(layout.pki("proxy.key")).context(outdated)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A client without any identity of its own and without any patience limit.
fn upstream(layout: &Layout) -> Result<reqwest::Client> {
    // Whoever came first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = std::fs::read(layout.pki("ca.crt")).context("cannot read the testbed's authority")?;
    reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // Each request on a connection of its own, as its client has it.
        .http1_only()
        .build()
        .context("cannot make an HTTP client")
}
