//! A percentage, and the even spread of it over requests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Malformed;

/// Hundredths of a percent, from 1 to 10 000. Whole numbers, so that the
/// spread is exact; fine enough for error budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Percentage(u16);

impl Percentage {
    pub(crate) const ALL: Self = Self(10_000);

    /// Whether the `nth` request, counted from 0, is one of those meant.
    ///
    /// Counted out evenly rather than drawn: with 25 % it is every fourth
    /// request, so that a short test sees the share it asked for.
    pub(crate) fn hits(self, nth: u64) -> bool {
        // The pattern repeats, and the remainder keeps the product small.
        let nth = nth % 10_000;
        let share = u64::from(self.0);
        (nth + 1) * share / 10_000 > nth * share / 10_000
    }

    /// That much of a whole, rounded down.
    pub(crate) fn of(self, whole: u32) -> u32 {
        // Both factors are bounded, and the share is at most one.
        u32::try_from(u64::from(whole) * u64::from(self.0) / 10_000).unwrap_or(whole)
    }
}

impl FromStr for Percentage {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mend = Malformed("write a percentage from 0.01 to 100 with at most two decimals, such as 25");
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "00"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
            return Err(mend);
        }
        let share = format!("{whole}{decimals:0<2}").parse::<u16>().ok();
        share.filter(|share| (1..=10_000).contains(share)).map(Self).ok_or(mend)
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(formatter, "{whole}"),
            (whole, decimals) if decimals % 10 == 0 => write!(formatter, "{whole}.{}", decimals / 10),
            (whole, decimals) => write!(formatter, "{whole}.{decimals:02}"),
        }
    }
}

impl TryFrom<String> for Percentage {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Percentage> for String {
    fn from(percentage: Percentage) -> Self {
        percentage.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_read_and_written() {
        for (text, canonical) in [
            ("100", "100"),
            ("25%", "25"),
            ("12.5", "12.5"),
            ("0.01", "0.01"),
            ("1.05", "1.05"),
            ("7.0", "7"),
            ("025", "25"),
        ] {
            assert_eq!(text.parse::<Percentage>().unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_percentage_is_refused() {
        for text in ["", "%", "0", "0.00", "100.01", "101", "-5", "1.", ".5", "1.234", "1e1", "half", "99999999"] {
            assert!(text.parse::<Percentage>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_share_is_exact_and_even() {
        for (text, hits) in [("100", 10_000), ("50", 5_000), ("33.33", 3_333), ("0.01", 1)] {
            let percentage: Percentage = text.parse().unwrap();
            let seen = (0..10_000).filter(|nth| percentage.hits(*nth)).count();
            assert_eq!(seen, hits, "{text}");
        }
        let quarter: Percentage = "25".parse().unwrap();
        let first: Vec<u64> = (0..12).filter(|nth| quarter.hits(*nth)).collect();
        assert_eq!(first, [3, 7, 11]);
    }
}
