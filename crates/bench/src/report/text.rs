//! Numbers and lines as text.

use std::fmt::Write as _;

use super::figures::Range;

/// A number with three significant digits.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// A number with its unit.
pub(super) fn quantity(value: f64, unit: &str) -> String {
    format!("{} {unit}", number(value)).trim_end().to_owned()
}

/// The median with its unit, followed by the range if there are several runs.
pub(super) fn range(range: Range, unit: &str) -> String {
    let Range { median, least, most, runs } = range;
    let median = quantity(median, unit);
    if runs < 2 { median } else { format!("{median} ({} to {})", number(least), number(most)) }
}

/// Adds a line to a text.
pub(super) fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        for (value, expected) in [(0.0, "0"), (0.0312, "0.031"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn one_run_has_no_range() {
        let of = |values: &[f64]| range(Range::of(values.iter().copied()).unwrap(), "s");
        assert_eq!(of(&[0.73]), "0.730 s");
        assert_eq!(of(&[0.73, 0.8, 0.75]), "0.750 s (0.730 to 0.800)");
    }
}
