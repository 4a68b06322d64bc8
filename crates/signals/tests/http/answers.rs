//! JSON answers to instant queries, and what they mean.

use prunella_core::observation::{Answer, Series, UnknownReason as Reason};

use crate::server::{AMPLE, answer_to, client, response, serve, unknown};

const PARTIAL: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]},
    "warnings":["No StoreAPIs matched: addr 10.0.0.7:10901 at 12:30:01"]}"#;

fn answered(answer: Answer) -> Vec<Series> {
    match answer {
        Answer::Answered(series) => series,
        Answer::Unknown(unknown) => panic!("{unknown:?}"),
    }
}

#[tokio::test]
async fn a_vector_is_read_with_its_labels_and_all_kinds_of_values() {
    let series = answered(
        answer_to(
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[
                {"metric":{"__name__":"up","pod":"web-1"},"value":[1700000000.123,"0"]},
                {"metric":{},"value":[1700000000,"+Inf"]},
                {"metric":{"pod":"größe"},"value":[1700000000,"-Inf"]},
                {"metric":{},"value":[1700000000,"NaN"]},
                {"metric":{},"value":[1700000000,"1.5e-7"]}
            ],"stats":{"samples":{}}},"infos":["PromQL info: metric might not be a counter"]}"#,
        )
        .await,
    );
    let values: Vec<_> = series.iter().map(|series| series.value).collect();
    assert_eq!(values[..3], [0.0, f64::INFINITY, f64::NEG_INFINITY]);
    assert!(values[3].is_nan());
    assert!((values[4] - 1.5e-7).abs() < 1e-12);
    assert_eq!(series[0].labels["pod"], "web-1");
    assert_eq!(series[0].labels["__name__"], "up");
    assert_eq!(series[2].labels["pod"], "größe");
}

#[tokio::test]
async fn an_empty_vector_is_a_complete_answer() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":[]}"#;
    assert_eq!(answer_to(200, body).await, Answer::Answered(Vec::new()));
}

#[tokio::test]
async fn other_result_types_are_refused() {
    for (found, body) in [
        ("scalar", r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"1"]}}"#),
        ("string", r#"{"status":"success","data":{"resultType":"string","result":[1700000000,"a"]}}"#),
        (
            "matrix",
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"]]}]}}"#,
        ),
        (
            "histogram",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1"}]}]}}"#,
        ),
    ] {
        assert!(unknown(answer_to(200, body).await, Reason::WrongType).contains(found));
    }
}

/// An answer without series, with `more` beside its data.
fn empty_with(more: &str) -> &'static str {
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[]}},{more}}}"#).leak()
}

