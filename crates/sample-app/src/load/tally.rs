//! What came of requests, in numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::latencies::Latencies;

/// How one request ended.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// With an answer, whatever its code.
    Answer(u16),
    /// Without one; the kind of error.
    Error(&'static str),
}

/// Counts; as text `sent=… code.200=… error.timeout=… skipped=… p50=… p99=…`.
/// The latencies are those of answers, whatever their code.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    sent: u64,
    skipped: u64,
    codes: BTreeMap<u16, u64>,
    errors: BTreeMap<&'static str, u64>,
    latencies: Latencies,
}

impl Tally {
    pub(super) fn send(&mut self) {
        self.sent += 1;
    }

    /// A request that was due with too many in flight.
    pub(super) fn skip(&mut self) {
        self.skipped += 1;
    }

    pub(super) fn end(&mut self, outcome: Outcome, took: Duration) {
        match outcome {
            Outcome::Answer(code) => {
                *self.codes.entry(code).or_default() += 1;
                self.latencies.record(took);
            }
            Outcome::Error(kind) => *self.errors.entry(kind).or_default() += 1,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.skipped += other.skipped;
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        for (kind, count) in &other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.latencies.add(&other.latencies);
    }

    pub(super) fn anything_answered(&self) -> bool {
        !self.codes.is_empty()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sent={}", self.sent)?;
        for (code, count) in &self.codes {
            write!(formatter, " code.{code}={count}")?;
        }
        for (kind, count) in &self.errors {
            write!(formatter, " error.{kind}={count}")?;
        }
        write!(formatter, " skipped={}", self.skipped)?;
        if let (Some(p50), Some(p99)) = (self.latencies.quantile(50), self.latencies.quantile(99)) {
            write!(formatter, " p50={p50:.1?} p99={p99:.1?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_adds_up_and_reads_as_one_line() {
        let mut window = Tally::default();
        assert_eq!(window.to_string(), "sent=0 skipped=0");
        for code in [200, 200, 500] {
            window.send();
            window.end(Outcome::Answer(code), Duration::from_micros(7));
        }
        window.send();
        window.end(Outcome::Error("timeout"), Duration::from_secs(5));
        window.skip();
        let mut total = window.clone();
        total.add(&window);
        assert_eq!(total.to_string(), "sent=8 code.200=4 code.500=2 error.timeout=2 skipped=2 p50=7.0µs p99=7.0µs");
        assert!(total.anything_answered());
    }
}
