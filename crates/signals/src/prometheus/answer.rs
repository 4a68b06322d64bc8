//! Reads the JSON answers of instant queries and range queries.

use jiff::{SignedDuration, Timestamp, Unit};
use prunella_core::observation::{Labels, Series, SeriesHistory, Unknown, UnknownReason};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::failure;
use super::{SourceConfig, range::Range, request::Body};

/// The envelope of every answer. `infos` are ignored: they are advice on how to write a
/// query and do not say that the answer is incomplete.
#[derive(Deserialize)]
struct Envelope {
    status: Status,
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Error,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Sample>),
    Matrix(Vec<Samples>),
    Scalar(IgnoredAny),
    String(IgnoredAny),
}

impl Data {
    fn name(&self) -> &'static str {
        match self {
            Self::Vector(_) => "vector",
            Self::Matrix(_) => "matrix",
            Self::Scalar(_) => "scalar",
            Self::String(_) => "string",
        }
    }
}

/// One series of a vector: it has one sample.
#[derive(Deserialize)]
struct Sample {
    metric: Labels,
    /// The evaluation time (not the time of the sample) and the value as text.
    value: Option<(IgnoredAny, String)>,
    histogram: Option<IgnoredAny>,
}

/// One series of a matrix: it has one sample for each step at which it had a value.
#[derive(Deserialize)]
struct Samples {
    metric: Labels,
    /// The evaluation time in seconds and the value as text.
    values: Option<Vec<(f64, String)>>,
    #[serde(default)]
    histograms: Vec<IgnoredAny>,
}

/// Reads the answer to an instant query under the limits of `config`.
pub(super) fn instant(body: &Body, config: &SourceConfig) -> Result<Vec<Series>, Unknown> {
    let (data, warnings) = data(body)?;
    let Data::Vector(samples) = data else {
        return Err(not_a_vector(data.name()));
    };
    check_complete(samples.len(), &warnings, config)?;
    samples.into_iter().map(series).collect()
}

/// Reads the answer to a query over `range` under the limits of `config`.
pub(super) fn history(body: &Body, range: &Range, config: &SourceConfig) -> Result<Vec<SeriesHistory>, Unknown> {
    let (data, warnings) = data(body)?;
    let Data::Matrix(samples) = data else {
        return Err(not_a_matrix(data.name()));
    };
    check_complete(samples.len(), &warnings, config)?;
    samples.into_iter().map(|samples| series_history(samples, range)).collect()
}

/// The data and the warnings of a successful answer.
fn data(body: &Body) -> Result<(Data, Vec<String>), Unknown> {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(&body.bytes) else {
        return Err(if body.status.is_success() {
            failure::malformed(
                "the answer is not the JSON of the Prometheus API, it may be a login page; check the source's url",
            )
        } else {
            failure::of_status(body.status, "", "")
        });
    };
    if !body.status.is_success() || envelope.status == Status::Error {
        return Err(failure::of_status(body.status, &envelope.error_type, &envelope.error));
    }
    let data =
        envelope.data.ok_or_else(|| failure::malformed("the answer has no data field; check the source's url"))?;
    Ok((data, envelope.warnings))
}

/// Refuses an answer that has too many series or may be incomplete.
fn check_complete(series: usize, warnings: &[String], config: &SourceConfig) -> Result<(), Unknown> {
    // Prometheus warns "results truncated due to limit".
    let truncated = warnings.iter().any(|warning| warning.contains("truncated"));
    if truncated || series > config.max_series {
        let message = format!(
            "the answer has more than {} series; aggregate in the query, or select fewer series",
            config.max_series
        );
        return Err(failure::unknown(UnknownReason::TooLarge, &message));
    }
    if let Some(warning) = warnings.first() {
        let words = failure::stable(warning);
        let message = format!("the source returned a warning, so its answer may be incomplete: {words}; fix it there");
        return Err(failure::unknown(UnknownReason::PartialAnswer, &message));
    }
    Ok(())
}

fn series(sample: Sample) -> Result<Series, Unknown> {
    let Sample { metric: labels, value, histogram } = sample;
    match (value, histogram) {
        (Some((_, text)), _) => Ok(Series { labels, value: number(&text)? }),
        (None, Some(_)) => Err(not_a_vector("native histogram")),
        (None, None) => Err(without_value()),
    }
}

fn series_history(samples: Samples, range: &Range) -> Result<SeriesHistory, Unknown> {
    let Samples { metric: labels, values, histograms } = samples;
    // Even next to numbers: the series had a value at those times that cannot be read.
    if !histograms.is_empty() {
        return Err(not_a_matrix("native histogram"));
    }
    let mut at = Vec::new();
    for (seconds, text) in values.ok_or_else(without_value)? {
        let (evaluated, value) = (instant_of(seconds)?, number(&text)?);
        if !value.is_nan() && range.contains(evaluated) {
            at.push(evaluated);
        }
    }
    Ok(SeriesHistory { labels, at })
}

/// Converts Unix seconds, rounded to milliseconds: the API prints no more digits.
fn instant_of(seconds: f64) -> Result<Timestamp, Unknown> {
    SignedDuration::try_from_secs_f64(seconds)
        .and_then(Timestamp::from_duration)
        .and_then(|at| at.round(Unit::Millisecond))
        .map_err(|_| failure::malformed("the answer has a time that is out of range; check the source's url"))
}

fn number(text: &str) -> Result<f64, Unknown> {
    text.parse().map_err(|_| failure::malformed("the answer has a value that is not a number; check the source's url"))
}

fn without_value() -> Unknown {
    failure::malformed("the answer has a series without a value; check the source's url")
}

fn not_a_vector(found: &str) -> Unknown {
    let message = format!(
        "the answer is a {found}, not an instant vector of numbers; compare a selector with a value, as in `up == 0`"
    );
    failure::unknown(UnknownReason::WrongType, &message)
}

fn not_a_matrix(found: &str) -> Unknown {
    let message = format!(
        "the answer over a range is a {found}, not a matrix of numbers; compare a selector with a value, as in `up == 0`"
    );
    failure::unknown(UnknownReason::WrongType, &message)
}
