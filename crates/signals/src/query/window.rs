//! How far back an expression looks.

use std::time::Duration;

use promql_parser::parser::{Expr, Offset};

use super::tree::children;

/// The age of the oldest sample that the expression can use, added up along the
/// widest path: range + offset, plus the range of every subquery around them. A
/// negative offset counts as zero. `@` is ignored: a fixed time has no width.
pub(super) fn widest(expr: &Expr) -> Duration {
    let own = match expr {
        Expr::VectorSelector(selector) => back(selector.offset.as_ref()),
        Expr::MatrixSelector(matrix) => matrix.range.saturating_add(back(matrix.vs.offset.as_ref())),
        Expr::Subquery(subquery) => subquery.range.saturating_add(back(subquery.offset.as_ref())),
        _ => Duration::ZERO,
    };
    let inner = children(expr).into_iter().map(widest).max().unwrap_or_default();
    own.saturating_add(inner)
}

fn back(offset: Option<&Offset>) -> Duration {
    match offset {
        Some(Offset::Pos(duration)) => *duration,
        Some(Offset::Neg(_)) | None => Duration::ZERO,
    }
}
