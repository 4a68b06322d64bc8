//! The HTTP API: instant queries, range queries, and the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use promql_parser::parser;
use reqwest::Request;
use serde_json::{Value, json};

use super::evaluate::{Evaluated, Evaluation, Point, millis};
use super::samples::{LabelSet, Samples};

/// How old a sample may be, if the request does not say.
const LOOKBACK: Duration = Duration::from_mins(5);

/// Status code and body.
type Reply = (u16, Value);

/// Answers one request at `now`.
pub(super) fn answer(samples: &Samples, now: Timestamp, scrape_interval: Duration, request: &Request) -> Reply {
    let fields = fields(request);
    let path = request.url().path();
    if path.ends_with("/api/v1/status/config") {
        let yaml = format!("global:\n  scrape_interval: {}s\n", scrape_interval.as_secs());
        return (200, json!({"status": "success", "data": {"yaml": yaml}}));
    }
    let text = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let expr = match parser::parse(text("query")) {
        Ok(expr) => expr,
        Err(error) => return failure(400, "bad_data", &format!("invalid parameter \"query\": {error}")),
    };
    let lookback = millis(duration(text("lookback_delta")).unwrap_or(LOOKBACK));
    if path.ends_with("/api/v1/query") {
        let at = now.as_millisecond();
        return match (Evaluation { samples, at, lookback }).of(&expr) {
            Ok(Evaluated::Scalar(value)) => success("scalar", &json!([seconds(at), number(value)])),
            Ok(Evaluated::Vector(points)) => success("vector", &points.iter().map(|point| sample(point, at)).collect()),
            Err(error) => failure(422, "execution", &error),
        };
    }
    if !path.ends_with("/api/v1/query_range") {
        return (404, json!("404 page not found"));
    }
    let time = |name: &str| text(name).parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    let (Some(start), Some(end), Some(step)) = (time("start"), time("end"), duration(text("step"))) else {
        return failure(400, "bad_data", "invalid parameter \"start\", \"end\" or \"step\"");
    };
    let mut series: BTreeMap<LabelSet, Vec<Value>> = BTreeMap::new();
    let mut at = start;
    while at <= end {
        match (Evaluation { samples, at, lookback }).of(&expr) {
            Ok(Evaluated::Scalar(value)) => {
                series.entry(LabelSet::new()).or_default().push(json!([seconds(at), number(value)]));
            }
            Ok(Evaluated::Vector(points)) => {
                for Point { labels, value } in points {
                    series.entry(labels).or_default().push(json!([seconds(at), number(value)]));
                }
            }
            Err(error) => return failure(422, "execution", &error),
        }
        at += millis(step).max(1);
    }
    let series = series.into_iter().map(|(labels, values)| json!({"metric": labels, "values": values}));
    success("matrix", &series.collect())
}

fn success(kind: &str, result: &Value) -> Reply {
    (200, json!({"status": "success", "data": {"resultType": kind, "result": result}}))
}

fn failure(code: u16, kind: &str, error: &str) -> Reply {
    (code, json!({"status": "error", "errorType": kind, "error": error}))
}

fn sample(point: &Point, at: i64) -> Value {
    json!({"metric": point.labels, "value": [seconds(at), number(point.value)]})
}

/// A value as Prometheus prints it.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// The duration of a parameter: `1500ms`, or seconds.
fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok().map(Duration::from_millis),
        None => text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    }
}

/// The fields of the form in the body, or of the query of the URL.
fn fields(request: &Request) -> BTreeMap<String, String> {
    let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
    let mut url = request.url().clone();
    if !body.is_empty() {
        url.set_query(Some(&String::from_utf8_lossy(body)));
    }
    url.query_pairs().into_owned().collect()
}
