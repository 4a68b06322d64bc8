//! The answers of a source to queries, or the reason why there is no answer.
//! *Unknown is neither unhealthy nor healthy.*

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::target::Uid;

/// The labels of a series, by name.
pub type Labels = BTreeMap<String, String>;

/// One series of an instant vector with its value at the time of evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// All labels. `__name__` is among them if the expression keeps it.
    pub labels: Labels,
    /// The value of the sample. `NaN` is neither a breach nor evidence.
    pub value: f64,
}

/// The answer of a source to one query.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A complete answer within all limits. It may be empty.
    Answered(Vec<Series>),
    /// No usable answer.
    Unknown(Unknown),
}

impl Answer {
    /// The word for a complete answer. Without one, the word is the reason.
    pub const ANSWERED: &str = "Answered";

    /// No usable answer, for `reason`.
    #[must_use]
    pub fn unknown(reason: UnknownReason, message: impl Into<String>) -> Self {
        Self::Unknown(Unknown { reason, message: message.into() })
    }

    /// The word in conditions, metrics and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Answered(_) => Self::ANSWERED,
            Self::Unknown(unknown) => unknown.reason.as_str(),
        }
    }
}

/// Why there is no usable answer, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The reason, from a fixed set.
    pub reason: UnknownReason,
    /// What happened and what to do, in one sentence. It goes into the status, so it has no
    /// values that change with every evaluation.
    pub message: String,
}

/// The reasons why an answer is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnknownReason {
    /// No connection, or the connection broke.
    Unreachable,
    /// No complete answer before the deadline.
    Timeout,
    /// The source refused the credentials (401, 403).
    Unauthorized,
    /// The source refused the query (400, 422).
    BadQuery,
    /// The answer has more bytes or series than the limits allow.
    TooLarge,
    /// The answer is a scalar, a string or a matrix instead of an instant vector.
    WrongType,
    /// The source said that its answer may be incomplete.
    PartialAnswer,
    /// The answer has series of several Kubernetes clusters, whose objects have the same names.
    SeveralClusters,
    /// The answer is not the JSON that the source's API documents.
    Malformed,
    /// The source object is missing, or not usable yet.
    SourceNotReady,
}

impl UnknownReason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Unauthorized,
        Self::BadQuery,
        Self::TooLarge,
        Self::WrongType,
        Self::PartialAnswer,
        Self::SeveralClusters,
        Self::Malformed,
        Self::SourceNotReady,
    ];

    /// The word in conditions, Events, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::Timeout => "Timeout",
            Self::Unauthorized => "Unauthorized",
            Self::BadQuery => "BadQuery",
            Self::TooLarge => "TooLarge",
            Self::WrongType => "WrongType",
            Self::PartialAnswer => "PartialAnswer",
            Self::SeveralClusters => "SeveralClusters",
            Self::Malformed => "Malformed",
            Self::SourceNotReady => "SourceNotReady",
        }
    }
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answers of one evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The time just before the query was sent, by the API server's clock. The answer
    /// describes this time or a later one.
    pub at: Timestamp,
    /// The answer to the condition's query. Each series in it is a breach.
    pub breach: Answer,
    /// The series of all targets that have data, breached or not. `None`: not queried.
    pub evidence: Option<Answer>,
    /// The breaches during a time without evaluations. `None`: not queried.
    pub history: Option<History>,
    /// Whether the samples behind a target's breach are fresh, for each target for which
    /// that was queried. A function over a range hides a dead exporter for minutes.
    pub freshness: BTreeMap<Uid, Freshness>,
    /// Whether each metric that a breach needs has series. `None`: not queried.
    pub operands: Option<Operands>,
}

/// Whether each metric that a breach needs has series, of any target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operands {
    /// Each of them has series.
    AllReported,
    /// This selector has none, so the query can return nothing.
    Missing(String),
    /// The source gave no usable answer.
    Unknown,
}

/// Whether the samples behind a breach are fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// Every selector that the breach needs has a sample now, and so has every selector that
    /// would inhibit it.
    Fresh,
    /// A selector has no sample, or its exporter may be down. The text names it.
    Stale(String),
    /// The source gave no usable answer.
    Unknown,
}

/// The breaches over a range of time.
#[derive(Debug, Clone, PartialEq)]
pub enum History {
    /// One entry for each series, over the whole range.
    Answered(Vec<SeriesHistory>),
    /// No usable answer.
    Unknown(Unknown),
}

/// When one series was in the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesHistory {
    /// All labels.
    pub labels: Labels,
    /// The evaluation times at which the source returned it, oldest first.
    pub at: Vec<Timestamp>,
}
