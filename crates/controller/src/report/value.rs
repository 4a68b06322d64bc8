//! Numbers for people: `2.01`, `262 MB`, `93 %`. Records keep the exact value; messages show
//! this.

use prunella_signals::ValueUnit;

/// Decimal units, as the sizes in most dashboards.
const BYTES: [(f64, &str); 4] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];

/// The value as a message shows it: three significant digits, with its unit.
pub(crate) fn for_people(value: f64, unit: ValueUnit) -> String {
    match unit {
        _ if !value.is_finite() => value.to_string(),
        ValueUnit::Bytes => bytes(value),
        ValueUnit::Ratio => format!("{} %", three_digits(value * 100.0)),
        ValueUnit::Plain => three_digits(value),
    }
}

fn bytes(value: f64) -> String {
    match BYTES.iter().find(|(size, _)| value.abs() >= *size) {
        Some((size, name)) => format!("{} {name}", three_digits(value / size)),
        None => format!("{} B", three_digits(value)),
    }
}

/// Three significant digits, without trailing zeros; large and small numbers in scientific
/// notation.
fn three_digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs();
    if !(1e-4..1e7).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let decimals = match magnitude {
        m if m >= 99.95 => 0,
        m if m >= 9.995 => 1,
        m if m >= 0.9995 => 2,
        m if m >= 0.099_95 => 3,
        m if m >= 0.009_995 => 4,
        _ => 6,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The exact value as the API stores it, in at most 32 characters: the API has no floats.
pub(crate) fn exact(value: f64) -> String {
    const AT_MOST: usize = 32;
    let plain = value.to_string();
    if plain.len() <= AT_MOST { plain } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_three_digits_with_the_unit() {
        use ValueUnit::{Bytes, Plain, Ratio};
        for (value, unit, expected) in [
            (2.008_206_896_551_724, Plain, "2.01"),
            (7.0, Plain, "7"),
            (0.1, Plain, "0.1"),
            (1234.567, Plain, "1235"),
            (99.99, Plain, "100"),
            (0.001_236, Plain, "0.001236"),
            (1e12, Plain, "1.00e12"),
            (0.0, Plain, "0"),
            (-3.456, Plain, "-3.46"),
            (f64::INFINITY, Plain, "inf"),
            (262_144_000.0, Bytes, "262 MB"),
            (1_500_000_000.0, Bytes, "1.5 GB"),
            (512.0, Bytes, "512 B"),
            (0.931, Ratio, "93.1 %"),
            (0.93, Ratio, "93 %"),
            (1.0, Ratio, "100 %"),
        ] {
            assert_eq!(for_people(value, unit), expected, "{value} {unit:?}");
        }
    }

    #[test]
    fn every_value_fits_into_the_record_and_is_read_back_as_it_was() {
        for value in
            [0.0, 251_658_240.0, -5.551_115_123_125_783e-17, 1e40, f64::MIN_POSITIVE, f64::MAX, f64::MIN, f64::INFINITY]
        {
            let text = exact(value);
            assert!(text.len() <= 32, "{text}");
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
        }
    }
}
