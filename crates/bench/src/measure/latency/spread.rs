//! Percentiles.

use serde::{Deserialize, Serialize};

/// The percentiles of a number of samples, in seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) samples: usize,
    /// Faults without a write. They are not in the percentiles.
    pub(crate) lost: usize,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

impl Spread {
    /// The percentiles by nearest rank: each is the value of a sample. `None` is a lost
    /// fault.
    pub(super) fn of(faults: &[Option<f64>]) -> Self {
        let mut seconds: Vec<f64> = faults.iter().copied().flatten().collect();
        seconds.sort_by(f64::total_cmp);
        let samples = seconds.len();
        let rank = |percent: usize| {
            let rank = (samples * percent).div_ceil(100).max(1);
            seconds.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Self { samples, lost: faults.len() - samples, p50: rank(50), p90: rank(90), p99: rank(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_percentile_is_the_value_of_a_sample() {
        for (samples, expected) in [
            (vec![Some(3.0), Some(1.0), Some(2.0)], [2.0, 3.0, 3.0]),
            ((1..=100).map(|one| Some(f64::from(one))).collect(), [50.0, 90.0, 99.0]),
            (vec![Some(7.0), None], [7.0; 3]),
        ] {
            let Spread { p50, p90, p99, lost, .. } = Spread::of(&samples);
            assert_eq!(lost, samples.iter().filter(|one| one.is_none()).count());
            assert!([p50, p90, p99].iter().zip(expected).all(|(got, wanted)| (got - wanted).abs() < 1e-9));
        }
    }
}
