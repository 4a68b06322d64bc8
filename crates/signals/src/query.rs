//! A policy's expression, parsed and checked once. A [`Query`] that exists is valid.
//!
//! ```text
//! text ─ guard ─▶ parse ─▶ must filter ─▶ evidence ─▶ Query
//! ```
//!
//! With required labels ([`Query::compile_within`]) everything that is sent is printed from
//! the syntax tree. Without them Prunella sends the user's own text, because the parser
//! prints some escapes differently and does not know the newest syntax. Then only derived
//! queries, the evidence and the leaves, are printed.

mod advice;
mod branches;
mod build;
mod carried;
mod error;
mod evidence;
mod exporter;
mod filter;
mod guard;
mod inhibitor;
mod inject;
mod leaf;
mod locate;
mod missing;
mod operands;
mod parse;
mod picked;
mod ratio;
mod recent;
mod tree;
mod unit;
mod vanishing;
mod window;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use promql_parser::parser::token::{T_DIV, T_MOD};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{Expr, VectorSelector};

pub use error::QueryError;
pub use guard::{MAX_LENGTH, MAX_NESTING, MAX_OPERATORS};
pub use inject::{RequiredLabels, RequiredNamespace};
pub use leaf::Leaf;
pub use operands::OPERAND;
pub use unit::ValueUnit;

/// The label of the series that [`Query::ages`] returns.
pub const AGE: &str = "age";

/// An expression. Every series that it returns means "breached".
///
/// The struct keeps the text and parses it again when the tree is needed, which is
/// rare. A tree takes several times the memory of its text, and a regular expression
/// in it takes a hundred times the memory.
///
/// # Guarantees
/// The expression is an instant vector. It filters, or the user gave an evidence
/// query. The evidence query parses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    text: Arc<str>,
    evidence: Box<str>,
    /// Whether the user wrote the evidence query. If not, it was derived.
    is_own_evidence: bool,
    /// Whether our parser accepted the expression. If not, only its text is known.
    is_parsed: bool,
    /// What was added to every selector.
    required: RequiredLabels,
    infinite: InfiniteValue,
    widest_range: Duration,
}

/// What an infinite value is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InfiniteValue {
    Breach,
    Ignored,
}

/// How the series of a query relate to one label value, such as
/// `namespace="shop"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelScope {
    /// Every selector requires the value. So every series belongs to it, even a series
    /// that lost the label.
    Pinned,
    /// A series can carry the value. The caller must check the label of each series.
    Carried,
    /// No series can carry the value.
    Lost,
}

impl Query {
    /// Compiles `query`. Derives the evidence query unless `evidence` is given.
    ///
    /// # Errors
    /// [`QueryError`]; its message says how to fix the query. If
    /// [`QueryError::is_unparsed`], a server may still accept the query: see
    /// [`Query::unparsed`].
    pub fn compile(query: &str, evidence: Option<&str>) -> Result<Self, QueryError> {
        guard::check_length(query)?;
        evidence.map_or(Ok(()), guard::check_length).map_err(QueryError::of_evidence)?;
        Self::of(query, evidence)
    }

    /// Compiles `query` after `required` was added to every selector of it and of
    /// `evidence`. So every query that is derived has the labels as well.
    ///
    /// # Errors
    /// As [`Query::compile`], and if a selector asks for something else than `required`, or if what
    /// holds actions back by existing may have no series with these labels.
    pub fn compile_within(query: &str, evidence: Option<&str>, required: &RequiredLabels) -> Result<Self, QueryError> {
        if required.is_empty() {
            return Self::compile(query, evidence);
        }
        let text = inject::into(query, required)?;
        if let Some(namespace) = &required.namespace {
            inhibitor::check(&parse::instant_vector(query)?, namespace)?;
        }
        let evidence = evidence.map(|own| inject::into(own, required)).transpose().map_err(QueryError::of_evidence)?;
        let query = Self::of(&text, evidence.as_deref())?;
        let evidence = inject::again(&query.evidence, required).map_err(QueryError::of_evidence)?.into();
        Ok(Self { required: required.clone(), evidence, ..query })
    }

