//! The only randomness that a core may use: a stream that it was handed when it was made.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A seeded stream of draws. In simulation its seed comes from the run's seed, for real from the operating system.
#[derive(Clone, Debug)]
pub struct Draws {
    stream: ChaCha8Rng,
}

impl Draws {
    /// The stream of `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self { stream: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// An independent stream named `name`: drawing more from one disturbs no other.
    pub fn named(seed: u64, name: &str) -> Self {
        let mut key = seed ^ 0x9e37_79b9_7f4a_7c15;
        for byte in name.bytes() {
            key = (key ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        }
        Self::from_seed(key)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// The next 128 bits.
    pub fn next_u128(&mut self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }

    /// Uniform in `0..below`; `below` must be positive.
    pub fn below(&mut self, below: u64) -> u64 {
        assert!(below > 0, "a draw from an empty range");
        ((u128::from(self.next_u64()) * u128::from(below)) >> 64) as u64
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a draw from an empty range {low}..={high}");
        low + self.below((high - low).saturating_add(1))
    }

    /// True with probability `numerator / denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_streams_are_independent_and_repeat() {
        let mut a = Draws::named(7, "link b1 b2");
        let mut b = Draws::named(7, "link b2 b1");
        let first = a.next_u64();
        assert_ne!(first, b.next_u64());
        assert_eq!(first, Draws::named(7, "link b1 b2").next_u64());
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut draws = Draws::from_seed(1);
        assert!((0..1000).all(|_| draws.below(3) < 3));
        assert!((0..1000).all(|_| (5..=6).contains(&draws.between(5, 6))));
    }
}
