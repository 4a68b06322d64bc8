//! The JSON of an instant query, read into an [`Answer`].

use prunella_core::observation::{Answer, Labels, Series, UnknownReason};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::failure;
use super::{SourceConfig, request::Body};

/// The envelope of every answer. `infos` are not read: they are advice on how a
/// query is written and say nothing about the answer being whole.
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
    Scalar(IgnoredAny),
    String(IgnoredAny),
    Matrix(IgnoredAny),
}

#[derive(Deserialize)]
struct Sample {
    metric: Labels,
    /// Evaluation time, which is not the sample's, and the value as text.
    value: Option<(IgnoredAny, String)>,
    histogram: Option<IgnoredAny>,
}

/// Reads what the source sent under the limits of `config`.
pub(super) fn read(body: &Body, config: &SourceConfig) -> Answer {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(&body.bytes) else {
        return Answer::Unknown(if body.status.is_success() {
            failure::malformed("the answer is not the JSON of the Prometheus API; check the source's url")
        } else {
            failure::of_status(body.status, "", "")
        });
    };
    if !body.status.is_success() || envelope.status == Status::Error {
        return Answer::Unknown(failure::of_status(body.status, &envelope.error_type, &envelope.error));
    }
    match envelope.data {
        Some(Data::Vector(samples)) => vector(samples, &envelope.warnings, config),
        Some(Data::Scalar(_)) => wrong_type("scalar"),
        Some(Data::String(_)) => wrong_type("string"),
        Some(Data::Matrix(_)) => wrong_type("matrix"),
        None => Answer::Unknown(failure::malformed("the answer has no data")),
    }
}

fn vector(samples: Vec<Sample>, warnings: &[String], config: &SourceConfig) -> Answer {
    // Prometheus says "results truncated due to limit".
    let truncated = warnings.iter().any(|warning| warning.contains("truncated"));
    if truncated || samples.len() > config.max_series {
        let message = format!(
            "the answer has more than {} series; aggregate in the query or raise the source's limit",
            config.max_series
        );
        return Answer::unknown(UnknownReason::TooLarge, message);
    }
    if let (Some(warning), false) = (warnings.first(), config.allow_partial) {
        let words = failure::stable(warning);
        let message = format!("the source warns: {words}; mend it there, or allow the source partial answers");
        return Answer::Unknown(failure::unknown(UnknownReason::PartialAnswer, &message));
    }
    samples.into_iter().map(series).collect::<Result<Vec<_>, _>>().map_or_else(|unknown| unknown, Answer::Answered)
}

fn series(sample: Sample) -> Result<Series, Answer> {
    let Sample { metric: labels, value, histogram } = sample;
    match (value, histogram) {
        (Some((_, text)), _) => match text.parse() {
            Ok(value) => Ok(Series { labels, value }),
            Err(_) => Err(Answer::Unknown(failure::malformed("the answer has a value that is not a number"))),
        },
        (None, Some(_)) => Err(wrong_type("native histogram")),
        (None, None) => Err(Answer::Unknown(failure::malformed("the answer has a series without a value"))),
    }
}

fn wrong_type(found: &str) -> Answer {
    let message =
        format!("the answer is a {found}, not an instant vector of numbers; compare a selector, as in `up == 0`");
    Answer::unknown(UnknownReason::WrongType, message)
}
