//! Parses a text into a syntax tree, after the guard accepted it.

use std::borrow::Cow;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};

use promql_parser::label::Matchers;
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{self, Expr};
use promql_parser::util::escape_string;
use promql_parser::util::visitor::{ExprVisitorMut, walk_expr_mut};

use super::{QueryError, build, guard, locate};

/// The limit of characters that are kept of the parser's message.
const MAX_MESSAGE: usize = 160;

/// The text of a tree. `None` if the text does not parse to the same tree: the printer is
/// not trusted.
pub(super) fn printed(expr: &mut Expr) -> Option<String> {
    canonicalise(expr);
    let text = expr.to_string();
    instant_vector(&text).is_ok_and(|again| again == *expr).then_some(text)
}

/// The syntax tree of an expression. It must be an instant vector.
pub(super) fn instant_vector(text: &str) -> Result<Expr, QueryError> {
    let readable = without_raw_strings(text);
    guard::check(&readable)?;
    let mut expr =
        parse(&readable).map_err(|message| QueryError::Syntax { message: bounded(&placed(&message, text)) })?;
    canonicalise(&mut expr);
    match expr.value_type() {
        ValueType::Vector => Ok(expr),
        ValueType::Scalar => Err(QueryError::NotAVector { found: "scalar" }),
        ValueType::String => Err(QueryError::NotAVector { found: "string" }),
        ValueType::Matrix => Err(QueryError::NotAVector { found: "range vector" }),
    }
}

/// The text with `"web-\\d+"` in place of `` `web-\d+` ``. Our parser refuses a backslash between
/// backticks unless it is an escape sequence. The server reads what stands between them as it is.
fn without_raw_strings(text: &str) -> Cow<'_, str> {
    let mut readable = String::new();
    let mut rest = text;
    // Comments and other strings may contain a backtick.
    while let Some(start) = rest.find(['`', '"', '\'', '#']) {
        let (before, quoted) = rest.split_at(start);
        readable.push_str(before);
        let Some(end) = end_of_quoted(quoted) else {
            // It never ends: the parser says so.
            rest = quoted;
            break;
        };
        let (quoted, after) = quoted.split_at(end);
        match quoted.strip_prefix('`').and_then(|raw| raw.strip_suffix('`')) {
            Some(raw) => readable.extend(["\"", &escape_string(raw), "\""]),
            None => readable.push_str(quoted),
        }
        rest = after;
    }
    if readable.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(readable + rest) }
}

/// The length of the string or the comment that `text` starts with.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    let (_, first) = chars.next()?;
    if first == '#' {
        return Some(text.find(['\n', '\r']).unwrap_or(text.len()));
    }
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if first != '`' => drop(chars.next()),
            c if c == first => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

/// A panic inside the parser counts as a syntax error: for `x[1e30]` it builds a
/// duration that does not fit and panics.
fn parse(text: &str) -> Result<Expr, String> {
    catch_unwind(AssertUnwindSafe(|| parser::parse(text)))
        .unwrap_or_else(|_| Err("a number or a duration in the query is out of range".to_owned()))
}

/// The parser's message with the place. Often the parser has no more to say than that it
/// does not parse.
fn placed(message: &str, text: &str) -> String {
    const SAYS_NOTHING: &str = "invalid promql query";
    match locate::first_fault(text) {
        Some(fault) if message == SAYS_NOTHING => fault,
        Some(fault) => format!("{message}: {fault}"),
        None => message.to_owned(),
    }
}

fn bounded(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE).collect()
}

/// Removes differences that printing loses: the order of matchers, `by ()` and
/// `ignoring ()`. So a tree can be compared with its printed and parsed copy.
fn canonicalise(expr: &mut Expr) {
    let Ok(_) = walk_expr_mut(&mut Canonical, expr);
}

struct Canonical;

impl Canonical {
    fn sort(matchers: &mut Matchers) {
        // `or` groups inside a selector are printed in their own order.
        matchers.matchers.sort_by_cached_key(ToString::to_string);
    }
}

impl ExprVisitorMut for Canonical {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &mut Expr) -> Result<bool, Infallible> {
        match expr {
            Expr::VectorSelector(selector) => Self::sort(&mut selector.matchers),
            Expr::MatrixSelector(matrix) => Self::sort(&mut matrix.vs.matchers),
            Expr::Aggregate(aggregate) => {
                aggregate.modifier = aggregate.modifier.take().and_then(build::grouping);
                // The parser's visitor skips parameters.
                aggregate.param.iter_mut().for_each(|param| canonicalise(param));
            }
            Expr::Binary(binary) => binary.modifier = binary.modifier.take().and_then(build::modifier),
            _ => {}
        }
        Ok(true)
    }
}
