//! Refuses an expression before it is parsed. Parsing is iterative, but walking, printing
//! and dropping the tree are recursive. Deep nesting overflows the stack, and
//! `catch_unwind` cannot catch that. The check reads the text once.

use std::iter::Peekable;
use std::str::Chars;

use super::QueryError;

/// The length limit of an expression, in bytes.
pub const MAX_LENGTH: usize = 4096;
/// The length limit of a query that Prunella printed: the required labels make it longer.
const MAX_PRINTED: usize = 8 * MAX_LENGTH;
/// The nesting limit of brackets, in levels.
pub const MAX_NESTING: usize = 64;
/// The limit of operators. A chain `a + a + …` nests one level per operator without any
/// bracket. The longest alert of kubernetes-mixin has about twenty.
pub const MAX_OPERATORS: usize = 256;

/// Refuses a text of a user that is empty or too long.
pub(super) fn check_length(text: &str) -> Result<(), QueryError> {
    check_length_to(text, MAX_LENGTH)
}

fn check_length_to(text: &str, longest: usize) -> Result<(), QueryError> {
    if text.trim().is_empty() {
        return Err(QueryError::Empty);
    }
    if text.len() > longest {
        return Err(QueryError::TooLong { length: text.len() });
    }
    Ok(())
}

/// Refuses a text that is empty or too long, nests too deep, has too many operators, or
/// has a string that cannot be printed again.
pub(super) fn check(text: &str) -> Result<(), QueryError> {
    check_length_to(text, MAX_PRINTED)?;
    let mut chars = text.chars().peekable();
    let (mut nesting, mut operators, mut in_braces) = (0_usize, 0_usize, false);
    let mut word = String::new();
    while let Some(c) = chars.next() {
        if c.is_ascii_alphanumeric() || c == '_' || c == ':' {
            word.push(c.to_ascii_lowercase());
            continue;
        }
        operators += usize::from(is_word_operator(&word));
        word.clear();
        match c {
            '#' => while chars.next_if(|c| !matches!(c, '\n' | '\r')).is_some() {},
            '"' | '\'' | '`' => skip_string(c, &mut chars)?,
            '(' | '[' | '{' => {
                nesting += 1;
                in_braces |= c == '{';
            }
            ')' | ']' | '}' => {
                nesting = nesting.saturating_sub(1);
                in_braces &= c != '}';
            }
            '+' | '-' | '*' | '/' | '%' | '^' | '<' | '>' | '!' | '=' if !in_braces => {
                operators += 1;
                chars.next_if_eq(&'=');
            }
            _ => {}
        }
        if nesting > MAX_NESTING {
            return Err(QueryError::TooDeep);
        }
        if operators > MAX_OPERATORS {
            return Err(QueryError::TooManyOperators);
        }
    }
    Ok(())
}

fn is_word_operator(word: &str) -> bool {
    matches!(word, "and" | "or" | "unless" | "atan2")
}

/// Skips to the closing quote that the parser finds. A scan with other rules could skip text
/// that the parser then reads. A backtick is in the text only if its string never ends: the
/// others were replaced. The server reads `"\xff"` as a byte, but our parser reads it as a
/// character. So a printed query would select other series.
fn skip_string(quote: char, chars: &mut Peekable<Chars<'_>>) -> Result<(), QueryError> {
    while let Some(c) = chars.next() {
        if c == quote {
            return Ok(());
        }
        if c != '\\' {
            continue;
        }
        let is_byte = match chars.next() {
            Some('x') => chars.peek().is_some_and(|c| matches!(c, '8'..='9' | 'a'..='f' | 'A'..='F')),
            Some('2' | '3') => true,
            _ => false,
        };
        if is_byte && quote != '`' {
            return Err(QueryError::Syntax {
                message: "byte escapes above \\x7f in a string are not supported".to_owned(),
            });
        }
    }
    Ok(())
}
