//! What is refused before the parser sees it. Parsing is iterative, but every
//! walk over the tree, its printing and its dropping recurse: deep nesting
//! overflows the stack, which no `catch_unwind` survives. Read in one pass.

use std::iter::Peekable;
use std::str::Chars;

use super::QueryError;

/// The longest expression, in bytes.
pub const MAX_LENGTH: usize = 4096;
/// The deepest nesting of brackets.
pub const MAX_NESTING: usize = 64;
/// The most operators. A chain `a + a + …` nests one level per operator without
/// a single bracket. The longest of the kubernetes-mixin alerts has about twenty.
pub const MAX_OPERATORS: usize = 256;

/// Refuses what is empty or too long.
pub(super) fn check_length(text: &str) -> Result<(), QueryError> {
    if text.trim().is_empty() {
        return Err(QueryError::Empty);
    }
    if text.len() > MAX_LENGTH {
        return Err(QueryError::TooLong { length: text.len() });
    }
    Ok(())
}

/// Refuses what is empty, too long, too deep, or cannot be printed again.
pub(super) fn check(text: &str) -> Result<(), QueryError> {
    check_length(text)?;
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

/// Skips to the closing quote as the parser finds it: it takes a backslash for an
/// escape even between backticks, and a scan that differed could be led past what
/// the parser then reads. Outside backticks `"\xff"` is a byte to the server but a
/// character to our parser, so that what we print would select something else.
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
                message: "a byte escape above \\x7f in a string cannot be read".to_owned(),
            });
        }
    }
    Ok(())
}
