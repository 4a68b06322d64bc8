//! Range queries and their matrix answers.

use std::time::Duration;

use axum::http::Method;
use jiff::Timestamp;
use prunella_core::observation::{Answer, History, SeriesHistory, UnknownReason as Reason};
use prunella_signals::{Prometheus, SourceConfig};

use crate::server::{AMPLE, SHORT, client, listen, response, serve, unknown};

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
const TWO_SERIES: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
    {"metric":{"pod":"a"},"values":[[1700000000,"1"]]},{"metric":{"pod":"b"},"values":[[1700000000,"1"]]}]}}"#;
const PARTIAL: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[]},
    "warnings":["No StoreAPIs matched: addr 10.0.0.7:10901 at 12:30:01"]}"#;
const STEP: Duration = Duration::from_secs(15);

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// From Unix time 1700000000, for one minute.
async fn ask(source: &Prometheus) -> History {
    source.history("up == 0", at("2023-11-14T22:13:20Z"), at("2023-11-14T22:14:20Z"), STEP, AMPLE).await
}

async fn history_of(status: u16, body: &'static str, change: impl FnOnce(&mut SourceConfig)) -> History {
    let (url, log) = serve(move |_| response(status, body)).await;
    let history = ask(&client(&url, change)).await;
    assert_eq!(log.lock().unwrap().len(), 1, "exactly one request, no retry");
    history
}

#[track_caller]
fn refused(history: History, reason: Reason) -> String {
    let History::Unknown(why) = history else { panic!("expected {reason}, got {history:?}") };
    unknown(Answer::Unknown(why), reason)
}

#[track_caller]
fn answered(history: History) -> Vec<SeriesHistory> {
    match history {
        History::Answered(series) => series,
        History::Unknown(unknown) => panic!("{unknown:?}"),
    }
}

#[tokio::test]
async fn a_matrix_is_read_with_its_labels_and_the_times_of_its_values() {
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{"__name__":"up","pod":"web-1"},
         "values":[[1700000000,"0"],[1700000015.001,"+Inf"],[1700000030,"NaN"],[1700000045.4996,"-1.5e-7"]]},
        {"metric":{},"values":[[1700000000,"NaN"]]},
        {"metric":{"pod":"größe"},"values":[],"histograms":[]}
    ],"stats":{"samples":{}}},"infos":["PromQL info: metric might not be a counter"]}"#;
    let series = answered(history_of(200, body, |_| {}).await);
    assert_eq!(
        series[0].at,
        ["2023-11-14T22:13:20Z", "2023-11-14T22:14:05.5Z"].map(at),
        "NaN and an infinite value do not count, and times are exact to the millisecond"
    );
    assert_eq!((series[0].labels["__name__"].as_str(), series[0].labels["pod"].as_str()), ("up", "web-1"));
    assert_eq!((series[1].labels.len(), series[1].at.len()), (0, 0));
    assert_eq!((series[2].labels["pod"].as_str(), series[2].at.len()), ("größe", 0));
}

#[tokio::test]
async fn times_outside_the_range_are_ignored() {
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[
        [1699999999.999,"1"],[1700000000,"1"],[1700000060,"1"],[1700000060.001,"1"]]}]}}"#;
    let series = answered(history_of(200, body, |_| {}).await);
    assert_eq!(series[0].at, ["2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z"].map(at));
}

#[tokio::test]
async fn an_empty_matrix_is_a_complete_answer() {
    assert_eq!(history_of(200, EMPTY, |_| {}).await, History::Answered(Vec::new()));
}

#[tokio::test]
async fn anything_but_a_complete_matrix_is_unknown() {
    use Reason::{BadQuery, Malformed, PartialAnswer, Timeout, TooLarge, Unauthorized, Unreachable, WrongType};
    for (status, body, reason, words) in [
        (200, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, WrongType, "vector"),
        (200, r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#, WrongType, "scalar"),
        (200, r#"{"status":"success","data":{"resultType":"string","result":[1,"a"]}}"#, WrongType, "string"),
        (
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"histograms":[[1,{"count":"1"}]]}]}}"#,
            WrongType,
            "histogram",
        ),
        (
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[
                {"metric":{},"values":[[1,"1"]],"histograms":[[2,{"count":"1"}]]}]}}"#,
            WrongType,
            "histogram",
        ),
        (200, PARTIAL, PartialAnswer, "No StoreAPIs matched"),
        (
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":["results truncated due to limit"]}"#,
            TooLarge,
            "series",
        ),
        (200, "<!doctype html><title>Login</title>", Malformed, "url"),
        (200, r#"{"status":"success"}"#, Malformed, "no data field"),
        (
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{}}]}}"#,
            Malformed,
            "without a value",
        ),
        (
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"many"]]}]}}"#,
            Malformed,
            "not a number",
        ),
        (
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1e300,"1"]]}]}}"#,
            Malformed,
            "out of range",
        ),
        (
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[["1","1"]]}]}}"#,
            Malformed,
            "not the JSON",
        ),
        (302, "", Malformed, "redirect"),
        (
            400,
            r#"{"status":"error","errorType":"bad_data","error":"end timestamp must not be before start time"}"#,
            BadQuery,
            "end timestamp",
        ),
        (
            422,
            r#"{"status":"error","errorType":"execution","error":"found duplicate series for {pod=\"a\"}"}"#,
            BadQuery,
            "found duplicate series",
        ),
        (401, "", Unauthorized, "401"),
        (503, "<html>nginx</html>", Unreachable, "503"),
        (504, "", Timeout, "deadline"),
        (503, r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#, Timeout, "deadline"),
    ] {
        let message = refused(history_of(status, body, |_| {}).await, reason);
        assert!(message.contains(words), "{words} for {body}: {message}");
    }
}

