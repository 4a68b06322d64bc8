//! Series that `topk`, `bottomk` and `limitk` leave out. Harmful case: with
//! `topk(1, lag) > 30` two pods have a lag above 30 s, and one of them is picked. When the
//! other one becomes worse, the first one is no longer picked. It has data and is not in the
//! answer, but its lag is the same. So a series is evidence only if the query without the
//! pick would not return it.

use promql_parser::parser::token::{T_LAND, T_LOR, T_LUNLESS, TokenType};
use promql_parser::parser::{BinModifier, BinaryExpr, Call, Expr, FunctionArgs, ParenExpr, VectorMatchCardinality};

use super::build;
use super::filter::picks_series;
use super::tree::{is_vector, matches_vectors, without_parens};

/// `evidence`, without the series that `expr` hides.
pub(super) fn without_hidden(expr: &Expr, evidence: Expr) -> Expr {
    if !picks(expr) {
        return evidence;
    }
    let card = VectorMatchCardinality::ManyToMany;
    let same_labels = BinModifier { card, ..BinModifier::default() };
    let all = without_parens(&everything(expr)).clone();
    build::binary(evidence, TokenType::new(T_LUNLESS), all, Some(same_labels))
}

/// Whether a pick decides which targets are in the answer. A pick on one side of a match
/// between vectors makes the match unique, and an aggregation hides no target.
pub(super) fn picks(expr: &Expr) -> bool {
    match expr {
        Expr::Paren(paren) => picks(&paren.expr),
        Expr::Unary(unary) => picks(&unary.expr),
        Expr::Aggregate(aggregate) => {
            picks_series(aggregate.op) || aggregate.modifier.is_some() && picks(&aggregate.expr)
        }
        Expr::Call(call) => call.args.args.iter().any(|argument| picks(argument)),
        Expr::Binary(binary) => sides(binary).into_iter().any(picks),
        _ => false,
    }
}

/// The sides of which series are returned.
fn sides(binary: &BinaryExpr) -> Vec<&Expr> {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    match binary.op.id() {
        T_LAND | T_LUNLESS => vec![lhs],
        T_LOR => vec![lhs, rhs],
        _ if matches_vectors(binary) => Vec::new(),
        _ if is_vector(lhs) => vec![lhs],
        _ => vec![rhs],
    }
}

/// `expr` without its picks.
fn everything(expr: &Expr) -> Expr {
    match expr {
        Expr::Paren(paren) => Expr::Paren(ParenExpr { expr: Box::new(everything(&paren.expr)) }),
        Expr::Unary(unary) => build::negated(everything(&unary.expr)),
        Expr::Aggregate(aggregate) if picks_series(aggregate.op) => everything(&aggregate.expr),
        Expr::Aggregate(aggregate) if picks(expr) => build::aggregate(
            aggregate.op,
            aggregate.param.clone(),
            everything(&aggregate.expr),
            aggregate.modifier.clone(),
        ),
        Expr::Call(call) if picks(expr) => {
            let args = call.args.args.iter().map(|argument| Box::new(everything(argument))).collect();
            Expr::Call(Call { func: call.func.clone(), args: FunctionArgs { args } })
        }
        Expr::Binary(binary) if picks(expr) => {
            let all = |side: &Expr| if picks(side) { everything(side) } else { side.clone() };
            let keeps_right = matches!(binary.op.id(), T_LAND | T_LUNLESS);
            let rhs = if keeps_right { binary.rhs.as_ref().clone() } else { all(&binary.rhs) };
            build::binary(all(&binary.lhs), binary.op, rhs, binary.modifier.clone())
        }
        other => other.clone(),
    }
}
