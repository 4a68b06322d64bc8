//! How far back an expression looks.

use std::convert::Infallible;
use std::time::Duration;

use promql_parser::parser::token::T_DIV;
use promql_parser::parser::{Expr, Offset};
use promql_parser::util::visitor::{ExprVisitorMut, walk_expr_mut};

use super::tree::{children, metric_name, without_parens};

/// The age of the oldest sample that can keep the expression breached, added up along the
/// widest path: range + offset, plus the range of every subquery around them. A
/// negative offset counts as zero. `@` is ignored: a fixed time has no width. A baseline
/// does not count: see [`baseline`].
pub(super) fn widest(expr: &Expr) -> Duration {
    if let Some((breached, _)) = baseline(expr) {
        return widest(breached);
    }
    let own = match expr {
        Expr::VectorSelector(selector) => back(selector.offset.as_ref()),
        Expr::MatrixSelector(matrix) => matrix.range.saturating_add(back(matrix.vs.offset.as_ref())),
        Expr::Subquery(subquery) => subquery.range.saturating_add(back(subquery.offset.as_ref())),
        _ => Duration::ZERO,
    };
    let inner = children(expr).into_iter().map(widest).max().unwrap_or_default();
    own.saturating_add(inner)
}

/// The sides of a comparison with the past, as in `A > 2 * (A offset 1d)`: the breached side
/// and the baseline. The breach ends as soon as the breached side falls, whatever the
/// baseline was. `None`: it is no such comparison.
///
/// A bare counter never falls. `restarts > 1 + (restarts offset 1h)` stays breached for an
/// hour after the last restart, so there the shift counts.
fn baseline(expr: &Expr) -> Option<(&Expr, &Expr)> {
    let Expr::Binary(binary) = without_parens(expr) else { return None };
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    let is_baseline = |breached: &Expr, other: &Expr| {
        least_shift(breached) == Some(Duration::ZERO)
            && least_shift(other).is_some_and(|shift| shift > Duration::ZERO)
            && !has_bare_counter(breached)
    };
    let compares = binary.op.is_comparison_operator();
    if (compares || binary.op.id() == T_DIV) && is_baseline(lhs, rhs) {
        return Some((lhs, rhs));
    }
    (compares && is_baseline(rhs, lhs)).then_some((rhs, lhs))
}

/// How far back the baseline of a comparison with the past looks. `None`: there is none.
pub(super) fn widest_baseline(expr: &Expr) -> Option<Duration> {
    let own = baseline(expr).map(|(_, past)| widest(past));
    own.into_iter().chain(children(expr).into_iter().filter_map(widest_baseline)).max()
}

/// Whether a counter is used without a function such as `rate`.
fn has_bare_counter(expr: &Expr) -> bool {
    match expr {
        Expr::VectorSelector(selector) => metric_name(selector)
            .is_none_or(|name| ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))),
        _ => children(expr).into_iter().any(has_bare_counter),
    }
}

fn back(offset: Option<&Offset>) -> Duration {
    match offset {
        Some(Offset::Pos(duration)) => *duration,
        Some(Offset::Neg(_)) | None => Duration::ZERO,
    }
}

/// The smallest time shift of a selector: its `offset` and those of the subqueries around
/// it. `None`: there is no selector.
pub(super) fn least_shift(expr: &Expr) -> Option<Duration> {
    match expr {
        Expr::VectorSelector(selector) => Some(back(selector.offset.as_ref())),
        Expr::MatrixSelector(matrix) => Some(back(matrix.vs.offset.as_ref())),
        Expr::Subquery(subquery) => Some(least_shift(&subquery.expr)?.saturating_add(back(subquery.offset.as_ref()))),
        _ => children(expr).into_iter().filter_map(least_shift).min(),
    }
}

/// `expr` without `offset`.
pub(super) fn unshifted(mut expr: Expr) -> Expr {
    let Ok(_) = walk_expr_mut(&mut Unshifted, &mut expr);
    expr
}

struct Unshifted;

impl ExprVisitorMut for Unshifted {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &mut Expr) -> Result<bool, Infallible> {
        match expr {
            Expr::VectorSelector(selector) => selector.offset = None,
            Expr::MatrixSelector(matrix) => matrix.vs.offset = None,
            Expr::Subquery(subquery) => subquery.offset = None,
            _ => {}
        }
        Ok(true)
    }
}
