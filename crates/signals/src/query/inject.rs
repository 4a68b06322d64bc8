//! Adds the labels that a policy's queries must have to every selector of a query, on the
//! syntax tree. So a query returns nothing of another namespace or of another cluster,
//! whatever it does with the labels of its series afterwards.
//!
//! The query that is sent is printed from the tree. The user's text never reaches the
//! source: a comment or a string that another parser reads differently is gone.
//!
//! Rejected: adding the labels to the answer's filter. An `and`, a sum or `scalar()` reads
//! series whose labels are not in the answer.

use std::collections::BTreeMap;

use promql_parser::label::{MatchOp, Matcher, Matchers};
use promql_parser::parser::{Expr, VectorSelector};

use super::{QueryError, guard, parse};

/// Functions that read series which no selector of the query names. `info` joins
/// `target_info` by `job` and `instance`, and `label_replace` can write both.
const READS_UNNAMED: [&str; 1] = ["info"];

/// The labels that every selector of a query must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredLabels {
    /// The namespace that the query may read. `None`: all namespaces.
    pub namespace: Option<RequiredNamespace>,
    /// Labels with the same value for all policies, for example the cluster.
    pub fixed: BTreeMap<String, String>,
}

/// The namespace that a query may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredNamespace {
    /// Its name.
    pub name: String,
    /// The label that is added.
    pub label: String,
    /// Labels that hold the namespace of a series. A selector that requires the namespace
    /// by one of them needs no other.
    pub allowed: Vec<String>,
}

impl RequiredLabels {
    /// Whether nothing is required.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespace.is_none() && self.fixed.is_empty()
    }
}

/// `text` with the required labels in every selector.
///
/// # Errors
/// The text is no valid query, asks for something else than what is required, or uses a
/// function that reads series without a selector.
pub(super) fn into(text: &str, required: &RequiredLabels) -> Result<String, QueryError> {
    guard::check_length(text)?;
    let mut expr = parse::instant_vector(text).map_err(QueryError::within)?;
    every_selector(&mut expr, required)?;
    parse::printed(&mut expr).ok_or(QueryError::NotPrintable)
}

/// A query that was derived from a text with the required labels, with those that it has lost. For
/// example, a derived query drops matchers of the label `status`, and this may be a label of the source.
///
/// # Errors
/// None is expected. If there is one, nothing can be derived.
pub(super) fn again(derived: &str, required: &RequiredLabels) -> Result<String, QueryError> {
    let mut expr = parse::instant_vector(derived)?;
    every_selector(&mut expr, required)?;
    parse::printed(&mut expr).ok_or(QueryError::NotPrintable)
}

/// As [`again`], for one selector.
pub(super) fn again_to(selector: &mut VectorSelector, required: &RequiredLabels) -> Result<(), QueryError> {
    one_selector(&mut selector.matchers, required)
}

/// Every kind of node is named, so that a new kind does not compile before it is handled.
fn every_selector(expr: &mut Expr, required: &RequiredLabels) -> Result<(), QueryError> {
    match expr {
        Expr::Aggregate(aggregate) => {
            if let Some(param) = &mut aggregate.param {
                every_selector(param, required)?;
            }
            every_selector(&mut aggregate.expr, required)
        }
        Expr::Unary(unary) => every_selector(&mut unary.expr, required),
        Expr::Binary(binary) => {
            every_selector(&mut binary.lhs, required)?;
            every_selector(&mut binary.rhs, required)
        }
        Expr::Paren(paren) => every_selector(&mut paren.expr, required),
        Expr::Subquery(subquery) => every_selector(&mut subquery.expr, required),
        Expr::Call(call) => match READS_UNNAMED.iter().find(|name| **name == call.func.name) {
            Some(function) => Err(QueryError::ReadsUnnamedSeries { function }),
            None => call.args.args.iter_mut().try_for_each(|argument| every_selector(argument, required)),
        },
        Expr::VectorSelector(selector) => one_selector(&mut selector.matchers, required),
        Expr::MatrixSelector(matrix) => one_selector(&mut matrix.vs.matchers, required),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(()),
        // The parser never creates one.
        Expr::Extension(_) => Err(QueryError::NotPrintable),
    }
}

/// With `or` inside its braces a selector is as wide as its widest alternative.
fn one_selector(matchers: &mut Matchers, required: &RequiredLabels) -> Result<(), QueryError> {
    if matchers.or_matchers.is_empty() {
        return one_alternative(&mut matchers.matchers, required);
    }
    matchers.or_matchers.iter_mut().try_for_each(|group| one_alternative(group, required))
}

fn one_alternative(group: &mut Vec<Matcher>, required: &RequiredLabels) -> Result<(), QueryError> {
    for (label, value) in &required.fixed {
        if let Some(other) = group.iter().find(|one| one.name == *label && !one.is_match(value)) {
            return Err(QueryError::OtherLabel { asked: other.to_string(), required: equal(label, value).to_string() });
        }
        if !is_pinned(group, label, value) {
            group.push(equal(label, value));
        }
    }
    match &required.namespace {
        Some(namespace) => one_namespace(group, namespace),
        None => Ok(()),
    }
}

fn one_namespace(group: &mut Vec<Matcher>, namespace: &RequiredNamespace) -> Result<(), QueryError> {
    let RequiredNamespace { name, label, allowed } = namespace;
    let pinned = std::iter::once(label).chain(allowed).find(|label| is_pinned(group, label, name));
    let narrows = pinned.unwrap_or(label);
    let asks_elsewhere = |one: &&Matcher| {
        if one.name == *narrows {
            return !one.is_match(name);
        }
        // Beside a pin, another label can only narrow the selector further.
        pinned.is_none() && allowed.contains(&one.name) && !one.is_match(name) && !one.is_match("")
    };
    if let Some(other) = group.iter().find(asks_elsewhere) {
        let (asked, namespace) = (other.to_string(), name.clone());
        return Err(QueryError::OtherNamespace { asked, namespace, added: equal(label, name).to_string() });
    }
    if pinned.is_none() {
        group.push(equal(label, name));
    }
    Ok(())
}

fn is_pinned(group: &[Matcher], label: &str, value: &str) -> bool {
    group.iter().any(|one| one.name == label && one.value == value && matches!(one.op, MatchOp::Equal))
}

fn equal(label: &str, value: &str) -> Matcher {
    Matcher::new(MatchOp::Equal, label, value)
}
