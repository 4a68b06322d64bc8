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
    /// The parser refuses it, so the labels that the source requires cannot be added.
    #[error(
        "the query does not parse: {message}; correct it. Syntax that only your Prometheus server knows needs a source with `isolation: None` and without `matchLabels`"
    )]
    SyntaxWithin {
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
    /// A selector asks for another namespace than the policy's.
    #[error(
        "the query asks for {asked}, but the policy may read only its own namespace {namespace:?}: remove this matcher; Prunella adds {added} to every selector. Only a source whose administrator sets `isolation: None` lets a policy read other namespaces"
    )]
    OtherNamespace {
        /// The matcher of the query.
        asked: String,
        /// The policy's namespace.
        namespace: String,
        /// The matcher that is added.
        added: String,
    },
    /// A selector asks for other series than those the source gives out.
    #[error("the query asks for {asked}, but `matchLabels` of the source requires {required}: remove this matcher")]
    OtherLabel {
        /// The matcher of the query.
        asked: String,
        /// The matcher that is added.
        required: String,
    },
    /// What holds actions back by existing may have no series that the policy may read.
    #[error(
        "{selector} holds actions back while it has series, but the policy reads only series with {required}, and nothing in the query shows that these have the label: add {required} to this selector if they do. If they do not, for example because they are about nodes, the policy would act although it must not: ask for a source with `isolation: None`, or for a recording rule that adds the label"
    )]
    UnreadableInhibitor {
        /// The selector of the query.
        selector: String,
        /// The matcher that is added.
        required: String,
    },
    /// A function reads series that no selector names.
    #[error(
        "the function {function}() reads series that no selector of the query names, so they cannot be restricted to the policy's namespace: write the join with `group_left`"
    )]
    ReadsUnnamedSeries {
        /// The function.
        function: &'static str,
    },
    /// The tree cannot be printed without changing it, so nothing can be added to it.
    #[error(
        "Prunella cannot add the required labels to the query, because the query changes when it is printed and parsed again; write it in a simpler way"
    )]
    NotPrintable,
    /// The user's own evidence is refused. The reason is inside. [`Self::field`] tells it apart
    /// from an error in the query.
    #[error("{0}")]
    Evidence(Box<QueryError>),
}

impl QueryError {
    /// The reason for conditions: `BadQuery`, `NotAllowed`, `NoComparison`,
    /// `EvidenceRequired` or `BadEvidence`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty
            | Self::TooLong { .. }
            | Self::TooDeep
            | Self::TooManyOperators
            | Self::Syntax { .. }
            | Self::SyntaxWithin { .. }
            | Self::NotAVector { .. }
            | Self::ReadsUnnamedSeries { .. }
            | Self::NotPrintable => "BadQuery",
            Self::OtherNamespace { .. } | Self::OtherLabel { .. } | Self::UnreadableInhibitor { .. } => "NotAllowed",
            Self::NoComparison => "NoComparison",
            Self::EvidenceRequired { .. } => "EvidenceRequired",
            Self::Evidence(inner) if inner.reason() == "NotAllowed" => "NotAllowed",
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

    /// Whether another source, or other settings of the source, can make the query work.
    #[must_use]
    pub fn is_of_source(&self) -> bool {
        match self {
            Self::OtherNamespace { .. }
            | Self::OtherLabel { .. }
            | Self::UnreadableInhibitor { .. }
            | Self::SyntaxWithin { .. }
            | Self::ReadsUnnamedSeries { .. }
            | Self::NotPrintable => true,
            Self::Evidence(inner) => inner.is_of_source(),
            _ => false,
        }
    }

    /// The error of a query to which labels must be added.
    pub(super) fn within(self) -> Self {
        match self {
            Self::Syntax { message } => Self::SyntaxWithin { message },
            other => other,
        }
    }

    pub(super) fn of_evidence(self) -> Self {
        Self::Evidence(Box::new(self))
    }
}
