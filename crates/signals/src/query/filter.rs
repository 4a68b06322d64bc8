//! Does an expression filter? Every returned series means "breached", so an expression
//! that always returns its series would breach every target.

use promql_parser::parser::token::{T_BOTTOMK, T_LAND, T_LIMIT_RATIO, T_LIMITK, T_LOR, T_LUNLESS, T_TOPK, TokenType};
use promql_parser::parser::{BinaryExpr, Expr, VectorMatchFillValues};

use super::tree::{children, is_vector, matches_vectors};

/// Whether `expr` can return nothing while everything is healthy: it has a comparison
/// without `bool`, an `unless` or an `absent`, and nothing around it turns an empty
/// result into a sample.
pub(super) fn filters(expr: &Expr) -> bool {
    match expr {
        Expr::Binary(binary) => binary_filters(binary),
        Expr::Aggregate(aggregate) => filters(&aggregate.expr),
        Expr::Call(call) => match call.func.name {
            "absent" | "absent_over_time" => true,
            // These return a sample for any argument.
            "scalar" | "vector" => false,
            _ => call.args.args.iter().any(|argument| filters(argument)),
        },
        _ => children(expr).into_iter().any(filters),
    }
}

fn binary_filters(binary: &BinaryExpr) -> bool {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    match binary.op.id() {
        T_LAND => filters(lhs) || filters(rhs),
        // If one branch returns everything, the whole expression does.
        T_LOR => filters(lhs) && filters(rhs),
        T_LUNLESS => true,
        _ if compares(binary) => true,
        _ if binary.op.is_comparison_operator() => false,
        _ if !matches_vectors(binary) => filters(if is_vector(lhs) { lhs } else { rhs }),
        // A fill value replaces the missing side.
        _ if fills(binary) => filters(lhs) && filters(rhs),
        _ => filters(lhs) || filters(rhs),
    }
}

/// Whether a fill value replaces a missing match.
pub(super) fn fills(binary: &BinaryExpr) -> bool {
    let modifier = binary.modifier.as_ref();
    modifier.is_some_and(|modifier| modifier.fill_values != VectorMatchFillValues::default())
}

/// Whether `binary` is a comparison that filters.
pub(super) fn compares(binary: &BinaryExpr) -> bool {
    binary.op.is_comparison_operator() && !binary.return_bool()
}

/// Whether anything inside `expr` drops series. Without it, there can be more series.
pub(super) fn drops_series(expr: &Expr) -> bool {
    match expr {
        Expr::Binary(binary) if compares(binary) || binary.op.id() == T_LUNLESS => true,
        Expr::Aggregate(aggregate) if picks_series(aggregate.op) => true,
        Expr::Call(call) if matches!(call.func.name, "absent" | "absent_over_time") => true,
        _ => children(expr).into_iter().any(drops_series),
    }
}

/// Whether an aggregation picks series instead of combining them.
pub(super) fn picks_series(op: TokenType) -> bool {
    matches!(op.id(), T_TOPK | T_BOTTOMK | T_LIMITK | T_LIMIT_RATIO)
}
