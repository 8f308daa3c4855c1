//! One seed, split by name into independent streams: a new draw in one place disturbs no other.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The stream of that name.
pub(crate) fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    // FNV-1a over the name, then one finalised counter step a word, so that near seeds and names share nothing.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut state = mix(seed) ^ hash;
    let mut key = [0; 32];
    for word in key.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&mix(state).to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A bijection that spreads every bit over the word.
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Even in `min..=max`. Draws nothing where there is nothing to choose.
pub(crate) fn between(rng: &mut ChaCha8Rng, min: u64, max: u64) -> u64 {
    assert!(min <= max, "an empty range: {min}..={max}");
    if min == max { min } else { min + below(rng, (max - min).saturating_add(1)) }
}

/// Even in `0..below`.
pub(crate) fn below(rng: &mut ChaCha8Rng, below: u64) -> u64 {
    assert!(below > 0, "a draw from an empty range");
    ((u128::from(rng.next_u64()) * u128::from(below)) >> 64) as u64
}

/// True so many times in a million.
pub(crate) fn chance(rng: &mut ChaCha8Rng, ppm: u32) -> bool {
    ppm > 0 && below(rng, 1_000_000) < u64::from(ppm)
}