    fn of(query: &str, evidence: Option<&str>) -> Result<Self, QueryError> {
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
            is_parsed: true,
            required: RequiredLabels::default(),
            infinite: if divides(&expr) && !names_infinity(&expr) {
                InfiniteValue::Ignored
            } else {
                InfiniteValue::Breach
            },
            widest_range: window::widest(&expr),
        })
    }

    /// A query that our parser refuses but the server may accept. Nothing can be
    /// derived from it, so the user says which targets have data (`evidence`) and how
    /// far back the expression looks (`signal_window`). It has no leaves: a silent
    /// exporter can stay unnoticed for the whole window. It pins no namespace.
    ///
    /// # Errors
    /// Only if the query or the evidence is empty or too long.
    pub fn unparsed(query: &str, evidence: &str, signal_window: Duration) -> Result<Self, QueryError> {
        guard::check_length(query)?;
        guard::check_length(evidence).map_err(QueryError::of_evidence)?;
        Ok(Self {
            text: query.into(),
            evidence: evidence.into(),
            is_own_evidence: true,
            is_parsed: false,
            required: RequiredLabels::default(),
            infinite: InfiniteValue::Breach,
            widest_range: signal_window,
        })
    }

    /// What the values of the query measure.
    #[must_use]
    pub fn unit(&self) -> ValueUnit {
        self.tree().map_or(ValueUnit::Plain, |expr| unit::of(&expr))
    }

    /// Sets the least time that the query looks back. Needed for recording rules, which
    /// hide their range.
    #[must_use]
    pub fn with_signal_window(mut self, signal_window: Duration) -> Self {
        self.widest_range = self.widest_range.max(signal_window);
        self
    }

    /// What Prunella sends: the user's text, or its tree with the required labels.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// [`Query::text`] as a shared pointer, for callers that keep it.
    #[must_use]
    pub fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// Whether an infinite value is a value like any other. A division by zero returns one for every
    /// bound, so a query that divides asks for one only if it has an infinite number in it.
    #[must_use]
    pub fn counts_infinity(&self) -> bool {
        self.infinite == InfiniteValue::Breach
    }

    /// The evidence query. It returns one series for every target that has data,
    /// healthy or not. Its values have no meaning, but `NaN` is not evidence.
    ///
    /// The server can refuse a derived query in one rare case: a filter kept the series
    /// under a `label_replace` distinct, and without it two series have the same labels.
    /// Then the user must set `evidence`.
    #[must_use]
    pub fn evidence(&self) -> &str {
        &self.evidence
    }

    /// What must be proven *now*, so that a breach is fresh: the selectors that it needs have
    /// samples, and so have those that would inhibit it. Every leaf must return a series.
    #[must_use]
    pub fn leaves(&self) -> Vec<Leaf> {
        match (self.is_parsed, parse::instant_vector(&self.text)) {
            (false, _) => Vec::new(),
            (true, Ok(expr)) => leaf::needed(&expr).into_iter().map(|leaf| leaf.within(&self.required)).collect(),
            // It parsed before, so this does not happen. If it does, nothing proves the
            // breach.
            (true, Err(_)) => vec![Leaf::unproven()],
        }
    }

    /// Whether the user wrote the evidence query. Its series may be of another metric.
    #[must_use]
    pub fn has_own_evidence(&self) -> bool {
        self.is_own_evidence
    }

    /// The labels that may have other values in the evidence than in a series that was
    /// breached.
    #[must_use]
    pub fn varying_labels(&self) -> BTreeSet<String> {
        let mut labels = self.tree().map(|expr| vanishing::varying_labels(&expr)).unwrap_or_default();
        labels.retain(|label| !self.required.fixed.contains_key(label));
        labels
    }

    /// The selectors without which a breach is impossible. A metric that exists only while
    /// something is wrong is not among them.
    #[must_use]
    pub fn operands(&self) -> Vec<Leaf> {
        let operands = self.tree().map(|expr| operands::of(&expr)).unwrap_or_default();
        operands.into_iter().map(|leaf| leaf.within(&self.required)).collect()
    }

    /// The query for the operands that have no series at all: it returns one series for each,
    /// with its number in [`Query::operands`] in the label [`OPERAND`]. `None` if there are
    /// fewer than two: then the evidence tells as much.
    #[must_use]
    pub fn missing_operands(&self) -> Option<String> {
        operands::query(&self.operands())
    }

    /// What is valid but may not do what the user wants, each with the fix.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        self.tree().map(|expr| advice::of(&expr, self.is_own_evidence, &self.required)).unwrap_or_default()
    }

    /// The query for the age of the newest samples that a breach needs, modulo
    /// `interval`. `interval` is divided into `parts` equal parts. The query returns one
    /// series for each part that has samples: the label [`AGE`] is the number of the
    /// part (0 is the newest), the value is the number of samples. `None` if a breach
    /// needs no data.
    #[must_use]
    pub fn ages(&self, interval: Duration, parts: u32) -> Option<String> {
        let leaves = self.leaves();
        let selector = leaves.iter().find_map(Leaf::selector)?;
        let interval = interval.as_secs_f64();
        Some(format!(
            "count_values(\"{AGE}\", floor((time() - timestamp({selector})) % {interval} / {interval} * {parts}))"
        ))
    }

    /// The query for how many samples a series usually has in `window`, counted only for series
    /// that are older than it. It returns one series. `None` if a breach needs no data.
    #[must_use]
    pub fn samples_in(&self, window: Duration) -> Option<String> {
        let leaves = self.leaves();
        let selector = leaves.iter().find_map(Leaf::selector)?;
        let window = window.as_secs();
        Some(format!(
            "quantile(0.5, count_over_time({selector}[{window}s]) and present_over_time({selector}[{window}s] offset {window}s))"
        ))
    }

    /// The age of the oldest sample that the expression can use: ranges, subqueries and
    /// offsets, added up along the widest path, or the user's `signal_window` if that is
    /// longer. The past that the query compares with does not count. Zero for plain instant
    /// selectors. The lookback is not included.
    #[must_use]
    pub fn widest_range(&self) -> Duration {
        self.widest_range
    }

    /// How far back the past reaches that the query compares with, as in
    /// `A > 2 * (A offset 1d)`. `None`: it compares with no past.
    #[must_use]
    pub fn baseline(&self) -> Option<Duration> {
        self.tree().and_then(|expr| window::widest_baseline(&expr))
    }

    /// How the series of the query relate to `label="value"`. The series of an unparsed
    /// query must carry the label.
    #[must_use]
    pub fn scope(&self, label: &str, value: &str) -> LabelScope {
        if !self.is_parsed {
            return LabelScope::Carried;
        }
        let selectors = self.selectors();
        let is_confined = self.required.namespace.is_some();
        let is_pinned = |one: &VectorSelector| is_confined || tree::pin(one, label) == Some(value);
        if !selectors.is_empty() && selectors.iter().all(is_pinned) {
            LabelScope::Pinned
        } else if self.leaves().iter().any(|leaf| leaf.may_carry(label, value)) {
            LabelScope::Carried
        } else {
            LabelScope::Lost
        }
    }

    /// Whether every selector requires the same value of `label`. False for an unparsed query.
    #[must_use]
    pub fn pins(&self, label: &str) -> bool {
        let selectors = self.selectors();
        let value = selectors.first().and_then(|first| tree::pin(first, label));
        value.is_some() && selectors.iter().all(|one| tree::pin(one, label) == value)
    }

    /// The syntax tree. `None` if our parser does not know the expression.
    fn tree(&self) -> Option<Expr> {
        self.is_parsed.then(|| parse::instant_vector(&self.text).ok()).flatten()
    }

    /// Every selector of the expression and of the user's own evidence. Empty if the
    /// expression has no selector: then its evidence cannot pin a label either.
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

fn names_infinity(expr: &Expr) -> bool {
    match expr {
        Expr::NumberLiteral(number) => number.val.is_infinite(),
        _ => tree::children(expr).into_iter().any(names_infinity),
    }
}

fn divides(expr: &Expr) -> bool {
    let here = matches!(expr, Expr::Binary(binary) if matches!(binary.op.id(), T_DIV | T_MOD));
    here || tree::children(expr).into_iter().any(divides)
}

fn derived_evidence(expr: &Expr) -> Result<String, QueryError> {
    debug_assert_eq!(expr.value_type(), ValueType::Vector);
    if !filter::filters(expr) {
        return Err(QueryError::NoComparison);
    }
    let required = |why: &str| QueryError::EvidenceRequired { why: why.to_owned() };
    let mut derived = evidence::derive(expr).map_err(required)?;
    let changes = || required("the derived query changes when it is printed and parsed again");
    parse::printed(&mut derived).ok_or_else(changes)
}
