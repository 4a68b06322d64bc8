//! Randomness from a seed. Written out here rather than taken from a crate: a seed
//! that once failed must tell the same story after every upgrade.

use jiff::SignedDuration;

/// A stream of random numbers (`SplitMix64`), the same for the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let choices = high.saturating_sub(low).saturating_add(1).max(1).unsigned_abs();
        low.saturating_add_unsigned(self.next() % choices)
    }

    /// True this many times in a million.
    pub(crate) fn in_a_million(&mut self, times: u32) -> bool {
        self.next() % 1_000_000 < u64::from(times)
    }

    /// True this many times in a hundred.
    pub(crate) fn percent(&mut self, times: u32) -> bool {
        self.in_a_million(times * 10_000)
    }

    /// A duration between so many milliseconds.
    pub(crate) fn millis(&mut self, low: i64, high: i64) -> SignedDuration {
        SignedDuration::from_millis(self.between(low, high))
    }

    /// A duration between so many seconds, to the millisecond.
    pub(crate) fn seconds(&mut self, low: i64, high: i64) -> SignedDuration {
        self.millis(low * 1000, high * 1000)
    }

    /// One of the choices.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let last = i64::try_from(choices.len()).unwrap_or(1) - 1;
        choices[usize::try_from(self.between(0, last)).unwrap_or(0)]
    }
}
