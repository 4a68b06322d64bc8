//! What is known must be known *now*. A function over a range goes on for as long as
//! the range after its exporter has fallen silent, and on the way its value falls:
//! `increase(restarts[10m]) > 3` would be seen to clear for want of samples. So its
//! evidence holds only for series that have a sample at the end of the range.
//!
//! The other way, a time that evidence must last longer than, is `clearFor`; users
//! set it shorter than their ranges.

use promql_parser::parser::token::{T_LAND, TokenType};
use promql_parser::parser::{
    BinModifier, BinaryExpr, Call, Expr, FunctionArgs, ParenExpr, SubqueryExpr, VectorMatchCardinality,
};

use super::build;
use super::filter::compares;

/// `expr` with every function over a range held to series that have a sample at its
/// end. Values and labels stay. A comparison is a condition that was kept on purpose,
/// and is kept as it is.
pub(super) fn held(expr: &Expr) -> Expr {
    match expr {
        Expr::Paren(paren) => Expr::Paren(ParenExpr { expr: Box::new(held(&paren.expr)) }),
        Expr::Unary(unary) => build::negated(held(&unary.expr)),
        Expr::Aggregate(aggregate) => {
            build::aggregate(aggregate.op, aggregate.param.clone(), held(&aggregate.expr), aggregate.modifier.clone())
        }
        Expr::Binary(binary) if !compares(binary) => of_binary(binary),
        Expr::Call(call) => of_call(call),
        other => other.clone(),
    }
}

fn of_binary(binary: &BinaryExpr) -> Expr {
    build::binary(held(&binary.lhs), binary.op, held(&binary.rhs), binary.modifier.clone())
}

fn of_call(call: &Call) -> Expr {
    // Asks for no more than a sample anywhere in the range, and its value never falls.
    if call.func.name == "present_over_time" {
        return Expr::Call(call.clone());
    }
    let at_the_end = call.args.args.iter().find_map(|argument| match argument.as_ref() {
        Expr::MatrixSelector(matrix) => Some(Expr::VectorSelector(matrix.vs.clone())),
        Expr::Subquery(subquery) => end_of(subquery),
        _ => None,
    });
    let args = call.args.args.iter().map(|argument| Box::new(held(argument))).collect();
    let call = Expr::Call(Call { func: call.func.clone(), args: FunctionArgs { args } });
    match at_the_end {
        Some(end) => {
            let card = VectorMatchCardinality::ManyToMany;
            let modifier = BinModifier { card, ..BinModifier::default() };
            build::binary(call, TokenType::new(T_LAND), end, Some(modifier))
        }
        None => call,
    }
}

/// What stands in the subquery, at its end. What is shifted into the past as a whole
/// has no expression for its end; it is about the past, and stays as it is.
fn end_of(subquery: &SubqueryExpr) -> Option<Expr> {
    (subquery.offset.is_none() && subquery.at.is_none()).then(|| held(&subquery.expr))
}