#[tokio::test]
async fn partial_answers_of_every_known_server_hold() {
    let series = r#"[{"metric":{"namespace":"shop","pod":"web-1"},"value":[1764400000,"9e8"]}]"#;
    for (server, body, words) in [
        ("Prometheus", empty_with(r#""warnings":["remote_read: remote server 10.0.0.9 returned HTTP status 500"]"#), "remote_read"),
        ("Thanos", PARTIAL, "No StoreAPIs matched"),
        ("VictoriaMetrics", empty_with(r#""isPartial":true"#), "isPartial"),
        ("VictoriaMetrics", empty_with(r#""isPartial":true,"warnings":[]"#), "denyPartialResponse"),
        (
            "VictoriaMetrics",
            format!(r#"{{"status":"success","isPartial":true,"data":{{"resultType":"vector","result":{series}}},"stats":{{"seriesFetched":"1"}}}}"#)
                .leak(),
            "part of its storage did not answer",
        ),
        (
            "VictoriaMetrics, nothing found",
            r#"{"status":"success","isPartial":true,"data":{"resultType":"vector","result":null}}"#,
            "isPartial",
        ),
    ] {
        let message = unknown(answer_to(200, body).await, Reason::PartialAnswer);
        assert!(message.contains(words), "{server}: {message}");
    }
    assert_eq!(answer_to(200, empty_with(r#""isPartial":false"#)).await, Answer::Answered(Vec::new()));
    assert_eq!(answer_to(200, empty_with(r#""isPartial":null"#)).await, Answer::Answered(Vec::new()));
}

#[tokio::test]
async fn null_and_an_empty_type_mean_no_series() {
    for body in [
        r#"{"status":"success","data":{"resultType":"vector","result":null}}"#,
        r#"{"status":"success","data":{"resultType":"","result":null}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":null,"infos":null}"#,
        r#"{"status":"success","data":{"result":null,"resultType":""},"warnings":null,"infos":null}"#,
    ] {
        assert_eq!(answer_to(200, body).await, Answer::Answered(Vec::new()), "{body}");
    }
    unknown(
        answer_to(200, r#"{"status":"success","data":{"resultType":"scalar","result":null}}"#).await,
        Reason::WrongType,
    );
    unknown(answer_to(200, r#"{"status":"success","data":null}"#).await, Reason::Malformed);
}

#[tokio::test]
async fn advice_is_no_warning_wherever_it_stands() {
    let advice = r#""PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"x\" (1:10)""#;
    let real = r#""remote_read: remote server 10.0.0.9 returned HTTP status 500""#;
    let body = empty_with(&format!(r#""warnings":[{advice}]"#));
    assert_eq!(answer_to(200, body).await, Answer::Answered(Vec::new()));
    for both in [[advice, real], [real, advice]] {
        let body = empty_with(&format!(r#""warnings":[{}]"#, both.join(",")));
        let message = unknown(answer_to(200, body).await, Reason::PartialAnswer);
        assert!(message.contains("remote_read: remote server"), "{message}");
    }
    let mixed = r#""PromQL warning: vector contains a mix of classic and native histograms for metric name \"latency\" (1:42)""#;
    let body = empty_with(&format!(r#""warnings":[{mixed}]"#));
    let message = unknown(answer_to(200, body).await, Reason::PartialAnswer);
    assert!(message.contains("for metric name \"latency\"; fix it there"), "{message}");
}

#[tokio::test]
async fn a_histogram_beside_numbers_does_not_keep_them_from_being_read() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[
        {"metric":{"pod":"web-1"},"histogram":[1,{"count":"1"}]},{"metric":{"pod":"web-2"},"value":[1,"7"]}]}}"#;
    let series = answered(answer_to(200, body).await);
    assert_eq!(series.iter().map(|one| (one.labels["pod"].as_str(), one.value)).collect::<Vec<_>>(), [("web-2", 7.0)]);
}

#[tokio::test]
async fn an_answer_of_several_clusters_is_unknown() {
    let with = |first: &str, second: &str| -> &'static str {
        format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{"cluster":"{first}","pod":"db-0"}},"value":[1,"0"]}},{{"metric":{{"cluster":"{second}","pod":"db-0"}},"value":[1,"0"]}},{{"metric":{{}},"value":[1,"0"]}}]}}}}"#
        )
        .leak()
    };
    let message = unknown(answer_to(200, with("staging", "prod")).await, Reason::SeveralClusters);
    assert!(message.contains(r#"(cluster="prod", cluster="staging"): set matchLabels on the source"#), "{message}");
    assert_eq!(answered(answer_to(200, with("prod", "prod")).await).len(), 3);
    // The label names databases.
    let body = with("orders", "search");
    let (url, _) = serve(move |_| response(200, body)).await;
    let unchecked = client(&url, |_| {}).with_cluster_check(false);
    assert_eq!(answered(unchecked.instant("up == 0", AMPLE).await).len(), 3);
}

#[tokio::test]
async fn the_clusters_of_a_source_are_those_of_its_nodes() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[
        {"metric":{"cluster":"staging"},"value":[1,"1"]},{"metric":{"cluster":"prod"},"value":[1,"1"]},{"metric":{},"value":[1,"1"]}]}}"#;
    let (url, log) = serve(move |_| response(200, body)).await;
    let clusters = client(&url, |_| {}).clusters(AMPLE).await.unwrap();
    assert_eq!(clusters.iter().map(String::as_str).collect::<Vec<_>>(), ["prod", "staging"]);
    assert!(log.lock().unwrap()[0].body.contains("kube_node_info"));
}

#[tokio::test]
async fn a_warning_makes_an_answer_partial() {
    let message = unknown(answer_to(200, PARTIAL).await, Reason::PartialAnswer);
    assert_eq!(
        message,
        "the source returned a warning, so its answer may be incomplete: No StoreAPIs matched: addr; fix it there"
    );
}

#[tokio::test]
async fn a_body_that_is_not_the_json_of_the_api_is_malformed() {
    for body in [
        "<!doctype html><title>Login</title>",
        "",
        "null",
        "[]",
        "{}",
        r#"{"status":"success"}"#,
        r#"{"status":"success","data":{"resultType":"vector"}}"#,
        r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"many"]}]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,2]}]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"2"]}]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[]}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[]}}{"#,
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"a\":\"\u{fffd}\"},",
        r#"{"status":"odd","data":{"resultType":"vector","result":[]}}"#,
    ] {
        unknown(answer_to(200, body).await, Reason::Malformed);
    }
    let deep: &'static str = "[".repeat(100_000).leak();
    unknown(answer_to(200, deep).await, Reason::Malformed);
}

