//! The evidence query: for whom there is data at all. Empty is not proof of
//! health, so everything that filters is taken out of the expression and the
//! rest is kept as it is.
//!
//! | expression | evidence |
//! |---|---|
//! | `A > 5`, `5 < A` | `A` |
//! | `A > B`, `A + B` | `A + B`: both must be there, and `NaN` stays `NaN` |
//! | `A / B` | `B > 0`, or both: see [`ratio`] |
//! | `A and B` | `A and B`, same matching |
//! | `A unless B`, `A and absent(B)` | `A` |
//! | `A or B` | `A or B`; a branch without selectors is dropped |
//! | `absent(A)` | `A` |
//! | `topk(3, A)` | `A`: it chooses, and what is not chosen is no less there |
//! | all else | itself, around what is inside |

use promql_parser::parser::token::{
    T_ADD, T_BOTTOMK, T_LAND, T_LIMIT_RATIO, T_LIMITK, T_LOR, T_LUNLESS, T_TOPK, TokenType,
};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{AggregateExpr, BinModifier, BinaryExpr, Call, Expr, Function, FunctionArgs, ParenExpr};

use super::tree::{is_vector, matches_vectors, peeled, selectors};
use super::{build, ratio};

/// The evidence for `expr`, or why there is none.
pub(super) fn derive(expr: &Expr) -> Result<Expr, &'static str> {
    if selectors(expr).is_empty() {
        return Err("for the query selects no series");
    }
    let derived = bare(expr);
    if selectors(&derived).is_empty() {
        return Err("for without its filters the query selects no series");
    }
    Ok(derived)
}

fn evidence(expr: &Expr) -> Expr {
    match expr {
        Expr::Paren(paren) => match evidence(&paren.expr) {
            inner @ (Expr::Binary(_) | Expr::Unary(_)) => Expr::Paren(ParenExpr { expr: Box::new(inner) }),
            inner => inner,
        },
        Expr::Unary(unary) => build::negated(evidence(&unary.expr)),
        Expr::Subquery(subquery) => build::subquery(evidence(&subquery.expr), subquery),
        Expr::Aggregate(aggregate) => of_aggregate(aggregate),
        Expr::Call(call) => of_call(call),
        Expr::Binary(binary) => of_binary(binary),
        other => other.clone(),
    }
}

/// The evidence for what stands alone, between parentheses or commas.
fn bare(expr: &Expr) -> Expr {
    peeled(&evidence(expr)).clone()
}

fn of_aggregate(aggregate: &AggregateExpr) -> Expr {
    let inner = bare(&aggregate.expr);
    match aggregate.op.id() {
        T_TOPK | T_BOTTOMK | T_LIMITK | T_LIMIT_RATIO => inner,
        _ => build::aggregate(aggregate.op, aggregate.param.clone(), inner, aggregate.modifier.clone()),
    }
}

fn of_call(call: &Call) -> Expr {
    let mut arguments = call.args.args.iter().map(|argument| bare(argument)).peekable();
    let func = match call.func.name {
        "absent" if arguments.peek().is_some() => {
            return arguments.next().unwrap_or_else(|| Expr::Call(call.clone()));
        }
        "absent_over_time" => Function::new("present_over_time", vec![ValueType::Matrix], 0, ValueType::Vector, false),
        _ => call.func.clone(),
    };
    Expr::Call(Call { func, args: FunctionArgs { args: arguments.map(Box::new).collect() } })
}

fn of_binary(binary: &BinaryExpr) -> Expr {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    match binary.op.id() {
        T_LUNLESS => evidence(lhs),
        T_LAND if is_absence(rhs) => evidence(lhs),
        T_LOR => of_branches(binary),
        _ if binary.op.is_comparison_operator() => of_comparison(binary),
        _ => ratio::proof(binary)
            .unwrap_or_else(|| build::binary(evidence(lhs), binary.op, evidence(rhs), binary.modifier.clone())),
    }
}

/// A comparison's sides without the comparison. `+` keeps what decides: matching
/// and labels are the comparison's own, and `NaN` on either side is `NaN`. (`and`
/// would lose the labels of `group_left`, `> bool` would make `NaN` a number.)
fn of_comparison(binary: &BinaryExpr) -> Expr {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    match (is_vector(lhs), is_vector(rhs)) {
        (true, false) if selectors(rhs).is_empty() => evidence(lhs),
        (false, true) if selectors(lhs).is_empty() => evidence(rhs),
        // A comparison of scalars is a number.
        (false, false) => Expr::Binary(binary.clone()),
        _ => {
            let modifier = binary.modifier.clone();
            let modifier = modifier.map(|modifier| BinModifier { return_bool: false, ..modifier });
            build::binary(evidence(lhs), TokenType::new(T_ADD), evidence(rhs), modifier)
        }
    }
}

/// A series from any branch is evidence, but not from one that is always there,
/// as in `… or vector(0)`.
fn of_branches(binary: &BinaryExpr) -> Expr {
    let (lhs, rhs) = (evidence(&binary.lhs), evidence(&binary.rhs));
    if selectors(&rhs).is_empty() || peeled(&lhs) == peeled(&rhs) {
        return lhs;
    }
    if selectors(&lhs).is_empty() {
        return rhs;
    }
    build::binary(lhs, binary.op, rhs, binary.modifier.clone())
}

/// `absent(B)`, also compared with a number: as the right side of `and` it is an
/// `unless B` in other words.
fn is_absence(expr: &Expr) -> bool {
    match peeled(expr) {
        Expr::Call(call) => matches!(call.func.name, "absent" | "absent_over_time"),
        Expr::Binary(binary) => !matches_vectors(binary) && is_absence(&binary.lhs),
        _ => false,
    }
}
