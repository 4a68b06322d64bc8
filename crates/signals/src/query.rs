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

mod branches;
mod build;
mod carried;
mod error;
mod evidence;
mod filter;
mod guard;
pub(crate) mod joint;
mod leaf;
mod missing;
mod parse;
mod ratio;
mod recent;
mod tree;
mod window;

use std::sync::Arc;
use std::time::Duration;

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{Expr, VectorSelector};

pub use error::QueryError;
pub use guard::{MAX_LENGTH, MAX_NESTING, MAX_OPERATORS};
pub use joint::ASKED;
pub use leaf::Leaf;

/// The label of the answer to [`Query::ages`].
pub const AGE: &str = "age";

/// An expression whose returned series mean "breached".
///
/// What it is made of is taken apart when somebody asks, which is seldom: a tree takes
/// several times the memory of its text, and a regular expression in it a hundred times.
///
/// # Guarantees
/// It is an instant vector, it filters or has evidence of its own, and its
/// evidence parses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    text: Arc<str>,
    evidence: Box<str>,
    /// Whether the evidence is the user's and not derived.
    is_own_evidence: bool,
    /// Whether our parser has read it: else nothing is known but its text.
    is_read: bool,
    may_join: bool,
    widest_range: Duration,
}

/// How far it can be told that a series is of one place, like a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every selector keeps to it: all series are of it, whatever labels they kept.
    Pinned,
    /// A series can carry the label, and has to.
    Carried,
    /// No series can be of it and say so.
    Lost,
}

impl Query {
    /// Compiles `query`, deriving the evidence query unless `evidence` is given.
    ///
    /// # Errors
    /// [`QueryError`], whose message tells the mend. [`QueryError::is_unread`] is
    /// not the last word: a server may know more than our parser, see
    /// [`Query::unread`].
    pub fn compile(query: &str, evidence: Option<&str>) -> Result<Self, QueryError> {
        let expr = parse::instant_vector(query)?;
        let derived = match evidence {
            Some(own) => {
                parse::instant_vector(own).map_err(QueryError::of_evidence)?;
                own.to_owned()
            }
            None => derived_evidence(&expr)?,
        };
        Ok(Self {
            text: query.into(),
            evidence: derived.into(),
            is_own_evidence: evidence.is_some(),
            is_read: true,
            may_join: joint::may_join(query),
            widest_range: window::widest(&expr),
        })
    }

    /// A query that our parser refuses but the server may accept. Nothing can be
    /// derived from it: the user says who has data (`evidence`) and how far back
    /// the expression looks (`signal_window`). It has no leaves, so that the window
    /// is how long a silent exporter stays unnoticed, and pins no namespace.
    ///
    /// # Errors
    /// Only for what is empty or too long.
    pub fn unread(query: &str, evidence: &str, signal_window: Duration) -> Result<Self, QueryError> {
        guard::check_length(query)?;
        guard::check_length(evidence).map_err(QueryError::of_evidence)?;
        Ok(Self {
            text: query.into(),
            evidence: evidence.into(),
            is_own_evidence: true,
            is_read: false,
            // Where it ends only the server knows.
            may_join: false,
            widest_range: signal_window,
        })
    }

    /// Looks back at least as far as the user says: a recording rule hides its range.
    #[must_use]
    pub fn with_signal_window(mut self, signal_window: Duration) -> Self {
        self.widest_range = self.widest_range.max(signal_window);
        self
    }

    /// The user's text, unchanged: this is what is sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same, to be kept by others as well.
    #[must_use]
    pub fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// Whether it can be asked together with others, by
    /// [`Prometheus::instant_joint`](crate::Prometheus::instant_joint).
    #[must_use]
    pub fn may_join(&self) -> bool {
        self.may_join
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
    pub fn leaves(&self) -> Vec<Leaf> {
        match (self.is_read, parse::instant_vector(&self.text)) {
            (false, _) => Vec::new(),
            (true, Ok(expr)) => leaf::needed(&expr),
            // It was read once, so it is again; if not, nothing proves it.
            (true, Err(_)) => vec![Leaf::unproven()],
        }
    }

    /// The query that tells where in `interval` the newest samples lie that a breach needs:
    /// a series for each part of it, of `parts` equal ones, that is the age of any of them
    /// modulo `interval`; the part's number, from 0 for the newest, is in the label
    /// [`AGE`], the value is how many are that old. `None` when a breach needs no data.
    #[must_use]
    pub fn ages(&self, interval: Duration, parts: u32) -> Option<String> {
        let leaves = self.leaves();
        let selector = leaves.iter().find_map(Leaf::selector)?;
        let interval = interval.as_secs_f64();
        Some(format!(
            "count_values(\"{AGE}\", floor((time() - timestamp({selector})) % {interval} / {interval} * {parts}))"
        ))
    }

    /// How far back a sample can lie and still be seen by the expression:
    /// ranges, subqueries and offsets, added up along the widest path, or what the
    /// user says. Zero for plain instant selectors; the lookback comes on top.
    #[must_use]
    pub fn widest_range(&self) -> Duration {
        self.widest_range
    }

    /// How far the series keep to `label="value"`. What could not be read has to carry it.
    #[must_use]
    pub fn scope(&self, label: &str, value: &str) -> Scope {
        if !self.is_read {
            return Scope::Carried;
        }
        let selectors = self.selectors();
        if !selectors.is_empty() && selectors.iter().all(|one| tree::pin(one, label) == Some(value)) {
            Scope::Pinned
        } else if self.leaves().iter().any(|leaf| leaf.may_carry(label, value)) {
            Scope::Carried
        } else {
            Scope::Lost
        }
    }

    /// Every selector of the expression and of the user's own evidence. What selects nothing
    /// is of no place, whatever its evidence says.
    fn selectors(&self) -> Vec<VectorSelector> {
        let of = |text: &str| {
            let expr = parse::instant_vector(text).ok();
            expr.map(|expr| tree::selectors(&expr).into_iter().cloned().collect::<Vec<_>>()).unwrap_or_default()
        };
        let mut selectors = of(&self.text);
        if self.is_own_evidence && !selectors.is_empty() {
            selectors.extend(of(&self.evidence));
        }
        selectors
    }
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
