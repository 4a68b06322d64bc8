//! Latencies in bounded memory, however long the load goes on.

use std::collections::BTreeMap;
use std::time::Duration;

/// Counts by size. Buckets widen with the latency, sixteen to each power of
/// two of microseconds, so that a quantile is at most a sixteenth too high.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    /// How many, by bucket.
    counts: BTreeMap<u64, u64>,
}

/// Bits of a latency that its bucket keeps below the leading one.
const KEPT: u32 = 4;

impl Latencies {
    pub(super) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        *self.counts.entry(bucket_of(micros)).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
    }

    /// The latency that `percent` of all stay within; `None` without any.
    pub(super) fn quantile(&self, percent: u64) -> Option<Duration> {
        let rank = (self.counts.values().sum::<u64>() * percent).div_ceil(100);
        let mut seen = 0;
        let (bucket, _) = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        })?;
        Some(Duration::from_micros(highest_in(*bucket)))
    }
}

fn bucket_of(micros: u64) -> u64 {
    let Some(leading) = micros.checked_ilog2().filter(|leading| *leading >= KEPT) else {
        // Below 16 every microsecond has its own bucket.
        return micros;
    };
    let shift = leading - KEPT;
    // What is left after the shift, the leading one and the bits kept, is
    // between 16 and 31.
    u64::from(shift) * 16 + (micros >> shift)
}

fn highest_in(bucket: u64) -> u64 {
    if bucket < 32 {
        return bucket;
    }
    let shift = bucket / 16 - 1;
    let kept = bucket % 16 + 16;
    // 128 bits wide: the last bucket ends where 64 bits do.
    let end = u128::from(kept + 1) << shift;
    u64::try_from(end - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_ordered_and_at_most_a_sixteenth_wide() {
        let mut latencies: Vec<u64> = (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) | (1 << bit >> 1)]).collect();
        latencies.extend([0, 15, 16, 17, 31, 32, 33, 1_000_000, u64::MAX]);
        latencies.sort_unstable();
        let mut before = 0;
        for micros in latencies {
            let bucket = bucket_of(micros);
            let highest = highest_in(bucket);
            assert!(bucket >= before, "{micros}");
            assert!(highest >= micros && highest - micros <= micros / 16, "{micros} in a bucket up to {highest}");
            before = bucket;
        }
    }

    #[test]
    fn quantiles_are_where_they_should_be() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(50), None);
        for micros in 1..=100 {
            latencies.record(Duration::from_micros(micros));
        }
        let within = |percent, low, high| {
            let micros = latencies.quantile(percent).unwrap().as_micros();
            assert!((low..=high).contains(&micros), "p{percent} is {micros}");
        };
        within(50, 50, 53);
        within(99, 99, 105);
        within(100, 100, 106);
    }
}
