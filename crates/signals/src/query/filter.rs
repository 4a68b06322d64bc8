//! Does an expression filter? A returned series means breached, so one that
//! always returns something breaches everything.

use promql_parser::parser::token::{T_BOTTOMK, T_LAND, T_LIMIT_RATIO, T_LIMITK, T_LOR, T_LUNLESS, T_TOPK, TokenType};
use promql_parser::parser::{BinaryExpr, Expr, VectorMatchFillValues};

use super::tree::{children, is_vector, matches_vectors};

/// Whether a healthy world can make `expr` return nothing: a comparison without
/// `bool`, `unless` or `absent`, reached through what keeps a gap a gap.
pub(super) fn filters(expr: &Expr) -> bool {
    match expr {
        Expr::Binary(binary) => binary_filters(binary),
        Expr::Aggregate(aggregate) => filters(&aggregate.expr),
        Expr::Call(call) => match call.func.name {
            "absent" | "absent_over_time" => true,
            // They return a sample whatever they are given.
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
        // One branch that returns everything is enough.
        T_LOR => filters(lhs) && filters(rhs),
        T_LUNLESS => true,
        _ if compares(binary) => true,
        _ if binary.op.is_comparison_operator() => false,
        _ if !matches_vectors(binary) => filters(if is_vector(lhs) { lhs } else { rhs }),
        // A filled side stands in for the other.
        _ if fills(binary) => filters(lhs) && filters(rhs),
        _ => filters(lhs) || filters(rhs),
    }
}

/// Whether a missing partner is replaced by a number.
pub(super) fn fills(binary: &BinaryExpr) -> bool {
    let modifier = binary.modifier.as_ref();
    modifier.is_some_and(|modifier| modifier.fill_values != VectorMatchFillValues::default())
}

/// Whether it is a comparison that filters.
pub(super) fn compares(binary: &BinaryExpr) -> bool {
    binary.op.is_comparison_operator() && !binary.return_bool()
}

/// Whether anything inside `expr` leaves series out, so that without it there
/// may be more of them.
pub(super) fn chooses(expr: &Expr) -> bool {
    match expr {
        Expr::Binary(binary) if compares(binary) || binary.op.id() == T_LUNLESS => true,
        Expr::Aggregate(aggregate) if choosing(aggregate.op) => true,
        Expr::Call(call) if matches!(call.func.name, "absent" | "absent_over_time") => true,
        _ => children(expr).into_iter().any(chooses),
    }
}

/// Whether an aggregation picks series instead of combining them.
pub(super) fn choosing(op: TokenType) -> bool {
    matches!(op.id(), T_TOPK | T_BOTTOMK | T_LIMITK | T_LIMIT_RATIO)
}
