//! What the values of a query measure, so that messages can show them with a unit. It is a
//! guess from names and operators, and decides nothing.

use promql_parser::parser::token::{T_ADD, T_COUNT, T_COUNT_VALUES, T_DIV, T_SUB};
use promql_parser::parser::{BinaryExpr, Expr, NumberLiteral, VectorSelector};

use super::tree::{is_vector, matches_vectors, metric_name, selectors, without_parens};

/// What the values of a query measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueUnit {
    /// Bytes: a metric whose name ends in `_bytes`.
    Bytes,
    /// A share from 0 to 1: a metric whose name ends in `_ratio`, or a division that is
    /// compared with a number from 0 to 1.
    Ratio,
    /// Anything else.
    Plain,
}

/// Functions whose result has another unit than their argument.
const OTHER_UNIT: [&str; 8] = ["rate", "irate", "deriv", "changes", "resets", "count_over_time", "timestamp", "absent"];

/// What the values of `expr` measure.
pub(super) fn of(expr: &Expr) -> ValueUnit {
    match without_parens(expr) {
        Expr::Binary(binary) if binary.op.is_comparison_operator() => compared(binary),
        Expr::Binary(binary) if binary.op.is_set_operator() => of(&binary.lhs),
        Expr::Binary(binary) if matches!(binary.op.id(), T_ADD | T_SUB) => of(&binary.lhs),
        Expr::Aggregate(aggregate) if !matches!(aggregate.op.id(), T_COUNT | T_COUNT_VALUES) => of(&aggregate.expr),
        Expr::Call(call) if !OTHER_UNIT.contains(&call.func.name) => {
            call.args.args.iter().find(|arg| !selectors(arg).is_empty()).map_or(ValueUnit::Plain, |arg| of(arg))
        }
        Expr::Subquery(subquery) => of(&subquery.expr),
        Expr::VectorSelector(selector) => of_metric(selector),
        Expr::MatrixSelector(matrix) => of_metric(&matrix.vs),
        _ => ValueUnit::Plain,
    }
}

fn of_metric(selector: &VectorSelector) -> ValueUnit {
    match metric_name(selector) {
        Some(name) if name.ends_with("_bytes") => ValueUnit::Bytes,
        Some(name) if name.ends_with("_ratio") => ValueUnit::Ratio,
        _ => ValueUnit::Plain,
    }
}

/// The unit of the side of a comparison whose values the series keep.
fn compared(binary: &BinaryExpr) -> ValueUnit {
    let (values, bound) = if is_vector(&binary.lhs) { (&binary.lhs, &binary.rhs) } else { (&binary.rhs, &binary.lhs) };
    match of(values) {
        ValueUnit::Plain if is_share(bound) && divides(values) => ValueUnit::Ratio,
        unit => unit,
    }
}

fn is_share(bound: &Expr) -> bool {
    matches!(without_parens(bound), Expr::NumberLiteral(NumberLiteral { val }) if (0.0..=1.0).contains(val))
}

/// Whether the expression divides two vectors, and not a sum by a count: that is an average.
fn divides(expr: &Expr) -> bool {
    match without_parens(expr) {
        Expr::Binary(binary) if binary.op.id() == T_DIV && matches_vectors(binary) => {
            let ends = |expr: &Expr, end: &str| {
                selectors(expr).into_iter().filter_map(metric_name).any(|name| name.ends_with(end))
            };
            !(ends(&binary.lhs, "_sum") && ends(&binary.rhs, "_count"))
        }
        Expr::Binary(binary) if binary.op.is_set_operator() => divides(&binary.lhs),
        Expr::Aggregate(aggregate) => divides(&aggregate.expr),
        Expr::Call(call) => call.args.args.first().is_some_and(|arg| divides(arg)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn the_unit_follows_from_names_and_operators() {
        use ValueUnit::{Bytes, Plain, Ratio};
        for (query, expected) in [
            ("container_memory_working_set_bytes{container=\"web\"} > 200e6", Bytes),
            ("max by (pod) (max_over_time(jvm_memory_used_bytes[5m])) > 1e9 and on (pod) up == 1", Bytes),
            ("predict_linear(container_memory_working_set_bytes[1h], 3600) > 1e9", Bytes),
            ("container_memory_working_set_bytes / 1024 > 5", Plain),
            ("rate(container_network_receive_bytes[5m]) > 5", Plain),
            ("sum by (pod) (rate(errors_total[2m])) / sum by (pod) (rate(requests_total[2m])) > 0.1", Ratio),
            ("avg by (namespace) (a / b) > 0.8", Ratio),
            ("0.8 < avg by (namespace) (a / b)", Ratio),
            ("jvm_memory_used_bytes / jvm_memory_max_bytes > 0.9", Ratio),
            ("cache_hit_ratio < 0.5", Ratio),
            ("rate(latency_seconds_sum[5m]) / rate(latency_seconds_count[5m]) > 0.5", Plain),
            ("queue_messages / queue_consumers > 100", Plain),
            ("count(x_bytes) > 3", Plain),
            ("up == 0", Plain),
        ] {
            assert_eq!(of(&parse::instant_vector(query).unwrap()), expected, "{query}");
        }
    }
}
