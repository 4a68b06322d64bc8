//! Reads the JSON answers of instant queries and range queries.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, Unit};
use prunella_core::observation::{Labels, Series, SeriesHistory, Unknown, UnknownReason};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::failure;
use super::{SourceConfig, range::Range, request::Body};

/// The label that names the Kubernetes cluster of a series.
pub const CLUSTER: &str = "cluster";
/// How advice on writing a query starts. It does not say that the answer is incomplete.
/// Servers from 2.48 to 2.53 send it among the warnings, later ones as `infos`.
const ADVICE: &str = "PromQL info:";

/// The envelope of every answer. `infos` are ignored, because they are advice.
#[derive(Deserialize)]
struct Envelope<D> {
    status: Status,
    data: Option<D>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    /// Some servers send `null`.
    #[serde(default)]
    warnings: Option<Vec<String>>,
    /// `VictoriaMetrics` sends this instead of a warning.
    #[serde(default, rename = "isPartial")]
    is_partial: Option<bool>,
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

/// Some servers send `null` for an empty result, some also without its type.
#[derive(Deserialize)]
struct Nothing {
    #[serde(rename = "resultType")]
    kind: NothingKind,
    #[expect(dead_code, reason = "it must be there and be null")]
    result: (),
}

#[derive(Deserialize)]
enum NothingKind {
    #[serde(rename = "")]
    Unnamed,
    #[serde(rename = "vector")]
    Vector,
    #[serde(rename = "matrix")]
    Matrix,
}

/// What a successful answer says about itself.
struct Notes {
    /// Without advice.
    warnings: Vec<String>,
    is_partial: bool,
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
    let (data, notes) = successful(body, Data::Vector(Vec::new()))?;
    let Data::Vector(mut samples) = data else {
        return Err(not_a_vector(data.name()));
    };
    check_complete(samples.len(), &notes, config)?;
    check_one_cluster(samples.iter().map(|sample| &sample.metric), config)?;
    // A series with a histogram has no number, so it is neither a breach nor evidence. It must
    // not keep the numbers beside it from being read.
    let found = samples.len();
    samples.retain(|sample| sample.value.is_some() || sample.histogram.is_none());
    if samples.is_empty() && found > 0 {
        return Err(not_a_vector("native histogram"));
    }
    samples.into_iter().map(series).collect()
}

/// Reads the answer to a query over `range` under the limits of `config`.
pub(super) fn history(body: &Body, range: &Range, config: &SourceConfig) -> Result<Vec<SeriesHistory>, Unknown> {
    let (data, notes) = successful(body, Data::Matrix(Vec::new()))?;
    let Data::Matrix(samples) = data else {
        return Err(not_a_matrix(data.name()));
    };
    check_complete(samples.len(), &notes, config)?;
    check_one_cluster(samples.iter().map(|one| &one.metric), config)?;
    samples.into_iter().map(|samples| series_history(samples, range)).collect()
}

/// The values of the label [`CLUSTER`] in the answer to an instant query.
pub(super) fn clusters(body: &Body, config: &SourceConfig) -> Result<BTreeSet<String>, Unknown> {
    let (data, notes) = successful(body, Data::Vector(Vec::new()))?;
    let Data::Vector(samples) = data else {
        return Err(not_a_vector(data.name()));
    };
    check_complete(samples.len(), &notes, config)?;
    Ok(samples.into_iter().filter_map(|mut sample| sample.metric.remove(CLUSTER)).collect())
}

/// The content of a successful answer. `nothing` stands for a result that is `null`.
fn successful(body: &Body, nothing: Data) -> Result<(Data, Notes), Unknown> {
    let envelope = match serde_json::from_slice::<Envelope<Data>>(&body.bytes) {
        Ok(envelope) => envelope,
        Err(_) => match serde_json::from_slice::<Envelope<Nothing>>(&body.bytes) {
            Ok(empty) => empty.with(nothing),
            Err(_) => return Err(failure::not_of_the_api(body)),
        },
    };
    if !body.status.is_success() || envelope.status == Status::Error {
        return Err(failure::of_status(body.status, &envelope.error_type, &envelope.error));
    }
    let data =
        envelope.data.ok_or_else(|| failure::malformed("the answer has no data field; check the source's url"))?;
    let mut warnings = envelope.warnings.unwrap_or_default();
    warnings.retain(|warning| !warning.contains(ADVICE));
    Ok((data, Notes { warnings, is_partial: envelope.is_partial == Some(true) }))
}

impl Envelope<Nothing> {
    fn with(self, nothing: Data) -> Envelope<Data> {
        let data = self.data.map(|data| match data.kind {
            NothingKind::Unnamed => nothing,
            NothingKind::Vector => Data::Vector(Vec::new()),
            NothingKind::Matrix => Data::Matrix(Vec::new()),
        });
        let Self { status, error_type, error, warnings, is_partial, data: _ } = self;
        Envelope { status, data, error_type, error, warnings, is_partial }
    }
}

/// Refuses an answer that has too many series or may be incomplete.
fn check_complete(series: usize, notes: &Notes, config: &SourceConfig) -> Result<(), Unknown> {
    let warnings = &notes.warnings;
    // Prometheus warns "results truncated due to limit".
    let truncated = warnings.iter().any(|warning| warning.contains("truncated"));
    if truncated || series > config.max_series {
        let message = format!(
            "the answer has more than {} series; aggregate in the query, or select fewer series",
            config.max_series
        );
        return Err(failure::unknown(UnknownReason::TooLarge, &message));
    }
    if notes.is_partial {
        let message = "the source says that its answer is partial (isPartial: true): part of its storage did not answer; fix it there. To get an error instead, start it with -search.denyPartialResponse";
        return Err(failure::unknown(UnknownReason::PartialAnswer, message));
    }
    if let Some(warning) = warnings.first() {
        let words = failure::stable_warning(warning);
        let message = format!("the source returned a warning, so its answer may be incomplete: {words}; fix it there");
        return Err(failure::unknown(UnknownReason::PartialAnswer, &message));
    }
    Ok(())
}

/// Refuses series of several Kubernetes clusters: objects of different clusters have the same
/// names.
fn check_one_cluster<'a>(series: impl Iterator<Item = &'a Labels>, config: &SourceConfig) -> Result<(), Unknown> {
    if !config.one_cluster {
        return Ok(());
    }
    let clusters: BTreeSet<&str> = series.filter_map(|labels| labels.get(CLUSTER).map(String::as_str)).collect();
    if clusters.len() < 2 {
        return Ok(());
    }
    let shown: Vec<String> = clusters.iter().take(3).map(|one| format!("{CLUSTER}={one:?}")).collect();
    let more = if clusters.len() > 3 { ", …" } else { "" };
    let message = format!(
        "the answer has series of several clusters ({}{more}): set matchLabels on the source, or drop the label in the query if it does not name Kubernetes clusters",
        shown.join(", ")
    );
    Err(failure::unknown(UnknownReason::SeveralClusters, &message))
}

fn series(sample: Sample) -> Result<Series, Unknown> {
    let Sample { metric: labels, value, histogram: _ } = sample;
    let (_, text) = value.ok_or_else(without_value)?;
    Ok(Series { labels, value: number(&text)? })
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
        // An infinite value is a breach only for a query that asks for one. Such a breach is not
        // proven over a restart: its timer starts again.
        if value.is_finite() && range.contains(evaluated) {
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
