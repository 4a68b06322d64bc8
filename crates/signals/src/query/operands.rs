//! Which metric of a query has no series at all. An expression such as `a == 0 and b == 1`
//! can never be breached if the name of `b` is misspelt, and it looks like a healthy world.
//!
//! A metric that may have no series while all is well is not asked for: the numerator of a
//! ratio of counters, a certain status code, and what exists only while something is wrong.

use std::convert::Infallible;

use promql_parser::parser::{Expr, ParenExpr};
use promql_parser::util::visitor::{ExprVisitorMut, walk_expr_mut};

use super::leaf::{self, Leaf};
use super::{ratio, vanishing};

/// The label of the series that [`query`] asks for: the number of an operand.
pub const OPERAND: &str = "operand";

/// The operands that must have series, or a breach is impossible.
pub(super) fn of(expr: &Expr) -> Vec<Leaf> {
    let mut expr = expr.clone();
    let Ok(_) = walk_expr_mut(&mut AlwaysThere, &mut expr);
    leaf::needed(&expr).into_iter().filter(Leaf::needs_samples).collect()
}

/// Returns one series for each operand without series. `None` if one query of evidence
/// answers that already: there is at most one operand.
pub(super) fn query(operands: &[Leaf]) -> Option<String> {
    if operands.len() < 2 {
        return None;
    }
    let absent = operands.iter().enumerate().map(|(number, operand)| {
        format!("label_replace({}, \"{OPERAND}\", \"{number}\", \"\", \"\")", operand.absent())
    });
    Some(absent.collect::<Vec<_>>().join(" or "))
}

/// Removes what may have no series while all is well.
struct AlwaysThere;

impl ExprVisitorMut for AlwaysThere {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &mut Expr) -> Result<bool, Infallible> {
        if let Expr::Binary(binary) = expr
            && ratio::proof(binary).is_some()
        {
            *expr = Expr::Paren(ParenExpr { expr: binary.rhs.clone() });
        }
        match expr {
            Expr::VectorSelector(selector) => vanishing::drop_results(selector),
            Expr::MatrixSelector(matrix) => vanishing::drop_results(&mut matrix.vs),
            _ => {}
        }
        Ok(true)
    }
}
