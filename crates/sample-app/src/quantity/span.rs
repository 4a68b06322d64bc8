//! A span of time, written `500ms`, `30s` or `1m30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Malformed;

/// `ms` stands before `m`, so that it is not read as `m` and a rest.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Milliseconds, from 0 to a week. The bound keeps deadlines, which are made
/// by adding a span to a clock, from overflowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Span(u64);

impl Span {
    const MAX: u64 = 7 * 24 * 3_600_000;
    pub(crate) const ZERO: Self = Self(0);

    pub(crate) const fn milliseconds(count: u32) -> Self {
        Self(count as u64)
    }

    pub(crate) fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Span {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mend = Malformed("write a span of time from 0s to 168h with a unit ms, s, m or h, such as 30s or 1m30s");
        if text == "0" {
            return Ok(Self::ZERO);
        }
        if text.is_empty() {
            return Err(mend);
        }
        let mut rest = text;
        let mut total = 0_u64;
        while !rest.is_empty() {
            let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            let unit = UNITS.iter().find_map(|&(unit, factor)| Some((tail.strip_prefix(unit)?, factor)));
            let term = unit.and_then(|(tail, factor)| Some((tail, number.parse::<u64>().ok()?.checked_mul(factor)?)));
            let Some((tail, term)) = term else { return Err(mend) };
            total = total.saturating_add(term);
            rest = tail;
        }
        if total > Self::MAX { Err(mend) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return formatter.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, factor) in UNITS.iter().rev() {
            if rest >= *factor {
                write!(formatter, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Span {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_and_written() {
        let check = |text: &str, milliseconds: u64, canonical: &str| {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.duration(), Duration::from_millis(milliseconds), "{text}");
            assert_eq!(span.to_string(), canonical, "{text}");
        };
        check("0", 0, "0s");
        check("0s", 0, "0s");
        check("500ms", 500, "500ms");
        check("30s", 30_000, "30s");
        check("90s", 90_000, "1m30s");
        check("1m30s", 90_000, "1m30s");
        check("1h2m3s4ms", 3_723_004, "1h2m3s4ms");
        check("168h", 604_800_000, "168h");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "30 s",
            "1d",
            "1s2",
            "169h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
