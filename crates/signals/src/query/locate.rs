//! Where a text stops being `PromQL`. The parser only says that it does. This scan follows
//! the order of operands and operators, which is where people mistype. It decides nothing:
//! if it finds no fault, the parser's message stands alone.

use std::iter::Peekable;
use std::str::Chars;

/// The limit of characters of a token that is shown.
const MAX_TOKEN: usize = 32;
const WORD_OPERATORS: [&str; 4] = ["and", "or", "unless", "atan2"];
/// Words between an operator and its right side, some with a list of labels.
const MATCHING: [&str; 5] = ["bool", "on", "ignoring", "group_left", "group_right"];
const GROUPING: [&str; 2] = ["by", "without"];

/// `unexpected "=" at 1:63` (line and column), or `unexpected end of the query`.
pub(super) fn first_fault(text: &str) -> Option<String> {
    let tokens = tokens(text);
    let mut scan = Scan { tokens: &tokens, next: 0 };
    match scan.expression(0) {
        Ok(()) if scan.peek().is_none() => None,
        Ok(()) | Err(Fault) => Some(match scan.peek() {
            Some(token) => {
                let shown: String = token.text.chars().take(MAX_TOKEN).collect();
                format!("unexpected {shown:?} at {}:{}", token.line, token.column)
            }
            None => "unexpected end of the query".to_owned(),
        }),
    }
}

/// The next token cannot stand here.
struct Fault;

#[derive(Debug, PartialEq, Eq)]
struct QueryToken {
    text: String,
    line: usize,
    column: usize,
}

impl QueryToken {
    fn starts_with(&self, fits: impl Fn(char) -> bool) -> bool {
        self.text.chars().next().is_some_and(fits)
    }

    fn is_word(&self) -> bool {
        self.starts_with(|c| c.is_ascii_alphabetic() || c == '_' || c == ':')
    }

    fn is_string(&self) -> bool {
        self.starts_with(|c| matches!(c, '"' | '\'' | '`'))
    }
}

struct Scan<'a> {
    tokens: &'a [QueryToken],
    next: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<&'a QueryToken> {
        self.tokens.get(self.next)
    }

    fn take_if(&mut self, fits: impl Fn(&QueryToken) -> bool) -> Option<&'a QueryToken> {
        let token = self.peek().filter(|token| fits(token))?;
        self.next += 1;
        Some(token)
    }

    fn take(&mut self, text: &str) -> bool {
        self.take_if(|token| token.text == text).is_some()
    }

    fn take_word(&mut self, words: &[&str]) -> bool {
        self.take_if(|token| words.contains(&token.text.to_ascii_lowercase().as_str())).is_some()
    }

    fn expect(&mut self, text: &str) -> Result<(), Fault> {
        if self.take(text) { Ok(()) } else { Err(Fault) }
    }

    /// Operands with operators between them. The guard has bounded the nesting.
    fn expression(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > super::MAX_NESTING {
            return Ok(());
        }
        loop {
            self.operand(depth)?;
            let symbol = |token: &QueryToken| {
                matches!(token.text.as_str(), "+" | "-" | "*" | "/" | "%" | "^" | "==" | "!=" | "<" | ">" | "<=" | ">=")
            };
            if self.take_if(symbol).is_none() && !self.take_word(&WORD_OPERATORS) {
                return Ok(());
            }
            while self.take_word(&MATCHING) {
                self.labels()?;
            }
        }
    }

    fn operand(&mut self, depth: usize) -> Result<(), Fault> {
        while self.take("+") || self.take("-") {}
        if self.take("(") {
            self.expression(depth + 1)?;
            self.expect(")")?;
        } else if self.take("{") {
            self.matchers()?;
        } else if self.take_if(QueryToken::is_word).is_some() {
            let grouped = self.take_word(&GROUPING);
            if grouped {
                self.labels()?;
            }
            if self.take("(") {
                self.arguments(depth)?;
                if !grouped && self.take_word(&GROUPING) {
                    self.labels()?;
                }
            } else if self.take("{") {
                self.matchers()?;
            }
        } else if self
            .take_if(|token| token.is_string() || token.starts_with(|c| c.is_ascii_digit() || c == '.'))
            .is_none()
        {
            return Err(Fault);
        }
        self.suffixes(depth)
    }

    fn arguments(&mut self, depth: usize) -> Result<(), Fault> {
        if self.take(")") {
            return Ok(());
        }
        loop {
            self.expression(depth + 1)?;
            if !self.take(",") {
                return self.expect(")");
            }
        }
    }

    /// Ranges, offsets and times, in any order.
    fn suffixes(&mut self, depth: usize) -> Result<(), Fault> {
        loop {
            if self.take("[") {
                while self.peek().is_some_and(|token| token.text != "]") {
                    self.next += 1;
                }
                self.expect("]")?;
            } else if self.take_word(&["offset"]) || self.take("@") {
                self.operand_of_time(depth)?;
            } else {
                return Ok(());
            }
        }
    }

    fn operand_of_time(&mut self, depth: usize) -> Result<(), Fault> {
        while self.take("+") || self.take("-") {}
        if self.take_if(QueryToken::is_word).is_some() {
            return if self.take("(") { self.arguments(depth) } else { Ok(()) };
        }
        self.take_if(|token| token.starts_with(|c| c.is_ascii_digit() || c == '.')).map(|_| ()).ok_or(Fault)
    }

    /// A list of labels in parentheses, if there is one.
    fn labels(&mut self) -> Result<(), Fault> {
        if !self.take("(") {
            return Ok(());
        }
        while self.take_if(|token| token.is_word() || token.is_string()).is_some() && self.take(",") {}
        self.expect(")")
    }

    /// The inside of a selector.
    fn matchers(&mut self) -> Result<(), Fault> {
        loop {
            if self.take("}") {
                return Ok(());
            }
            self.take_if(|token| token.is_word() || token.is_string()).ok_or(Fault)?;
            if self.take_if(|token| matches!(token.text.as_str(), "=" | "!=" | "=~" | "!~")).is_some() {
                self.take_if(QueryToken::is_string).ok_or(Fault)?;
            }
            if !self.take(",") && !self.take_word(&["or"]) {
                return self.expect("}");
            }
        }
    }
}

