//! The value of a missing series whose target has data.
//!
//! A fresh pod has requests but no series of failures yet. A service whose last instance
//! went down has no series left for `count(up == 1)`. In both cases the value is zero, but
//! there is no series. The comparison decides whether zero is healthy: with `> 5` it is,
//! with `< 3` it is not. An alert does not fire in either case. Harmful case: without this
//! module, Prunella would treat the second service as recovered.

use promql_parser::parser::token::{
    T_ADD, T_DIV, T_EQLC, T_GTE, T_GTR, T_LOR, T_LSS, T_LTE, T_MUL, T_NEQ, T_SUB, TokenType,
};
use promql_parser::parser::{AggregateExpr, BinaryExpr, Call, Expr};

use super::filter::{compares, drops_series, picks_series};
use super::tree::{is_vector, matches_vectors, without_parens};
use super::{branches, ratio};

/// Functions that turn zero into zero.
const KEEPS_ZERO: [&str; 6] = ["round", "ceil", "floor", "abs", "sgn", "sqrt"];

/// What a missing series means if its target has data.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Missing {
    /// It cannot be missing, or a filter removed it, which means "not breached".
    Never,
    /// The missing series stands for this value.
    As(f64),
    /// The value cannot be derived.
    Unknown,
}

/// Whether the comparison holds, or can hold, for a missing value. Then a missing series
/// does not mean that the target is healthy.
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

/// Whether `comparison` does not hold if its side with selectors has no series, and each
/// missing series stands for zero.
pub(super) fn zero_is_healthy(comparison: &BinaryExpr) -> bool {
    let (lhs, rhs) = (comparison.lhs.as_ref(), comparison.rhs.as_ref());
    match (zero(lhs), constant(rhs), constant(lhs), zero(rhs)) {
        (Some(value), Some(limit), None, _) => !holds(value, comparison.op, limit),
        (_, None, Some(limit), Some(value)) => !holds(limit, comparison.op, value),
        _ => false,
    }
}

/// The value of an expression whose series are missing and stand for zero. `None`: unknown.
fn zero(expr: &Expr) -> Option<f64> {
    match without_parens(expr) {
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) => Some(0.0),
        Expr::Subquery(subquery) => zero(&subquery.expr),
        Expr::Unary(unary) => zero(&unary.expr).map(|value| -value),
        Expr::Aggregate(aggregate) => zero(&aggregate.expr),
        Expr::Call(call) => match call.func.name {
            "rate" | "irate" | "increase" | "delta" | "changes" | "label_replace" | "label_join" | "sort"
            | "sort_desc" => zero(call.args.args.first()?),
            name if KEEPS_ZERO.contains(&name) => zero(call.args.args.first()?).filter(|value| *value == 0.0),
            "count_over_time" | "present_over_time" => Some(0.0),
            name if name.ends_with("_over_time") => call.args.args.iter().find_map(|argument| zero(argument)),
            _ => None,
        },
        Expr::Binary(binary) if matches_vectors(binary) => None,
        Expr::Binary(binary) => {
            let side = |expr: &Expr| if is_vector(expr) { zero(expr) } else { constant(expr) };
            calculate(side(&binary.lhs)?, binary.op, side(&binary.rhs)?)
        }
        _ => None,
    }
}

/// Whether `comparison` holds while a value is filled in for missing series, as in
/// `(… or vector(0)) < 1`. `None`: nothing is filled in, or the value is not known.
pub(super) fn silence_is_breach(comparison: &BinaryExpr) -> Option<bool> {
    let (lhs, rhs) = (comparison.lhs.as_ref(), comparison.rhs.as_ref());
    if !comparison.op.is_comparison_operator() {
        return None;
    }
    match (filled(lhs), constant(rhs), constant(lhs), filled(rhs)) {
        (Some(value), Some(limit), ..) => Some(holds(value, comparison.op, limit)),
        (.., Some(limit), Some(value)) => Some(holds(limit, comparison.op, value)),
        _ => None,
    }
}

/// The value of an expression whose missing series are filled in.
fn filled(expr: &Expr) -> Option<f64> {
    match without_parens(expr) {
        Expr::Unary(unary) => filled(&unary.expr).map(|value| -value),
        Expr::Aggregate(aggregate) if !picks_series(aggregate.op) => filled(&aggregate.expr),
        Expr::Call(call) if KEEPS_ZERO.contains(&call.func.name) => {
            filled(call.args.args.first()?).filter(|value| *value == 0.0)
        }
        Expr::Binary(binary) if binary.op.id() == T_LOR => fill(&binary.rhs).or_else(|| fill(&binary.lhs)),
        Expr::Binary(binary) if matches_vectors(binary) => {
            let is_zero = |expr: &Expr| filled(expr) == Some(0.0);
            let zero = matches!(binary.op.id(), T_MUL | T_DIV) && is_zero(&binary.lhs)
                || binary.op.id() == T_MUL && is_zero(&binary.rhs);
            zero.then_some(0.0)
        }
        Expr::Binary(binary) => {
            let side = |expr: &Expr| if is_vector(expr) { filled(expr) } else { constant(expr) };
            calculate(side(&binary.lhs)?, binary.op, side(&binary.rhs)?)
        }
        _ => None,
    }
}

/// The value of a branch that fills in.
fn fill(branch: &Expr) -> Option<f64> {
    match without_parens(branch) {
        Expr::Call(call) if call.func.name == "vector" => constant(call.args.args.first()?),
        other => branches::alive(other).map(|_| 0.0),
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
    if picks_series(aggregate.op) {
        return missing(&aggregate.expr);
    }
    zero_if(may_be_empty(&aggregate.expr))
}

fn of_call(call: &Call) -> Missing {
    let mut arguments = call.args.args.iter().map(AsRef::as_ref);
    match call.func.name {
        "absent" | "absent_over_time" | "vector" => Missing::Never,
        "label_replace" | "label_join" | "sort" | "sort_desc" => arguments.next().map_or(Missing::Never, missing),
        name if KEEPS_ZERO.contains(&name) => {
            arguments.next().map_or(Missing::Never, |argument| match missing(argument) {
                Missing::As(value) if value != 0.0 => Missing::Unknown,
                other => other,
            })
        }
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
    // A series that a filter or a set operator removes is not breached.
    if compares(binary) || binary.op.is_set_operator() {
        return Missing::Never;
    }
    if ratio::proof(binary).is_some() {
        return Missing::As(0.0);
    }
    if matches_vectors(binary) {
        return match (missing(lhs), binary.op.id(), missing(rhs)) {
            (Missing::Never, _, Missing::Never) => Missing::Never,
            // Zero times anything is zero.
            (zero @ Missing::As(0.0), T_MUL | T_DIV, Missing::Never)
            | (Missing::Never, T_MUL, zero @ Missing::As(0.0)) => zero,
            _ => Missing::Unknown,
        };
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

/// An aggregation over no series counts as zero.
fn zero_if(empty: bool) -> Missing {
    if empty { Missing::As(0.0) } else { Missing::Never }
}

fn may_be_empty(expr: &Expr) -> bool {
    drops_series(expr) || lacks_numerator(expr)
}

fn lacks_numerator(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(subquery) => lacks_numerator(&subquery.expr),
        other => missing(other) != Missing::Never,
    }
}

/// The value of a constant expression such as `200 * 1024`.
fn constant(expr: &Expr) -> Option<f64> {
    match without_parens(expr) {
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

/// Whether `a op b` holds. An unknown operator counts as true.
#[allow(clippy::float_cmp, reason = "the server compares floats exactly, too")]
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
