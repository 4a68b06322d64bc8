//! Text to syntax tree, behind the guard.

use std::panic::{AssertUnwindSafe, catch_unwind};

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{self, Expr};

use super::{QueryError, guard};

/// The most characters of a parser's message that are passed on.
const MAX_MESSAGE: usize = 160;

/// The tree of an expression that is an instant vector.
pub(super) fn instant_vector(text: &str) -> Result<Expr, QueryError> {
    guard::check(text)?;
    let expr = parse(text).map_err(|message| QueryError::Syntax { message: bounded(&message) })?;
    match expr.value_type() {
        ValueType::Vector => Ok(expr),
        ValueType::Scalar => Err(QueryError::NotAVector { found: "scalar" }),
        ValueType::String => Err(QueryError::NotAVector { found: "string" }),
        ValueType::Matrix => Err(QueryError::NotAVector { found: "range vector" }),
    }
}

/// A panic inside the parser is a refusal: `x[1e30]` makes it build a duration
/// that does not fit.
fn parse(text: &str) -> Result<Expr, String> {
    catch_unwind(AssertUnwindSafe(|| parser::parse(text)))
        .unwrap_or_else(|_| Err("a number or duration in it is out of range".to_owned()))
}

fn bounded(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE).collect()
}
