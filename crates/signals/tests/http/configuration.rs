//! What is sent to a source, what is read from its configuration, and which source
//! configurations are refused.

use std::time::Duration;

use axum::http::Method;
use prunella_core::observation::UnknownReason as Reason;
use prunella_signals::{Prometheus, SourceConfig};

use crate::server::{AMPLE, client, install_provider, listen, response, serve};

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

#[tokio::test]
async fn an_instant_query_is_a_form_with_limits_and_without_a_time() {
    let (url, log) = serve(|_| response(200, EMPTY)).await;
    let source = client(&format!("{url}/prefix/"), |config| {
        config.scrape_interval = Some(Duration::from_secs(30));
        config.max_series = 99;
        config.bearer_token = Some("s3cret\n".to_owned());
    });
    source.instant("up{a=\"b&c\"} == 0", Duration::from_hours(1)).await;
    let asked = log.lock().unwrap().pop().unwrap();
    assert_eq!((asked.method, asked.uri.to_string()), (Method::POST, "/prefix/api/v1/query".to_owned()));
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(asked.headers["authorization"], "Bearer s3cret");
    assert_eq!(asked.body, "query=up%7Ba%3D%22b%26c%22%7D+%3D%3D+0&timeout=10000ms&lookback_delta=75000ms&limit=100");
}

#[tokio::test]
async fn clones_share_a_kept_connection() {
    let (listener, address) = listen().await;
    let served = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{EMPTY}", EMPTY.len());
        for _ in 0..3 {
            let mut request = [0; 4096];
            assert!(socket.read(&mut request).await.unwrap() > 0);
            socket.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let source = client(&format!("http://{address}"), |_| {});
    for _ in 0..3 {
        source.clone().instant("up", AMPLE).await;
    }
    served.await.unwrap();
}

#[test]
fn the_lookback_is_two_and_a_half_scrape_intervals_within_bounds() {
    for (scrape, lookback) in
        [(None, 150), (Some(1), 45), (Some(15), 45), (Some(30), 75), (Some(60), 150), (Some(600), 300)]
    {
        let source = client("http://localhost", |config| config.scrape_interval = scrape.map(Duration::from_secs));
        assert_eq!(source.lookback(), Duration::from_secs(lookback), "for {scrape:?}");
    }
    let learned = client("http://localhost", |_| {}).with_scrape_interval(Duration::MAX);
    assert_eq!(learned.lookback(), Duration::from_mins(5));
}

#[tokio::test]
async fn the_scrape_interval_is_read_only_from_the_global_block() {
    for (yaml, seconds) in [
        ("global:\n  scrape_interval: 15s\n  scrape_timeout: 10s\n", Some(15)),
        ("global:\n  scrape_timeout: 10s\n  scrape_interval: 1m30s\nscrape_configs: []\n", Some(90)),
        ("global:\n  evaluation_interval: 1m\nscrape_configs:\n- job_name: a\n  scrape_interval: 5s\n", None),
        ("scrape_configs:\n- job_name: a\n  scrape_interval: 5s\n", None),
        ("global:\n  external_labels:\n    scrape_interval: 5s\n", None),
        ("global:\n  scrape_interval: soon\n", None),
        ("global:\n  scrape_interval: 0s\n", None),
        ("global:\n  scrape_interval: 99999999999999999999s\n", None),
        ("", None),
    ] {
        let body = serde_json::json!({"status": "success", "data": {"yaml": yaml}}).to_string();
        let (url, log) = serve(move |_| response(200, body.clone())).await;
        let learned = client(&url, |_| {}).scrape_interval(AMPLE).await;
        assert_eq!(learned, Ok(seconds.map(Duration::from_secs)), "for {yaml}");
        let asked = log.lock().unwrap().pop().unwrap();
        assert_eq!((asked.method, asked.uri.path()), (Method::GET, "/api/v1/status/config"));
    }
}

#[tokio::test]
async fn a_source_without_the_configuration_endpoint_has_no_scrape_interval() {
    for (status, body) in [(302, ""), (404, ""), (405, ""), (400, EMPTY), (200, EMPTY), (200, "<html>")] {
        let (url, _) = serve(move |_| response(status, body)).await;
        assert_eq!(client(&url, |_| {}).scrape_interval(AMPLE).await, Ok(None), "for {status} {body}");
    }
    for (status, reason) in [(401, Reason::Unauthorized), (503, Reason::Unreachable)] {
        let (url, _) = serve(move |_| response(status, "")).await;
        let unknown = client(&url, |_| {}).scrape_interval(AMPLE).await.unwrap_err();
        assert_eq!(unknown.reason, reason);
    }
}

#[track_caller]
fn refused(change: impl FnOnce(&mut SourceConfig), reason: &str) {
    install_provider();
    let mut config = SourceConfig::new("http://prometheus.monitoring:9090");
    change(&mut config);
    let error = Prometheus::new(config).unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[test]
fn an_invalid_url_is_refused() {
    for url in [
        "",
        "prometheus",
        "prometheus:9090",
        "ftp://prometheus",
        "file:///etc/passwd",
        "http://",
        "http://user@prometheus",
        "http://user:s3cret@prometheus",
        "http://prometheus/?token=s3cret",
        "http://prometheus/#top",
        "unix:///run/p.sock",
    ] {
        refused(|config| config.url = url.to_owned(), "BadUrl");
    }
}

#[test]
fn invalid_credentials_are_refused_and_never_printed() {
    refused(|config| config.bearer_token = Some("s3cret\u{0}".to_owned()), "BadToken");
    refused(|config| config.ca_pem = Some(b"not pem".to_vec()), "BadCertificateAuthority");
    refused(|config| config.url = "https://prometheus".to_owned(), "BadCertificateAuthority");
    let mut config = SourceConfig::new("http://prometheus");
    config.bearer_token = Some("s3cret".to_owned());
    assert!(!format!("{config:?}").contains("s3cret"));
    install_provider();
    assert!(!format!("{:?}", Prometheus::new(config).unwrap()).contains("s3cret"));
}

#[tokio::test]
async fn a_server_that_ignores_the_lookback_is_noticed() {
    let count = |value: &str| {
        format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1,"{value}"]}}]}}}}"#
        )
    };
    for (usual, short, ignores) in [
        (Some("12"), None, Some(false)),
        (Some("12"), Some("1"), Some(false)),
        (Some("12"), Some("12"), Some(true)),
        (None, None, None),
    ] {
        let (usual, short) = (usual.map(count), short.map(count));
        let (url, _) = serve(move |asked| {
            let wanted = if asked.body.contains("lookback_delta=1ms") { &short } else { &usual };
            let empty = || r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned();
            response(200, wanted.clone().unwrap_or_else(empty))
        })
        .await;
        let client = client(&url, |_| {});
        assert_eq!(client.ignores_lookback(AMPLE).await, Ok(ignores));
        assert_eq!(client.lookback(), Duration::from_secs(150));
        assert_eq!(client.with_lookback_of_server().lookback(), Duration::from_mins(5));
    }
}
