//! Why an expression is refused when a policy is loaded.

use thiserror::Error;

use super::guard::{MAX_LENGTH, MAX_NESTING, MAX_OPERATORS};

/// Why an expression cannot be a condition. Every message says how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// Empty, or only white space.
    #[error("the query is empty; write an expression such as `up{{job=\"web\"}} == 0`")]
    Empty,
    /// Longer than [`MAX_LENGTH`] bytes.
    #[error("the query has {length} bytes, the limit is {MAX_LENGTH} bytes; move parts of it into a recording rule")]
    TooLong {
        /// Bytes found.
        length: usize,
    },
    /// Brackets nested deeper than [`MAX_NESTING`].
    #[error("the query nests brackets deeper than {MAX_NESTING} levels; move parts of it into a recording rule")]
    TooDeep,
    /// More operators than [`MAX_OPERATORS`].
    #[error("the query has more than {MAX_OPERATORS} operators; move parts of it into a recording rule")]
    TooManyOperators,
    /// The parser refuses it. The server may still accept it.
    #[error(
        "the query does not parse: {message}; correct it, or set `evidence` and `signalWindow` if your Prometheus server accepts the query as it is"
    )]
    Syntax {
        /// The parser's message, at most 160 characters.
        message: String,
    },
    /// A scalar, a string or a range vector.
    #[error("the query is a {found}, not an instant vector; compare a selector with a value, as in `up == 0`")]
    NotAVector {
        /// The type found.
        found: &'static str,
    },
    /// Returns every series, healthy or not.
    #[error(
        "the query filters nothing, so every series it returns would count as breached; compare the value (`… > 0.5`) without `bool`, in every branch of an `or`, or set `evidence`"
    )]
    NoComparison,
    /// No evidence query can be derived.
    #[error(
        "no evidence query can be derived: {why}; set `evidence` to a query that returns a series for every target that has data"
    )]
    EvidenceRequired {
        /// The reason.
        why: String,
    },
    /// The user's own evidence is refused. The reason is inside. [`Self::field`] tells it apart
    /// from an error in the query.
    #[error("{0}")]
    Evidence(Box<QueryError>),
}

impl QueryError {
    /// The reason for conditions: `BadQuery`, `NoComparison`, `EvidenceRequired`
    /// or `BadEvidence`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty
            | Self::TooLong { .. }
            | Self::TooDeep
            | Self::TooManyOperators
            | Self::Syntax { .. }
            | Self::NotAVector { .. } => "BadQuery",
            Self::NoComparison => "NoComparison",
            Self::EvidenceRequired { .. } => "EvidenceRequired",
            Self::Evidence(_) => "BadEvidence",
        }
    }

    /// The field of the condition that is wrong: `query` or `evidence`.
    #[must_use]
    pub fn field(&self) -> &'static str {
        if matches!(self, Self::Evidence(_)) { "evidence" } else { "query" }
    }

    /// Whether our parser does not know the syntax of the query or the evidence. A
    /// server may still know it.
    #[must_use]
    pub fn is_unparsed(&self) -> bool {
        match self {
            Self::Syntax { .. } => true,
            Self::Evidence(inner) => inner.is_unparsed(),
            _ => false,
        }
    }

    pub(super) fn of_evidence(self) -> Self {
        Self::Evidence(Box::new(self))
    }
}
