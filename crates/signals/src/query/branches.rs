//! The branches of an `or`, and whether one of them can speak for the other.
//!
//! A target that breached by one branch is not cleared by a series of the other while
//! the first one's exporter is silent. Nothing in the answer tells which branch it
//! was. So any branch is evidence only where both are scraped together and fall silent
//! together; elsewhere both must be there, which can only be asked where they have the
//! same labels.

use std::collections::BTreeSet;

use promql_parser::parser::token::T_LOR;
use promql_parser::parser::{Expr, LabelModifier, VectorSelector};

use super::filter::choosing;
use super::tree::{children, matches_vectors, metric_name, peeled, selectors};

/// How two branches stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Branches {
    /// Scraped together: either one is evidence.
    Together,
    /// Grouped by the same labels: both must be there.
    Alike,
    /// Neither: nothing can be derived.
    Torn,
}

pub(super) fn of(lhs: &Expr, rhs: &Expr) -> Branches {
    let (left, right) = (exporters(lhs), exporters(rhs));
    if left == right && left.len() == 1 && !left.contains(&None) {
        return Branches::Together;
    }
    match (grouping(lhs), grouping(rhs)) {
        (Some(left), Some(right)) if left == right => Branches::Alike,
        _ => Branches::Torn,
    }
}

/// Whether `expr` has branches anywhere of which nothing can be derived.
pub(super) fn any_torn(expr: &Expr) -> bool {
    let torn = match expr {
        Expr::Binary(binary) if binary.op.id() == T_LOR => of(&binary.lhs, &binary.rhs) == Branches::Torn,
        _ => false,
    };
    torn || children(expr).into_iter().any(any_torn)
}

fn exporters(expr: &Expr) -> BTreeSet<Option<&str>> {
    selectors(expr).into_iter().map(exporter).collect()
}

/// Who exports a metric, by the convention that a name begins with the word of its
/// exporter: `kube_…`, `container_…`, `node_…`. A recording rule tells nothing; it is
/// as good as its own name.
fn exporter(selector: &VectorSelector) -> Option<&str> {
    let name = metric_name(selector)?;
    if name.contains(':') {
        return Some(name);
    }
    name.split('_').next().filter(|word| !word.is_empty())
}

/// The labels that every series of `expr` has, where they can be told.
fn grouping(expr: &Expr) -> Option<BTreeSet<&str>> {
    match peeled(expr) {
        Expr::Aggregate(aggregate) if choosing(aggregate.op) => grouping(&aggregate.expr),
        Expr::Aggregate(aggregate) => match &aggregate.modifier {
            Some(LabelModifier::Include(labels)) => Some(labels.labels.iter().map(String::as_str).collect()),
            Some(LabelModifier::Exclude(_)) => None,
            None => Some(BTreeSet::new()),
        },
        Expr::Binary(binary) if !matches_vectors(binary) => grouping(&binary.lhs).or_else(|| grouping(&binary.rhs)),
        // All set operators keep the labels of their left side; of `or` both have them.
        Expr::Binary(binary) if binary.op.is_set_operator() => grouping(&binary.lhs),
        Expr::Call(call) if call.func.name.starts_with("histogram_") => None,
        Expr::Unary(unary) => grouping(&unary.expr),
        _ => None,
    }
}
