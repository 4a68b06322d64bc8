//! The limits of bytes and series in one answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use prunella_core::observation::{Answer, UnknownReason as Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{AMPLE, SHORT, client, listen, response, serve, unknown};

const MIB: usize = 1 << 20;
static SPACES: [u8; 64 << 10] = [b' '; 64 << 10];

fn vector_of(series: usize) -> String {
    let one = r#"{"metric":{"pod":"web"},"value":[1700000000,"1"]}"#;
    let all = vec![one; series].join(",");
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{all}]}}}}"#)
}

#[tokio::test]
async fn an_answer_over_the_size_limit_is_refused() {
    let body = vector_of(10 * MIB / 48);
    assert!(body.len() > 10 * MIB);
    let (url, _) = serve(move |_| response(200, body.clone())).await;
    let answer = client(&url, |config| config.max_bytes = MIB).instant("up == 0", AMPLE).await;
    assert!(unknown(answer, Reason::TooLarge).contains("larger than 1 MiB"));
}

#[tokio::test]
async fn a_content_length_over_the_limit_is_refused_before_the_body() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n").await.unwrap();
        // Keeps the connection open without a body until the client closes it.
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    let answer = client(&format!("http://{address}"), |_| {}).instant("up == 0", AMPLE).await;
    unknown(answer, Reason::TooLarge);
    server.await.unwrap();
}

#[tokio::test]
async fn an_endless_answer_is_refused_at_the_size_limit() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let (url, _) = serve(move |_| {
        let counter = counter.clone();
        response(
            200,
            Body::from_stream(stream::repeat_with(move || {
                counter.fetch_add(SPACES.len(), Ordering::Relaxed);
                Ok::<_, std::io::Error>(Bytes::from_static(&SPACES))
            })),
        )
    })
    .await;
    let answer = client(&url, |config| config.max_bytes = MIB).instant("up == 0", AMPLE).await;
    unknown(answer, Reason::TooLarge);
    // Bytes beyond the limit are in socket buffers, not in the memory of the client.
    assert!(sent.load(Ordering::Relaxed) < 32 * MIB);
}

#[tokio::test]
async fn a_slow_answer_is_refused_at_the_deadline() {
    let (url, _) = serve(|_| {
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        response(200, Body::from_stream(drops))
    })
    .await;
    unknown(client(&url, |_| {}).instant("up == 0", SHORT).await, Reason::Timeout);
}

#[tokio::test]
async fn an_answer_exactly_at_the_limit_is_accepted() {
    let body = vector_of(3);
    let length = body.len();
    let (url, _) = serve(move |_| response(200, body.clone())).await;
    let ask = |max_bytes, max_series| {
        let client = client(&url, |config| (config.max_bytes, config.max_series) = (max_bytes, max_series));
        async move { client.instant("up == 0", AMPLE).await }
    };
    assert!(matches!(ask(length, 3).await, Answer::Answered(series) if series.len() == 3));
    unknown(ask(length - 1, 3).await, Reason::TooLarge);
    assert!(unknown(ask(length, 2).await, Reason::TooLarge).contains("more than 2 series"));
}

#[tokio::test]
async fn a_truncated_answer_is_too_large_and_not_partial() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["results truncated due to limit"]}"#;
    let (url, _) = serve(move |_| response(200, body)).await;
    unknown(client(&url, |_| {}).instant("up == 0", AMPLE).await, Reason::TooLarge);
}
