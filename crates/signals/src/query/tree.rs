//! Helpers for all walks over the syntax tree: the children of a node and the labels of
//! a selector. The parser's own visitor skips the parameters of aggregations.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{BinaryExpr, Expr, VectorSelector};

/// The child nodes of `expr`.
pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Aggregate(aggregate) => {
            aggregate.param.iter().map(AsRef::as_ref).chain([aggregate.expr.as_ref()]).collect()
        }
        Expr::Unary(unary) => vec![&unary.expr],
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Paren(paren) => vec![&paren.expr],
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Call(call) => call.args.args.iter().map(AsRef::as_ref).collect(),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        // The parser never creates one.
        | Expr::Extension(_) => Vec::new(),
    }
}

/// Every selector in `expr`, from left to right.
pub(super) fn selectors(expr: &Expr) -> Vec<&VectorSelector> {
    match expr {
        Expr::VectorSelector(selector) => vec![selector],
        Expr::MatrixSelector(matrix) => vec![&matrix.vs],
        _ => children(expr).into_iter().flat_map(selectors).collect(),
    }
}

/// `expr` without the parentheses around it.
pub(super) fn without_parens(mut expr: &Expr) -> &Expr {
    while let Expr::Paren(paren) = expr {
        expr = &paren.expr;
    }
    expr
}

/// Whether both sides are instant vectors, so that their series are matched.
pub(super) fn matches_vectors(binary: &BinaryExpr) -> bool {
    is_vector(&binary.lhs) && is_vector(&binary.rhs)
}

/// Whether `expr` is an instant vector.
pub(super) fn is_vector(expr: &Expr) -> bool {
    expr.value_type() == ValueType::Vector
}

/// The metric's name: `x` or `{__name__="x"}`.
pub(super) fn metric_name(selector: &VectorSelector) -> Option<&str> {
    selector
        .name
        .as_deref()
        .or_else(|| selector.matchers.matchers.iter().find_map(|matcher| equal_to(matcher, "__name__")))
}

/// The value that `selector` requires for `label` in each of its `or` groups.
pub(super) fn pin<'a>(selector: &'a VectorSelector, label: &str) -> Option<&'a str> {
    let in_group = |group: &'a [Matcher]| group.iter().find_map(|matcher| equal_to(matcher, label));
    let alternatives = &selector.matchers.or_matchers;
    let Some((first, rest)) = alternatives.split_first() else {
        return in_group(&selector.matchers.matchers);
    };
    let value = in_group(first)?;
    rest.iter().all(|group| in_group(group) == Some(value)).then_some(value)
}

fn equal_to<'a>(matcher: &'a Matcher, label: &str) -> Option<&'a str> {
    let pins = matcher.name == label && matches!(matcher.op, MatchOp::Equal) && !matcher.value.is_empty();
    pins.then_some(matcher.value.as_str())
}
