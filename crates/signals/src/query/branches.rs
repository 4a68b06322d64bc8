//! The branches of an `or`: is a series of one branch evidence for the other as well?
//!
//! Harmful case: a target breaches by one branch, then the exporter of that branch stops.
//! A series of the other branch must not clear the target. The answer does not say which
//! branch a series came from. So one branch is evidence for both only if both come from
//! the same exporter and disappear together. Otherwise both branches must have data. Only
//! branches with the same labels can be asked for both.

use std::collections::BTreeSet;

use promql_parser::parser::token::T_LOR;
use promql_parser::parser::{Expr, LabelModifier, VectorSelector};

use super::filter::picks_series;
use super::tree::{children, matches_vectors, metric_name, selectors, without_parens};

/// What two branches of an `or` have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Branches {
    /// Both come from the same exporter: a series of either one is evidence.
    SameExporter,
    /// Both are grouped by the same labels: both must have data.
    SameLabels,
    /// Nothing: no evidence can be derived.
    Unrelated,
}

pub(super) fn of(lhs: &Expr, rhs: &Expr) -> Branches {
    let (left, right) = (exporters(lhs), exporters(rhs));
    if left == right && left.len() == 1 && !left.contains(&None) {
        return Branches::SameExporter;
    }
    match (grouping(lhs), grouping(rhs)) {
        (Some(left), Some(right)) if left == right => Branches::SameLabels,
        _ => Branches::Unrelated,
    }
}

/// Whether `expr` has unrelated branches anywhere.
pub(super) fn any_unrelated(expr: &Expr) -> bool {
    let unrelated = match expr {
        Expr::Binary(binary) if binary.op.id() == T_LOR => of(&binary.lhs, &binary.rhs) == Branches::Unrelated,
        _ => false,
    };
    unrelated || children(expr).into_iter().any(any_unrelated)
}

fn exporters(expr: &Expr) -> BTreeSet<Option<&str>> {
    selectors(expr).into_iter().map(exporter).collect()
}

/// The exporter of a metric, by the convention that a metric name starts with the
/// exporter's prefix: `kube_…`, `container_…`, `node_…`. The name of a recording rule
/// says nothing about its exporter, so every rule counts as an exporter of its own.
fn exporter(selector: &VectorSelector) -> Option<&str> {
    let name = metric_name(selector)?;
    if name.contains(':') {
        return Some(name);
    }
    name.split('_').next().filter(|word| !word.is_empty())
}

/// The labels that every series of `expr` has, if that is known.
fn grouping(expr: &Expr) -> Option<BTreeSet<&str>> {
    match without_parens(expr) {
        Expr::Aggregate(aggregate) if picks_series(aggregate.op) => grouping(&aggregate.expr),
        Expr::Aggregate(aggregate) => match &aggregate.modifier {
            Some(LabelModifier::Include(labels)) => Some(labels.labels.iter().map(String::as_str).collect()),
            Some(LabelModifier::Exclude(_)) => None,
            None => Some(BTreeSet::new()),
        },
        Expr::Binary(binary) if !matches_vectors(binary) => grouping(&binary.lhs).or_else(|| grouping(&binary.rhs)),
        // Set operators keep the labels of their left side. Both sides of an `or` have them.
        Expr::Binary(binary) if binary.op.is_set_operator() => grouping(&binary.lhs),
        Expr::Call(call) if call.func.name.starts_with("histogram_") => None,
        Expr::Unary(unary) => grouping(&unary.expr),
        _ => None,
    }
}
