//! Ratios whose numerator can be missing while the target is healthy. Example: a fresh pod
//! has requests but no series of failures yet. Then `B > 0` is the evidence for `A / B`.
//! Without requests there is no evidence.
//!
//! This holds only if both sides come from the same exporter. Counterexample: memory
//! divided by its limit comes from two exporters. The limit is no evidence while
//! the exporter of the memory is dead. Then both sides must have data. The same is true
//! for CPU seconds of the kubelet divided by requests of the app.

use std::collections::BTreeSet;

use promql_parser::label::Labels;
use promql_parser::parser::token::{T_DIV, T_GTR, T_MAX, TokenType};
use promql_parser::parser::{AggregateExpr, BinaryExpr, Expr, LabelModifier, NumberLiteral, VectorMatchCardinality};

use super::filter::{compares, fills, filters};
use super::tree::{children, is_vector, matches_vectors, metric_name, selectors, without_parens};
use super::{build, exporter, recent};

/// `B > 0` for a ratio whose numerator can be missing, `None` for any other expression.
pub(super) fn proof(binary: &BinaryExpr) -> Option<Expr> {
    let is_ratio = binary.op.id() == T_DIV && matches_vectors(binary) && !fills(binary);
    if !is_ratio || !may_lack_numerator(&binary.lhs, &binary.rhs) {
        return None;
    }
    let denominator = with_labels_of_result(unfiltered(&binary.rhs)?, binary)?;
    let zero = Expr::NumberLiteral(NumberLiteral::new(0.0));
    let denominator = recent::with_recent_samples(&denominator);
    Some(build::binary(denominator, TokenType::new(T_GTR), zero, None))
}

/// Whether both sides use the same metrics, or both use only counters, and neither side is
/// known to be of another exporter.
fn may_lack_numerator(numerator: &Expr, denominator: &Expr) -> bool {
    let names = |expr| selectors(expr).into_iter().map(metric_name).collect::<BTreeSet<_>>();
    let (above, below) = (names(numerator), names(denominator));
    if above.is_empty() || above.contains(&None) || !at_one_time(numerator, denominator) {
        return false;
    }
    if exporter::any_differ(numerator, denominator) {
        return false;
    }
    above.is_subset(&below) || (only_counters(numerator) && only_counters(denominator))
}

/// Whether all selectors have the same time shift: data of an hour ago does not prove
/// that there is data now.
fn at_one_time(numerator: &Expr, denominator: &Expr) -> bool {
    let all = [selectors(numerator), selectors(denominator)].concat();
    let same = all.windows(2).all(|pair| match pair {
        [a, b] => a.offset == b.offset && a.at == b.at,
        _ => true,
    });
    same && !shifts_subquery(numerator) && !shifts_subquery(denominator)
}

fn shifts_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(subquery) if subquery.offset.is_some() || subquery.at.is_some() => true,
        _ => children(expr).into_iter().any(shifts_subquery),
    }
}

/// Whether every selector is the argument of a counter function.
fn only_counters(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) if matches!(call.func.name, "rate" | "irate" | "increase") => true,
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) => false,
        _ => children(expr).into_iter().all(only_counters),
    }
}

/// The denominator without its filters. `None` if removing a filter would change its
/// value.
fn unfiltered(expr: &Expr) -> Option<Expr> {
    match without_parens(expr) {
        Expr::Binary(binary) if compares(binary) => match (is_vector(&binary.lhs), is_vector(&binary.rhs)) {
            (true, false) => unfiltered(&binary.lhs),
            (false, true) => unfiltered(&binary.rhs),
            _ => None,
        },
        Expr::Aggregate(aggregate) if filters(&aggregate.expr) => {
            Some(Expr::Aggregate(AggregateExpr { expr: Box::new(unfiltered(&aggregate.expr)?), ..aggregate.clone() }))
        }
        other if filters(other) => None,
        other => Some(other.clone()),
    }
}

/// Reduces the denominator to the labels of the ratio's result. With `on`, the
/// denominator has more labels than the result, so its series would match no target.
fn with_labels_of_result(denominator: Expr, binary: &BinaryExpr) -> Option<Expr> {
    let Some(modifier) = &binary.modifier else { return Some(denominator) };
    let grouping = match (&modifier.card, &modifier.matching) {
        (VectorMatchCardinality::OneToOne, None) => return Some(denominator),
        (VectorMatchCardinality::OneToOne, Some(matching)) => matching.clone(),
        (VectorMatchCardinality::OneToMany(extra), _) if extra.is_empty() => return Some(denominator),
        (VectorMatchCardinality::OneToMany(extra), _) => LabelModifier::Exclude(extra.clone()),
        // The result has more labels than the denominator, but no other name of a target.
        (VectorMatchCardinality::ManyToOne(extra), Some(LabelModifier::Exclude(ignored)))
            if extra.is_empty() && !ignored.labels.iter().any(|label| may_name_target(label)) =>
        {
            return Some(denominator);
        }
        // Only the numerator has the target's labels.
        (VectorMatchCardinality::ManyToOne(_) | VectorMatchCardinality::ManyToMany, _) => return None,
    };
    if already_grouped(&denominator, &grouping) {
        return Some(denominator);
    }
    Some(build::aggregate(TokenType::new(T_MAX), None, denominator, Some(grouping)))
}

/// Whether a label may be the one that names a target, such as `pod` or `exported_pod`.
fn may_name_target(label: &str) -> bool {
    const NAMES: [&str; 8] =
        ["pod", "deployment", "statefulset", "daemonset", "namespace", "service", "node", "instance"];
    NAMES.iter().any(|name| label.contains(name))
}

fn already_grouped(expr: &Expr, wanted: &LabelModifier) -> bool {
    let Expr::Aggregate(aggregate) = expr else { return false };
    let sorted = |labels: &Labels| labels.labels.iter().cloned().collect::<BTreeSet<_>>();
    match (&aggregate.modifier, wanted) {
        (Some(LabelModifier::Include(has)), LabelModifier::Include(wants)) => sorted(has) == sorted(wants),
        _ => false,
    }
}
