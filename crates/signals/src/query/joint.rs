//! Several expressions in one, so that one request asks them all.
//!
//! Each stands in brackets of its own, and its series get a label with its place:
//! ```text
//! label_replace((
//! up == 0
//! ), "prunella_asked", "0", "", "") or label_replace((
//! …
//! ```
//! The label is put on outermost, so whatever an expression writes into it is overwritten:
//! nobody can answer in another's name. And `or` keeps every series whose labels differ.

use prunella_core::observation::Series;

/// The label with the place of the expression that a series of a joint answer is of.
pub const ASKED: &str = "prunella_asked";

/// Whether an expression that our parser reads can stand among others. What the server may
/// read in another way than a scan of quotes and brackets is asked alone: escapes, raw
/// strings, line breaks in a string, and comments, which swallow what comes behind them.
pub(super) fn may_join(text: &str) -> bool {
    let mut open = Vec::new();
    let mut quote = None;
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '#') {
            return false;
        }
        if let Some(begun) = quote {
            match c {
                '\n' | '\r' => return false,
                c if c == begun => quote = None,
                _ => {}
            }
            continue;
        }
        match c {
            '"' | '\'' => quote = Some(c),
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => return false,
            _ => {}
        }
    }
    open.is_empty() && quote.is_none() && !text.contains(ASKED)
}

/// The expression that asks all of `queries`, of which each may join.
pub(crate) fn joint(queries: &[&str]) -> String {
    let one =
        |(place, query): (usize, &&str)| format!("label_replace((\n{query}\n), \"{ASKED}\", \"{place}\", \"\", \"\")");
    queries.iter().enumerate().map(one).collect::<Vec<_>>().join(" or ")
}

/// The answer to each of `count` queries, out of that to all; `None` where a series does
/// not say whose it is.
pub(crate) fn apart(series: Vec<Series>, count: usize) -> Option<Vec<Vec<Series>>> {
    let mut apart = vec![Vec::new(); count];
    for mut one in series {
        let place: usize = one.labels.remove(ASKED)?.parse().ok()?;
        apart.get_mut(place)?.push(one);
    }
    Some(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_or_a_bracket_that_is_not_closed_may_not_join() {
        for text in ["up) or (vector(1)", "up{a=\"b", "(up", "up]", "(up]", "up{a='\n'}", "{(}) > 1"] {
            assert!(!may_join(text), "{text}");
        }
    }

    #[test]
    fn each_stands_in_brackets_of_its_own_under_its_place() {
        let expected = "label_replace((\nup\n), \"prunella_asked\", \"0\", \"\", \"\") or \
                        label_replace((\ndown\n), \"prunella_asked\", \"1\", \"\", \"\")";
        assert_eq!(joint(&["up", "down"]), expected);
    }
}
