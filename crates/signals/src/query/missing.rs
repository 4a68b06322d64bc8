//! What a value is when it is missing although there is data.
//!
//! A fresh pod has requests and no series of failures; a service whose last instance
//! went down has nothing left to count in `count(up == 1)`. Both are a zero that is
//! not there. Whether that zero is health depends on what it is compared with: `> 5`
//! says yes, `< 3` says no. An alert is silent either way; a healer that took silence
//! for health would call the second one cured.

use promql_parser::parser::token::{
    T_ADD, T_DIV, T_EQLC, T_GTE, T_GTR, T_LOR, T_LSS, T_LTE, T_MUL, T_NEQ, T_SUB, TokenType,
};
use promql_parser::parser::{AggregateExpr, BinaryExpr, Call, Expr};

use super::filter::{chooses, choosing, compares};
use super::ratio;
use super::tree::{is_vector, matches_vectors, peeled};

/// What it means that a vector has no series for somebody of whom there is data.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Missing {
    /// That does not happen, or means no breach: a filter on the way refused it.
    Never,
    /// The value is this one.
    As(f64),
    /// Nobody can say.
    Unknown,
}

/// Whether the comparison would hold, or might, for a value that is missing. Then
/// its absence from the answer is no sign of health.
pub(super) fn may_hide_breach(binary: &BinaryExpr) -> bool {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    let missing = [missing(lhs), missing(rhs)];
    match missing {
        [Missing::Never, Missing::Never] => false,
        [Missing::As(zero), Missing::Never] => constant(rhs).is_none_or(|limit| holds(zero, binary.op, limit)),
        [Missing::Never, Missing::As(zero)] => constant(lhs).is_none_or(|limit| holds(limit, binary.op, zero)),
        _ => true,
    }
}

fn missing(expr: &Expr) -> Missing {
    match expr {
        Expr::Paren(paren) => missing(&paren.expr),
        Expr::Unary(unary) => missing(&unary.expr).map(|value| -value),
        Expr::Aggregate(aggregate) => of_aggregate(aggregate),
        Expr::Call(call) => of_call(call),
        Expr::Binary(binary) => of_binary(binary),
        _ => Missing::Never,
    }
}

fn of_aggregate(aggregate: &AggregateExpr) -> Missing {
    if choosing(aggregate.op) {
        return missing(&aggregate.expr);
    }
    zero_if(may_be_empty(&aggregate.expr))
}

fn of_call(call: &Call) -> Missing {
    let mut arguments = call.args.args.iter().map(AsRef::as_ref);
    match call.func.name {
        "absent" | "absent_over_time" | "vector" => Missing::Never,
        "label_replace" | "label_join" | "sort" | "sort_desc" => arguments.next().map_or(Missing::Never, missing),
        name if name.ends_with("_over_time") => zero_if(arguments.any(may_be_empty)),
        _ if arguments.all(|argument| missing(argument) == Missing::Never) => Missing::Never,
        _ => Missing::Unknown,
    }
}

fn of_binary(binary: &BinaryExpr) -> Missing {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    if binary.op.id() == T_LOR {
        return if missing(lhs) == Missing::Never { Missing::Never } else { missing(rhs) };
    }
    // What a filter or a set operator refuses is not breached.
    if compares(binary) || binary.op.is_set_operator() {
        return Missing::Never;
    }
    if ratio::proof(binary).is_some() {
        return Missing::As(0.0);
    }
    if matches_vectors(binary) {
        let never = missing(lhs) == Missing::Never && missing(rhs) == Missing::Never;
        return if never { Missing::Never } else { Missing::Unknown };
    }
    let number = |expr: &Expr| constant(expr).map_or(Missing::Unknown, Missing::As);
    let (left, right) = if is_vector(lhs) { (missing(lhs), number(rhs)) } else { (number(lhs), missing(rhs)) };
    match (left, right) {
        (Missing::Never, _) if is_vector(lhs) => Missing::Never,
        (_, Missing::Never) => Missing::Never,
        (Missing::As(a), Missing::As(b)) => calculate(a, binary.op, b).map_or(Missing::Unknown, Missing::As),
        _ => Missing::Unknown,
    }
}

impl Missing {
    fn map(self, change: impl FnOnce(f64) -> f64) -> Self {
        match self {
            Self::As(value) => Self::As(change(value)),
            other => other,
        }
    }
}

/// What is combined out of nothing counts as zero.
fn zero_if(empty: bool) -> Missing {
    if empty { Missing::As(0.0) } else { Missing::Never }
}

fn may_be_empty(expr: &Expr) -> bool {
    chooses(expr) || lacks_numerator(expr)
}

fn lacks_numerator(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(subquery) => lacks_numerator(&subquery.expr),
        other => missing(other) != Missing::Never,
    }
}

/// The value of what is written as a number, like `200 * 1024`.
fn constant(expr: &Expr) -> Option<f64> {
    match peeled(expr) {
        Expr::NumberLiteral(number) => Some(number.val),
        Expr::Unary(unary) => constant(&unary.expr).map(|value| -value),
        Expr::Binary(binary) => calculate(constant(&binary.lhs)?, binary.op, constant(&binary.rhs)?),
        _ => None,
    }
}

fn calculate(a: f64, op: TokenType, b: f64) -> Option<f64> {
    match op.id() {
        T_ADD => Some(a + b),
        T_SUB => Some(a - b),
        T_MUL => Some(a * b),
        T_DIV => Some(a / b),
        _ => None,
    }
}

/// Whether `a op b`; an operator that is not known holds.
#[allow(clippy::float_cmp, reason = "it is what the server does")]
fn holds(a: f64, op: TokenType, b: f64) -> bool {
    match op.id() {
        T_EQLC => a == b,
        T_NEQ => a != b,
        T_GTR => a > b,
        T_GTE => a >= b,
        T_LSS => a < b,
        T_LTE => a <= b,
        _ => true,
    }
}
