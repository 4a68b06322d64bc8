//! A policy's expression, parsed and then resolved: what a [`Query`] says about
//! itself cannot be wrong afterwards.
//!
//! ```text
//! text ─ guard ─▶ parse ─▶ must filter ─▶ evidence ─▶ Query
//! ```
//!
//! What is sent is always the user's own text: the parser prints some escapes
//! differently and does not know the newest syntax. Only what is derived, the
//! evidence and the leaves, is printed from the tree.

mod build;
mod carried;
mod error;
mod evidence;
mod filter;
mod guard;
mod leaf;
mod parse;
mod ratio;
mod tree;
mod window;

use std::time::Duration;

use promql_parser::parser::Expr;
use promql_parser::parser::value::ValueType;

pub use error::QueryError;
pub use guard::{MAX_LENGTH, MAX_NESTING, MAX_OPERATORS};
pub use leaf::Leaf;

/// An expression whose returned series mean "breached".
///
/// # Guarantees
/// It is an instant vector, it filters or has evidence of its own, and its
/// evidence parses.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    text: String,
    evidence: String,
    leaves: Vec<Leaf>,
    widest_range: Duration,
    namespaces: Pins,
}

/// Which namespaces the selectors name.
#[derive(Debug, Clone, PartialEq)]
enum Pins {
    /// The only namespace that every selector names, if there is one.
    All(Option<String>),
    /// The expression could not be read.
    Unread,
}

impl Query {
    /// Compiles `query`, deriving the evidence query unless `evidence` is given.
    ///
    /// # Errors
    /// [`QueryError`], whose message tells the mend. [`QueryError::Syntax`] is
    /// not the last word: a server may know more than our parser, see
    /// [`Query::unread`].
    pub fn compile(query: &str, evidence: Option<&str>) -> Result<Self, QueryError> {
        let expr = parse::instant_vector(query)?;
        let evidence = match evidence {
            Some(own) => own_evidence(own)?,
            None => derived_evidence(&expr)?,
        };
        Ok(Self {
            text: query.to_owned(),
            evidence,
            leaves: leaf::needed(&expr),
            widest_range: window::widest(&expr),
            namespaces: Pins::All(tree::pinned_namespace(&expr)),
        })
    }

    /// A query that our parser refuses but the server may accept. Nothing can be
    /// derived from it: the user says who has data (`evidence`) and how far back
    /// the expression looks (`signal_window`). It has no leaves and pins no
    /// namespace.
    ///
    /// # Errors
    /// Only for what is empty or too long.
    pub fn unread(query: &str, evidence: &str, signal_window: Duration) -> Result<Self, QueryError> {
        guard::check_length(query)?;
        guard::check_length(evidence).map_err(QueryError::of_evidence)?;
        Ok(Self {
            text: query.to_owned(),
            evidence: evidence.to_owned(),
            leaves: Vec::new(),
            widest_range: signal_window,
            namespaces: Pins::Unread,
        })
    }

    /// The user's text, unchanged: this is what is sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The query that returns a series for everybody of whom the expression
    /// knows something, sick or not. Its values mean nothing, but `NaN` is no
    /// evidence. In rare cases the server refuses it, when a filter was what kept
    /// the series under a `label_replace` apart: then evidence must be given.
    #[must_use]
    pub fn evidence(&self) -> &str {
        &self.evidence
    }

    /// What must be there *now* for a breach to be fresh; every one of them must
    /// answer with a series. Empty when a breach needs no data (`absent`).
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// How far back a sample can lie and still be seen by the expression:
    /// ranges, subqueries and offsets, added up along the widest path. Zero for
    /// plain instant selectors; the lookback comes on top.
    #[must_use]
    pub fn widest_range(&self) -> Duration {
        self.widest_range
    }

    /// Whether every selector has the matcher `namespace="<namespace>"`.
    #[must_use]
    pub fn pins_namespace(&self, namespace: &str) -> bool {
        match &self.namespaces {
            Pins::All(Some(pinned)) => pinned == namespace,
            Pins::All(None) | Pins::Unread => false,
        }
    }
}

fn own_evidence(text: &str) -> Result<String, QueryError> {
    parse::instant_vector(text).map_err(QueryError::of_evidence)?;
    Ok(text.to_owned())
}

fn derived_evidence(expr: &Expr) -> Result<String, QueryError> {
    debug_assert_eq!(expr.value_type(), ValueType::Vector);
    if !filter::filters(expr) {
        return Err(QueryError::NoComparison);
    }
    let required = |why: &str| QueryError::EvidenceRequired { why: why.to_owned() };
    let derived = evidence::derive(expr).map_err(required)?;
    let printed = derived.to_string();
    // The printer is not trusted: what it prints must mean what was meant.
    match parse::instant_vector(&printed) {
        Ok(again) if again == derived => Ok(printed),
        Ok(_) | Err(_) => Err(required("the derived query does not survive printing")),
    }
}
