//! A duration as people write it: `90s`, `1m30s`, `500ms`. It is a string, because CEL's
//! `duration()` can compare such strings, and a spec must not contain floats.

use std::borrow::Cow;
use std::fmt;

use jiff::SignedDuration;
use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A non-negative duration in hours, minutes, seconds and milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(String);

/// What is wrong with a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: use a duration such as 90s, 5m or 1h30m")]
pub struct DurationError(String);

/// How a duration is written, for the API server.
const FORM: &str = "^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,9}ms)?$";

/// Units in the order in which they may stand, with their length in milliseconds.
const UNITS: [(&str, i64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Duration {
    /// The length.
    ///
    /// # Errors
    /// When the text is not of the form that the CRD's schema allows.
    pub fn get(&self) -> Result<SignedDuration, DurationError> {
        let error = || DurationError(self.0.clone());
        let mut rest = self.0.as_str();
        let mut total: i64 = 0;
        let mut units = UNITS.iter();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let (number, tail) = rest.split_at(digits);
            let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit);
            let (_, millis) = units.find(|(name, _)| *name == unit).ok_or_else(error)?;
            let number: i64 = number.parse().map_err(|_| error())?;
            total = number.checked_mul(*millis).and_then(|part| total.checked_add(part)).ok_or_else(error)?;
            rest = tail;
        }
        if self.0.is_empty() { Err(error()) } else { Ok(SignedDuration::from_millis(total)) }
    }
}

impl From<SignedDuration> for Duration {
    /// Negative durations become zero; what is finer than a millisecond is cut off.
    fn from(duration: SignedDuration) -> Self {
        let mut millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(0);
        let mut text = String::new();
        for (unit, length) in UNITS {
            let count = millis / length;
            millis %= length;
            if count > 0 {
                text.push_str(&count.to_string());
                text.push_str(unit);
            }
        }
        Self(if text.is_empty() { "0s".to_owned() } else { text })
    }
}

impl From<&str> for Duration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rule that `field` is well formed. A rule that reads it with `duration()` needs this, because
/// CEL reports an error in such a rule in its own words.
pub(crate) fn is_duration(field: &str) -> String {
    format!("({field} != '' && {field}.matches('{FORM}'))")
}

/// The rule of a field with a duration of at least `least` and at most `most`.
pub(crate) fn between(least: &str, most: &str) -> Rule {
    let is_duration = is_duration("self");
    Rule::new(format!(
        "!{is_duration} || (duration(self) >= duration('{least}') && duration(self) <= duration('{most}'))"
    ))
}

/// The rule of a field with a duration of at most `most`.
pub(crate) fn at_most(most: &str) -> Rule {
    Rule::new(format!("!{} || duration(self) <= duration('{most}')", is_duration("self")))
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            // Not a `pattern`: the API server would answer with the regular expression.
            "x-kubernetes-validations": [{"rule": is_duration("self"), "message": "use a duration such as 90s, 5m or 1h30m"}],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<i64>) {
        let millis = Duration::from(text).get().ok().map(|d| i64::try_from(d.as_millis()).unwrap());
        assert_eq!(millis, expected, "{text}");
    }

    #[test]
    fn a_duration_means_what_people_write() {
        check("15s", Some(15_000));
        check("1m30s", Some(90_000));
        check("500ms", Some(500));
        check("24h", Some(86_400_000));
        check("1h0m5s", Some(3_605_000));
        check("0s", Some(0));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "5", "5 s", "1.5s", "-5s", "5d", "5s1m", "5s5s", "99999999999999999999s"] {
            check(text, None);
        }
    }

    #[test]
    fn a_duration_survives_being_written_and_read() {
        for millis in [0, 1, 999, 1_000, 61_001, 86_400_000] {
            let written = Duration::from(SignedDuration::from_millis(millis));
            check(&written.to_string(), Some(millis));
        }
    }
}