#[tokio::test]
async fn a_refused_query_quotes_the_error_of_the_server() {
    let body = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error:\nunexpected end of input"}"#;
    let message = unknown(answer_to(400, body).await, Reason::BadQuery);
    assert_eq!(
        message,
        "the source refuses the query: invalid parameter \"query\": 1:5: parse error: unexpected end of input; run the query in Prometheus and correct it"
    );
    // Some proxies pass the error on with a success status.
    unknown(answer_to(200, body).await, Reason::BadQuery);
}

#[tokio::test]
async fn an_answer_that_is_not_of_the_api_says_what_is_probably_wrong() {
    for (status, body, reason, words) in [
        (
            400,
            "Client sent an HTTP request to an HTTPS server.\n",
            Reason::Malformed,
            "answers 400; does it speak https?",
        ),
        (
            400,
            "<html><title>400 The plain HTTP request was sent to HTTPS port</title>",
            Reason::Malformed,
            "does it speak https?",
        ),
        (400, "", Reason::Malformed, "does it speak https?"),
        (400, "<html>Bad Request</html>", Reason::Malformed, "does it speak https?"),
        (
            400,
            "Bad request. The \"namespace\" query parameter must be provided.\n",
            Reason::Malformed,
            "answers 400: Bad request. The \"namespace\" query parameter must be provided. This is not",
        ),
        (
            401,
            "no org id\n",
            Reason::Unauthorized,
            "answers 401: no org id. It holds several tenants and expects the header X-Scope-OrgID",
        ),
        (401, "Unauthorized", Reason::Unauthorized, "set bearerTokenSecret"),
        (404, "404 page not found", Reason::Malformed, "there is no Prometheus API at this url; check the path"),
        (200, "<!doctype html><title>Login</title>", Reason::Malformed, "an HTML page"),
        (200, "pong", Reason::Malformed, "not the JSON of the Prometheus API"),
    ] {
        let message = unknown(answer_to(status, body).await, reason);
        assert!(message.contains(words), "{body}: {message}");
    }
    let (url, _) = serve(|_| {
        let mut response = response(401, "");
        response.headers_mut().insert("www-authenticate", "Basic realm=\"prometheus\"".parse().unwrap());
        response
    })
    .await;
    let message = unknown(client(&url, |_| {}).instant("up == 0", AMPLE).await, Reason::Unauthorized);
    assert!(message.contains("asks for a user name and a password"), "{message}");
}

#[tokio::test]
async fn the_message_of_an_execution_error_omits_label_sets() {
    let body = r#"{"status":"error","errorType":"execution","error":"found duplicate series for the match group {pod=\"web-7d9-x2\"} on the right hand-side of the operation: [{…}]"}"#;
    let message = unknown(answer_to(422, body).await, Reason::BadQuery);
    let expected = "the source cannot join the series: found duplicate series for the match group. Several series are about one object, for example while an exporter is replaced: then it ends by itself. If it stays, aggregate that side, as in max by (pod) (…)";
    assert_eq!(message, expected);
    let long: &'static str =
        format!(r#"{{"status":"error","errorType":"execution","error":"{}"}}"#, "ä".repeat(4000)).leak();
    unknown(answer_to(422, long).await, Reason::BadQuery);
}

#[tokio::test]
async fn every_failure_status_has_its_reason() {
    for (status, reason) in [
        (301, Reason::Malformed),
        (307, Reason::Malformed),
        (401, Reason::Unauthorized),
        (403, Reason::Unauthorized),
        (404, Reason::Malformed),
        (405, Reason::Malformed),
        (418, Reason::Malformed),
        (429, Reason::Unreachable),
        (500, Reason::Unreachable),
        (502, Reason::Unreachable),
        (503, Reason::Unreachable),
        (504, Reason::Timeout),
    ] {
        let message = unknown(answer_to(status, "<html>nginx</html>").await, reason);
        assert!(reason == Reason::Timeout || message.contains(&status.to_string()), "{message}");
    }
    let timeout = r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
    unknown(answer_to(503, timeout).await, Reason::Timeout);
    let success = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    unknown(answer_to(503, success).await, Reason::Unreachable);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, log) = serve(|_| response(200, "")).await;
    let (url, _) = serve(move |_| {
        let mut response = response(302, "");
        response.headers_mut().insert("location", elsewhere.parse().unwrap());
        response
    })
    .await;
    let message = unknown(client(&url, |_| {}).instant("up == 0", AMPLE).await, Reason::Malformed);
    assert!(message.contains("redirect"), "{message}");
    assert!(log.lock().unwrap().is_empty());
}
