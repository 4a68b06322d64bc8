//! What was seen, as values: the answer of a source to a query, or the reason
//! why there is none. *Unknown is neither sick nor healthy.*

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::target::Uid;

/// The labels of a series, by name.
pub type Labels = BTreeMap<String, String>;

/// One series of an instant vector with its value at the time of evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// All labels, `__name__` included where the expression kept it.
    pub labels: Labels,
    /// The sample's value. `NaN` is neither breach nor evidence.
    pub value: f64,
}

/// What a source said to one query.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A whole answer within all limits. Empty is a whole answer, too.
    Answered(Vec<Series>),
    /// No answer that may be relied on.
    Unknown(Unknown),
}

impl Answer {
    /// The word for a whole answer, where else stands the reason why there is none.
    pub const ANSWERED: &str = "Answered";

    /// An answer that may not be relied on, for `reason`.
    #[must_use]
    pub fn unknown(reason: UnknownReason, message: impl Into<String>) -> Self {
        Self::Unknown(Unknown { reason, message: message.into() })
    }

    /// The word used in conditions, metrics and logs alike.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Answered(_) => Self::ANSWERED,
            Self::Unknown(unknown) => unknown.reason.as_str(),
        }
    }
}

/// Why there is no answer, with the words that tell the mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The reason, from a bounded vocabulary.
    pub reason: UnknownReason,
    /// What happened and what to do, in one sentence. Free of values that
    /// change with every poll, for it goes into status.
    pub message: String,
}

/// The bounded vocabulary of what makes an answer unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnknownReason {
    /// No connection, or it broke.
    Unreachable,
    /// No whole answer before the deadline.
    Timeout,
    /// The source wants other credentials (401, 403).
    Unauthorized,
    /// The source refused the query (400, 422).
    BadQuery,
    /// More bytes or series than the limits allow.
    TooLarge,
    /// A scalar, string or matrix where an instant vector was asked for.
    WrongType,
    /// The source warned that its answer may lack something.
    PartialAnswer,
    /// Not the JSON that the source's API promises.
    Malformed,
    /// The source object is missing or not usable yet.
    SourceNotReady,
}

impl UnknownReason {
    /// Every reason, for tables and metrics that must be complete.
    pub const ALL: [Self; 9] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Unauthorized,
        Self::BadQuery,
        Self::TooLarge,
        Self::WrongType,
        Self::PartialAnswer,
        Self::Malformed,
        Self::SourceNotReady,
    ];

    /// The word used in conditions, Events, metrics and logs alike.
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

/// Everything that was asked of the source in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The instant before the query was asked, by the API server's clock: the answer tells of
    /// then or later.
    pub at: Timestamp,
    /// The condition's answer: a returned series means breached.
    pub breach: Answer,
    /// For whom there is data at all; `None` when it was not asked.
    pub evidence: Option<Answer>,
    /// Who was breached when, over a time that nobody looked at; `None` when it was
    /// not asked.
    pub history: Option<History>,
    /// For each target that was asked about: whether the samples behind its breach are
    /// fresh. A function over a range hides a dead exporter for minutes.
    pub freshness: BTreeMap<Uid, Freshness>,
}

/// Whether the samples behind a breach are fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Every selector that the breach needs has a sample right now.
    Fresh,
    /// One of them has none: the exporter is silent.
    Stale,
    /// The source did not say.
    Unknown,
}

/// Who was breached when.
#[derive(Debug, Clone, PartialEq)]
pub enum History {
    /// One entry a series, over the whole time that was asked for.
    Answered(Vec<SeriesHistory>),
    /// No answer that may be relied on.
    Unknown(Unknown),
}

/// When one series was there.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesHistory {
    /// All labels.
    pub labels: Labels,
    /// The instants of evaluation at which it was returned, in order.
    pub at: Vec<Timestamp>,
}
