//! The branches of an `or`: is a series of one branch evidence for the other as well?
//!
//! Harmful case: a target breaches by one branch, then the exporter of that branch stops.
//! A series of the other branch must not clear the target. The answer does not say which
//! branch a series came from. So one branch is evidence for both only if both come from
//! the same exporter and disappear together. Otherwise both branches must have data. Only
//! branches with the same labels can be asked for both.

use std::collections::BTreeSet;

use promql_parser::parser::token::{T_EQLC, T_LOR, T_MIN, T_MUL, TokenType};
use promql_parser::parser::{AggregateExpr, BinaryExpr, Expr, LabelModifier, NumberLiteral};

use super::filter::picks_series;
use super::tree::{children, matches_vectors, metric_name, without_parens};
use super::{build, exporter};

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
    // A fill says itself whether the exporter works.
    if exporter::all_same(lhs, rhs) || is_alive(rhs) {
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

/// The evidence for a branch that fills in zero where a series is missing, as in
/// `… or 0 * up`: the exporters that it stands for are up. `up` has a series for a dead
/// exporter as well, so `0 * up` alone proves nothing. `None`: it is no such branch.
pub(super) fn alive(branch: &Expr) -> Option<Expr> {
    let Expr::Binary(binary) = without_parens(branch) else { return None };
    let is_zero =
        |expr: &Expr| matches!(without_parens(expr), Expr::NumberLiteral(NumberLiteral { val }) if *val == 0.0);
    let filled = match (binary.op.id(), is_zero(&binary.lhs), is_zero(&binary.rhs)) {
        (T_MUL, true, false) => without_parens(&binary.rhs),
        (T_MUL, false, true) => without_parens(&binary.lhs),
        _ => return None,
    };
    let up = match filled {
        Expr::VectorSelector(selector) if metric_name(selector) == Some("up") => filled.clone(),
        Expr::Aggregate(AggregateExpr { expr, modifier, .. }) if is_up(expr) => {
            // The least, because a pod can have several exporters.
            build::aggregate(TokenType::new(T_MIN), None, without_parens(expr).clone(), modifier.clone())
        }
        _ => return None,
    };
    let one = Expr::NumberLiteral(NumberLiteral::new(1.0));
    Some(build::binary(up, TokenType::new(T_EQLC), one, None))
}

/// Whether `expr` is what [`alive`] returns.
fn is_alive(expr: &Expr) -> bool {
    match without_parens(expr) {
        Expr::Binary(BinaryExpr { op, lhs, .. }) if op.id() == T_EQLC => match without_parens(lhs) {
            Expr::Aggregate(aggregate) => aggregate.op.id() == T_MIN && is_up(&aggregate.expr),
            other => is_up(other),
        },
        _ => false,
    }
}

fn is_up(expr: &Expr) -> bool {
    matches!(without_parens(expr), Expr::VectorSelector(selector) if metric_name(selector) == Some("up"))
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
