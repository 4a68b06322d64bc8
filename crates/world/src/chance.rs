//! Chance without state: the same seed gives the same number for the same thing, in whatever
//! order the things happen. A stream of random numbers would give each request another number
//! as soon as two of them change places.

/// All chance of one world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance {
    seed: u64,
}

impl Chance {
    /// The chance of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A number for `thing`.
    #[must_use]
    pub fn number(self, thing: &str) -> u64 {
        // FNV-1a, and the finalizer of SplitMix64: FNV alone leaves the high bits of short names alike.
        let start = 0xcbf2_9ce4_8422_2325 ^ self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = thing.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }

    /// A number for `thing`, from `least` to `most`.
    #[must_use]
    pub fn between(self, thing: &str, least: u64, most: u64) -> u64 {
        least + self.number(thing) % (most.saturating_sub(least) + 1)
    }

    /// A uid for `thing`, in the form of a UUID.
    #[must_use]
    pub fn uid(self, thing: &str) -> String {
        let (high, low) = (self.number(thing), self.number(&format!("{thing} again")));
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    /// A suffix of `length` letters and digits for `thing`, of those that Kubernetes uses in names.
    #[must_use]
    pub fn suffix(self, thing: &str, length: usize) -> String {
        const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut number = self.number(thing);
        let mut letters = String::new();
        while letters.len() < length {
            letters.push(LETTERS.get((number % 27) as usize).map_or('x', |&letter| char::from(letter)));
            number /= 27;
        }
        letters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_keeps_its_number_and_seeds_differ() {
        let (one, two) = (Chance::new(1), Chance::new(2));
        assert_eq!(one.number("pod/a"), Chance::new(1).number("pod/a"));
        assert_ne!(one.number("pod/a"), two.number("pod/a"));
        assert_ne!(one.number("pod/a"), one.number("pod/b"));
        assert!((0..1000).all(|n| (3..=9).contains(&one.between(&n.to_string(), 3, 9))));
        assert_eq!(one.suffix("pod/a", 5).len(), 5);
        assert_eq!(one.uid("pod/a").len(), 36);
    }
}
