//! Sources that do not answer.

use std::time::Instant;

use prunella_core::observation::UnknownReason as Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{AMPLE, SHORT, client, listen, unknown};

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let (listener, address) = listen().await;
    drop(listener);
    let message = unknown(client(&format!("http://{address}"), |_| {}).instant("up", AMPLE).await, Reason::Unreachable);
    assert!(message.contains("refused"), "{message}");
}

#[tokio::test]
async fn a_host_name_that_does_not_resolve_is_unreachable() {
    // RFC 2606: the domain `.invalid` never resolves.
    let answer = client("http://prometheus.invalid", |_| {}).instant("up", AMPLE).await;
    let message = unknown(answer, Reason::Unreachable);
    assert!(message.contains("does not resolve"), "{message}");
}

#[tokio::test]
async fn a_source_that_hangs_is_a_timeout_at_the_deadline() {
    // The kernel accepts the connection, but no process answers.
    let (_listener, address) = listen().await;
    let started = Instant::now();
    let answer = client(&format!("http://{address}"), |_| {}).instant("up", SHORT).await;
    unknown(answer, Reason::Timeout);
    assert!(started.elapsed() < AMPLE / 2);
}

/// Starts a server that reads a request, writes `reply` and closes the connection. Returns
/// its URL and the number of connections.
async fn closing_after(reply: &'static [u8]) -> (String, tokio::task::JoinHandle<usize>) {
    let (listener, address) = listen().await;
    let served = tokio::spawn(async move {
        let mut connections = 0;
        while let Ok(Ok((mut socket, _))) = tokio::time::timeout(SHORT, listener.accept()).await {
            connections += 1;
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            socket.write_all(reply).await.unwrap();
        }
        connections
    });
    (format!("http://{address}"), served)
}

#[tokio::test]
async fn a_broken_connection_is_unreachable_and_not_retried() {
    for reply in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\":",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"sta\r\n",
    ] {
        let (url, served) = closing_after(reply).await;
        unknown(client(&url, |_| {}).instant("up", AMPLE).await, Reason::Unreachable);
        assert_eq!(served.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_http_is_unreachable() {
    let (url, _) = closing_after(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    unknown(client(&url, |_| {}).instant("up", AMPLE).await, Reason::Unreachable);
}

#[tokio::test]
async fn the_same_cause_has_the_same_message() {
    let (listener, address) = listen().await;
    drop(listener);
    let client = client(&format!("http://{address}"), |_| {});
    let first = client.instant("up", AMPLE).await;
    assert_eq!(first, client.instant("up", AMPLE).await);
}