fn tokens(text: &str) -> Vec<QueryToken> {
    let mut tokens = Vec::new();
    let (mut line, mut column) = (1, 1);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let mut token = c.to_string();
        match c {
            '#' => while chars.next_if(|c| !matches!(c, '\n' | '\r')).is_some() {},
            '"' | '\'' | '`' => string(c, &mut chars, &mut token),
            '=' | '!' | '<' | '>' => token.extend(chars.next_if(|next| matches!(next, '=' | '~'))),
            c if is_word(c) || c == '.' => {
                while let Some(next) = chars.next_if(|next| is_word(*next) || *next == '.') {
                    token.push(next);
                }
            }
            _ => {}
        }
        let length = token.chars().count();
        if c == '\n' {
            (line, column) = (line + 1, 1);
        } else if c == '#' || c.is_whitespace() {
            column += 1;
        } else {
            tokens.push(QueryToken { text: token, line, column });
            column += length;
        }
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

fn string(quote: char, chars: &mut Peekable<Chars<'_>>, token: &mut String) {
    while let Some(c) = chars.next() {
        token.push(c);
        if c == '\\' && quote != '`' {
            token.extend(chars.next());
        } else if c == quote {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_is_named_with_its_place() {
        for (text, fault) in [
            (r#"kube_pod_status_ready{namespace="shop", condition="true"} == 0 = 1"#, r#"unexpected "=" at 1:64"#),
            ("up = 0", r#"unexpected "=" at 1:4"#),
            ("up{job=~} == 0", r#"unexpected "}" at 1:9"#),
            ("up{job=web} == 0", r#"unexpected "web" at 1:8"#),
            ("up{job==\"web\"} == 0", r#"unexpected "==" at 1:7"#),
            // `and` can be the name of a metric, so the fault is the word after it.
            ("up == 0\n  and\n  and up", r#"unexpected "up" at 3:7"#),
            ("up >", "unexpected end of the query"),
            ("sum(up == 0", "unexpected end of the query"),
            ("sum(up)) == 0", r#"unexpected ")" at 1:8"#),
            ("sum by pod (up) > 1", r#"unexpected "pod" at 1:8"#),
            ("rate(up[5m) > 1", "unexpected end of the query"),
            ("up == 0 up", r#"unexpected "up" at 1:9"#),
        ] {
            assert_eq!(first_fault(text).as_deref(), Some(fault), "{text}");
        }
    }

    #[test]
    fn a_valid_query_has_no_fault() {
        let alerts = include_str!("../../tests/query/alerts.txt");
        let mut valid = 0;
        for query in alerts.lines().filter_map(|line| line.strip_prefix("query     ")) {
            if super::super::parse::instant_vector(query).is_ok() {
                assert_eq!(first_fault(query), None, "{query}");
                valid += 1;
            }
        }
        assert!(valid >= 30, "{valid}");
        for query in [
            "up @ end() offset -5m == 0",
            "sum without (a, b) (x{a=\"b\",}) > bool 5 # why",
            "max_over_time((x > 1)[5m:30s] @ 1700000000) > on (pod) group_left () 5e3",
            "-x < -0x1F or .5 > y{'a'!~`\\d+`}",
        ] {
            assert_eq!(first_fault(query), None, "{query}");
        }
    }
}