#[tokio::test]
async fn a_range_query_has_the_same_limits() {
    assert_eq!(answered(history_of(200, TWO_SERIES, |config| config.max_series = 2).await).len(), 2);
    let series = refused(history_of(200, TWO_SERIES, |config| config.max_series = 1).await, Reason::TooLarge);
    assert!(series.contains("more than 1 series"), "{series}");
    let bytes = history_of(200, TWO_SERIES, |config| config.max_bytes = TWO_SERIES.len() - 1).await;
    refused(bytes, Reason::TooLarge);
}

#[tokio::test]
async fn a_closed_port_and_a_silent_server_have_different_reasons() {
    let (listener, address) = listen().await;
    let source = client(&format!("http://{address}"), |_| {});
    let range = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:10:00Z"));
    refused(source.history("up", range.0, range.1, STEP, SHORT).await, Reason::Timeout);
    drop(listener);
    refused(source.history("up", range.0, range.1, STEP, AMPLE).await, Reason::Unreachable);
}

#[tokio::test]
async fn a_range_query_is_a_form_with_limits_start_and_end() {
    let (url, log) = serve(|_| response(200, EMPTY)).await;
    let source = client(&format!("{url}/prefix/"), |config| {
        config.scrape_interval = Some(Duration::from_secs(30));
        config.max_series = 99;
        config.bearer_token = Some("s3cret".to_owned());
    });
    let (since, until) = (at("2026-01-01T00:00:00.123456789Z"), at("2026-01-01T00:10:00Z"));
    source.history("up{a=\"b&c\"} == 0", since, until, STEP, Duration::from_hours(1)).await;
    let asked = log.lock().unwrap().pop().unwrap();
    assert_eq!((asked.method, asked.uri.to_string()), (Method::POST, "/prefix/api/v1/query_range".to_owned()));
    assert_eq!(asked.headers["authorization"], "Bearer s3cret");
    assert_eq!(
        asked.body,
        "query=up%7Ba%3D%22b%26c%22%7D+%3D%3D+0&timeout=10000ms&lookback_delta=75000ms&limit=100\
         &start=2026-01-01T00%3A00%3A00.123Z&end=2026-01-01T00%3A10%3A00Z&step=15000ms"
    );
}

#[tokio::test]
async fn the_number_of_steps_has_a_lower_and_an_upper_limit() {
    let (url, log) = serve(|_| response(200, EMPTY)).await;
    let source = client(&url, |_| {});
    let since = at("2026-01-01T00:00:00Z");
    for (span, step, sent) in [
        (Duration::from_mins(2_500), STEP, "15000ms"),
        (Duration::from_millis(150_000_001), STEP, "15001ms"),
        (Duration::from_hours(24 * 365), STEP, "3153600ms"),
        (Duration::from_mins(1), Duration::ZERO, "6ms"),
        (Duration::from_millis(1), Duration::from_nanos(1), "1ms"),
        (Duration::from_mins(1), Duration::MAX, "60000ms"),
    ] {
        source.history("up == 0", since, since + span, step, AMPLE).await;
        let asked = log.lock().unwrap().pop().unwrap();
        assert_eq!(asked.body.rsplit_once("&step=").unwrap().1, sent, "{step:?} over {span:?}");
    }
}

#[tokio::test]
async fn an_empty_range_sends_no_request() {
    let (url, log) = serve(|_| response(500, "")).await;
    let source = client(&url, |_| {});
    let now = at("2026-01-01T00:00:00Z");
    for until in [now, now + Duration::from_nanos(999_999), now - Duration::from_secs(1), Timestamp::MIN] {
        let history = source.history("up == 0", now, until, STEP, AMPLE).await;
        assert_eq!(history, History::Answered(Vec::new()), "{until}");
    }
    assert!(log.lock().unwrap().is_empty());
}
