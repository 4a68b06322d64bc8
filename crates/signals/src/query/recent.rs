//! Evidence must be about *now*. After an exporter stops, a range function still
//! returns values for the length of its range, and these values fall. Harmful case:
//! `increase(restarts[10m]) > 3` would clear because samples are missing. So evidence
//! counts only for series that have a sample at the end of the range.
//!
//! Rejected alternative: rely on `clearFor`. Users set it shorter than their ranges.

use promql_parser::parser::token::{T_LAND, TokenType};
use promql_parser::parser::{
    BinModifier, BinaryExpr, Call, Expr, FunctionArgs, ParenExpr, SubqueryExpr, VectorMatchCardinality,
};

use super::build;
use super::filter::compares;

/// Restricts every range function in `expr` to series that have a sample at the end of
/// the range. Values and labels stay the same. A comparison stays unchanged: the
/// derivation kept it on purpose.
pub(super) fn with_recent_samples(expr: &Expr) -> Expr {
    match expr {
        Expr::Paren(paren) => Expr::Paren(ParenExpr { expr: Box::new(with_recent_samples(&paren.expr)) }),
        Expr::Unary(unary) => build::negated(with_recent_samples(&unary.expr)),
        Expr::Aggregate(aggregate) => build::aggregate(
            aggregate.op,
            aggregate.param.clone(),
            with_recent_samples(&aggregate.expr),
            aggregate.modifier.clone(),
        ),
        Expr::Binary(binary) if !compares(binary) => of_binary(binary),
        Expr::Call(call) => of_call(call),
        other => other.clone(),
    }
}

fn of_binary(binary: &BinaryExpr) -> Expr {
    build::binary(
        with_recent_samples(&binary.lhs),
        binary.op,
        with_recent_samples(&binary.rhs),
        binary.modifier.clone(),
    )
}

fn of_call(call: &Call) -> Expr {
    // Needs one sample anywhere in the range, and its value never falls.
    if call.func.name == "present_over_time" {
        return Expr::Call(call.clone());
    }
    let at_the_end = call.args.args.iter().find_map(|argument| match argument.as_ref() {
        Expr::MatrixSelector(matrix) => Some(Expr::VectorSelector(matrix.vs.clone())),
        Expr::Subquery(subquery) => end_of(subquery),
        _ => None,
    });
    let args = call.args.args.iter().map(|argument| Box::new(with_recent_samples(argument))).collect();
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

/// The expression inside the subquery, evaluated at the end of its range. `None` if the
/// whole subquery is shifted into the past: no expression gives the value at its end,
/// and the user asked about the past.
fn end_of(subquery: &SubqueryExpr) -> Option<Expr> {
    (subquery.offset.is_none() && subquery.at.is_none()).then(|| with_recent_samples(&subquery.expr))
}
