//! Several questions in one request: each gets its own answer, or none of them any.

use axum::body::Body;
use axum::http::Response;
use prunella_core::observation::{Series, UnknownReason as Reason};
use prunella_signals::Query;

use crate::server::{AMPLE, client, response, serve};

/// Answers every request with these series.
fn answers(result: &str) -> impl Fn(&crate::server::Asked) -> Response<Body> + Clone + Send + Sync + 'static {
    let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#);
    move |_| response(200, body.clone())
}

fn named(series: &[Series]) -> Vec<(&str, f64)> {
    series.iter().map(|one| (one.labels["pod"].as_str(), one.value)).collect()
}

#[tokio::test]
async fn each_series_goes_to_whose_it_is_without_the_label_that_says_so() {
    let (url, log) = serve(answers(
        r#"{"metric":{"pod":"a","prunella_asked":"1"},"value":[1,"5"]},
           {"metric":{"pod":"b","prunella_asked":"0"},"value":[1,"6"]},
           {"metric":{"pod":"c","prunella_asked":"1"},"value":[1,"7"]}"#,
    ))
    .await;
    let answers = client(&url, |_| {}).instant_joint(&["up > 1", "up > 2", "up > 3"], AMPLE).await.unwrap();
    assert_eq!(named(&answers[0]), [("b", 6.0)]);
    assert_eq!(named(&answers[1]), [("a", 5.0), ("c", 7.0)]);
    assert!(answers[2].is_empty());
    assert_eq!(answers[0][0].labels.len(), 1);
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_does_not_say_whose_it_is_leaves_all_without_an_answer() {
    for series in [
        r#"{"metric":{"pod":"a"},"value":[1,"5"]}"#,
        r#"{"metric":{"pod":"a","prunella_asked":"2"},"value":[1,"5"]}"#,
        r#"{"metric":{"pod":"a","prunella_asked":""},"value":[1,"5"]}"#,
        r#"{"metric":{"pod":"a","prunella_asked":"-1"},"value":[1,"5"]}"#,
    ] {
        let both = format!(r#"{{"metric":{{"prunella_asked":"0"}},"value":[1,"1"]}},{series}"#);
        let (url, _) = serve(answers(&both)).await;
        let unknown = client(&url, |_| {}).instant_joint(&["up > 1", "up > 2"], AMPLE).await.unwrap_err();
        assert_eq!(unknown.reason, Reason::Malformed, "{series}");
    }
}

#[tokio::test]
async fn a_warning_or_an_error_about_one_leaves_all_without_an_answer() {
    for (status, body, reason) in [
        (
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["half of it"]}"#,
            Reason::PartialAnswer,
        ),
        (422, r#"{"status":"error","errorType":"execution","error":"many-to-many"}"#, Reason::BadQuery),
        (503, "", Reason::Unreachable),
    ] {
        let (url, _) = serve(move |_: &crate::server::Asked| response(status, body)).await;
        let unknown = client(&url, |_| {}).instant_joint(&["up > 1", "up > 2"], AMPLE).await.unwrap_err();
        assert_eq!(unknown.reason, reason);
    }
}

/// What could end its own brackets, swallow what comes behind it, or be read by the server
/// in another way than here, is asked alone.
#[test]
fn what_could_reach_out_of_its_brackets_may_not_join() {
    let join = |query: &str| Query::compile(query, Some("up")).unwrap().may_join();
    for query in [
        "up == 0",
        "sum by (pod) (rate(http_requests_total{code=~\"5..\", path='/a'}[5m])) > 0.1",
        "up{pod=\")(\"} > 1",
        "up{pod='\"'} > 1 and on (pod) up[5m:1m] offset 1h",
    ] {
        let query = query.replace("up[5m:1m] offset 1h", "max_over_time(up[5m:1m] offset 1h)");
        assert!(join(&query), "{query}");
    }
    for query in [
        "up == 0 # all that comes behind it",
        "up == 0 # ) or vector(1",
        "up{pod=\"\\\"\"} == 0",
        "up{pod=`web`} == 0",
        "label_replace(up, \"prunella_asked\", \"3\", \"\", \"\") == 0",
    ] {
        assert!(!join(query), "{query}");
    }
    let unread = Query::unread("up == 0", "up", AMPLE).unwrap();
    assert!(!unread.may_join(), "where it ends only the server knows");
}
