//! A size in bytes, written as Kubernetes writes one: `512Ki`, `10Mi`, `1G`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Malformed;

/// Longest suffix first, so that `Mi` is not read as `M` and a rest.
const SUFFIXES: [(&str, u64); 6] =
    [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];

/// Bytes, from 1 to 64 GiB: more than any machine this is meant for, and far
/// from where adding two of them could overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Size(u64);

impl Size {
    const MAX: u64 = 64 << 30;

    pub(crate) const fn mebibytes(count: u16) -> Self {
        Self((count as u64) << 20)
    }

    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mend = Malformed("write a size from 1 to 64Gi, bytes or with a suffix k, M, G, Ki, Mi, Gi, such as 10Mi");
        let (digits, factor) = SUFFIXES
            .iter()
            .find_map(|&(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))
            .unwrap_or((text, 1));
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(mend);
        }
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        bytes.filter(|bytes| (1..=Self::MAX).contains(bytes)).map(Self).ok_or(mend)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SUFFIXES.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)) {
            Some((suffix, factor)) => write!(formatter, "{}{suffix}", self.0 / factor),
            None => write!(formatter, "{}", self.0),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_and_written_as_kubernetes_does() {
        let check = |text: &str, bytes: u64, canonical: &str| {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, canonical), "{text}");
        };
        check("1", 1, "1");
        check("10Mi", 10 << 20, "10Mi");
        check("1024Ki", 1 << 20, "1Mi");
        check("10M", 10_000_000, "10M");
        check("64Gi", 64 << 30, "64Gi");
        check("3k", 3_000, "3k");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "0",
            "Mi",
            "-1",
            "+1",
            "1.5Mi",
            "10mb",
            "10 Mi",
            "65Gi",
            "99999999999999999999",
            "18446744073709551615Gi",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
