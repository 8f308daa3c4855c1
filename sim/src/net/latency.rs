//! How long a segment takes over one direction: a distribution, and its draws. A draw is the same in a debug and in a
//! release build: logarithms and their like come from `libm`, never from the platform.

use super::errors::NetError;
use crate::rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest latency, delay or jitter that can be asked for, and that is ever drawn: a day.
pub(crate) const LONGEST_NS: u64 = 86_400_000_000_000;

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874_040_841;

/// A distribution of latencies, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Latency {
    /// Always the same.
    Constant {
        /// So long.
        ns: u64,
    },
    /// Even between the two, both included.
    Uniform {
        /// The fastest segment.
        min_ns: u64,
        /// The slowest.
        max_ns: u64,
    },
    /// The wire, and on top of it a wait without memory, as in a queue at random arrivals.
    Exponential {
        /// The fastest segment.
        min_ns: u64,
        /// The mean of all, `min_ns` included.
        mean_ns: u64,
    },
    /// Most are near the median, a few are much slower: what latencies of real networks look like.
    Lognormal {
        /// Half of the segments are faster.
        median_ns: u64,
        /// One in a hundred is slower.
        p99_ns: u64,
    },
    /// Two ways through the network, one of them slow.
    Bimodal {
        /// Fastest on the usual way.
        fast_min_ns: u64,
        /// Slowest on the usual way.
        fast_max_ns: u64,
        /// Fastest on the slow way.
        slow_min_ns: u64,
        /// Slowest on the slow way.
        slow_max_ns: u64,
        /// Segments in a million that take the slow way.
        slow_ppm: u32,
    },
}

impl Latency {
    /// Evenly between `min_ns` and `max_ns`.
    pub const fn between(min_ns: u64, max_ns: u64) -> Self {
        if min_ns == max_ns { Self::Constant { ns: min_ns } } else { Self::Uniform { min_ns, max_ns } }
    }

    /// Always `ns`.
    pub const fn fixed(ns: u64) -> Self {
        Self::Constant { ns }
    }

    /// That there can be such a distribution.
    ///
    /// # Errors
    /// [`NetError::Range`], [`NetError::Mean`], [`NetError::Percentiles`], [`NetError::Share`], [`NetError::TooLong`].
    pub fn check(&self) -> Result<(), NetError> {
        match *self {
            Self::Constant { ns } => longest("a latency", ns),
            Self::Uniform { min_ns, max_ns } => range(min_ns, max_ns),
            Self::Exponential { min_ns, mean_ns } if mean_ns < min_ns => Err(NetError::Mean { min_ns, mean_ns }),
            Self::Exponential { mean_ns, .. } => longest("a mean latency", mean_ns),
            Self::Lognormal { median_ns, p99_ns } if median_ns == 0 || p99_ns < median_ns => {
                Err(NetError::Percentiles { median_ns, p99_ns })
            }
            Self::Lognormal { p99_ns, .. } => longest("a latency", p99_ns),
            Self::Bimodal { fast_min_ns, fast_max_ns, slow_min_ns, slow_max_ns, slow_ppm } => {
                range(fast_min_ns, fast_max_ns)?;
                range(slow_min_ns, slow_max_ns)?;
                share("the slow way's share", slow_ppm)
            }
        }
    }

    /// The next draw, nanoseconds. A constant draws nothing, everything else once.
    pub(crate) fn draw(&self, rng: &mut ChaCha8Rng) -> u64 {
        match *self {
            Self::Constant { ns } => ns,
            Self::Uniform { min_ns, max_ns } => rng::between(rng, min_ns, max_ns),
            _ => self.shape(rng.next_u64()).min(LONGEST_NS),
        }
    }

    /// What 64 even bits become.
    fn shape(&self, bits: u64) -> u64 {
        match *self {
            Self::Constant { ns } => ns,
            Self::Uniform { min_ns, max_ns } => within(bits, min_ns, max_ns),
            Self::Exponential { min_ns, mean_ns } => {
                let even = ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64; // in (0, 1]
                min_ns.saturating_add((-libm::log(even) * (mean_ns - min_ns) as f64) as u64)
            }
            Self::Lognormal { median_ns, p99_ns } => {
                let sigma = libm::log(p99_ns as f64 / median_ns as f64) / NORMAL_P99;
                (median_ns as f64 * libm::exp(sigma * normal(bits))) as u64
            }
            Self::Bimodal { fast_min_ns, fast_max_ns, slow_min_ns, slow_max_ns, slow_ppm } => {
                let wide = u128::from(bits) * 1_000_000;
                let (way, rest) = ((wide >> 64) as u64, wide as u64);
                match way < u64::from(slow_ppm) {
                    true => within(rest, slow_min_ns, slow_max_ns),
                    false => within(rest, fast_min_ns, fast_max_ns),
                }
            }
        }
    }

    /// The least and the greatest, where it has both.
    pub(crate) const fn ends(&self) -> Option<(u64, u64)> {
        match *self {
            Self::Constant { ns } => Some((ns, ns)),
            Self::Uniform { min_ns, max_ns } => Some((min_ns, max_ns)),
            _ => None,
        }
    }
}

/// Even in `min..=max`, made from 64 even bits.
fn within(bits: u64, min: u64, max: u64) -> u64 {
    min + ((u128::from(bits) * u128::from(max - min + 1)) >> 64) as u64
}

/// Normal with mean 0 and variance 1, made from 64 even bits (Box and Muller: a radius and an angle).
fn normal(bits: u64) -> f64 {
    let scale = (1_u64 << 32) as f64;
    let (radius, angle) = (((bits >> 32) + 1) as f64 / scale, f64::from(bits as u32) / scale);
    libm::sqrt(-2.0 * libm::log(radius)) * libm::cos(std::f64::consts::TAU * angle)
}

fn range(min_ns: u64, max_ns: u64) -> Result<(), NetError> {
    if min_ns > max_ns { Err(NetError::Range { min_ns, max_ns }) } else { longest("a latency", max_ns) }
}

/// That a time is no longer than what a world can do with.
pub(crate) fn longest(what: &'static str, ns: u64) -> Result<(), NetError> {
    if ns > LONGEST_NS { Err(NetError::TooLong { what, ns }) } else { Ok(()) }
}

/// That a share is one.
pub(crate) fn share(what: &'static str, ppm: u32) -> Result<(), NetError> {
    if ppm > 1_000_000 { Err(NetError::Share { what, ppm }) } else { Ok(()) }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |ns: u64| ns / 1_000;
        match *self {
            Self::Constant { ns } => write!(f, "{} us", us(ns)),
            Self::Uniform { min_ns, max_ns } => write!(f, "{}..{} us", us(min_ns), us(max_ns)),
            Self::Exponential { min_ns, mean_ns } => write!(f, "from {} us, {} us on average", us(min_ns), us(mean_ns)),
            Self::Lognormal { median_ns, p99_ns } => write!(f, "median {} us, p99 {} us", us(median_ns), us(p99_ns)),
            Self::Bimodal { fast_min_ns, fast_max_ns, slow_min_ns, slow_max_ns, slow_ppm } => {
                let (fast, slow) = ([us(fast_min_ns), us(fast_max_ns)], [us(slow_min_ns), us(slow_max_ns)]);
                write!(f, "{}..{} us, {slow_ppm} in a million {}..{} us", fast[0], fast[1], slow[0], slow[1])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A debug and a release build, and any machine, must find the same numbers here.
    #[test]
    fn draws_are_the_same_in_every_build() {
        let latencies = [
            Latency::between(1_000, 9_000),
            Latency::Exponential { min_ns: 1_000, mean_ns: 300_000 },
            Latency::Lognormal { median_ns: 200_000, p99_ns: 7_000_000 },
            Latency::Bimodal { fast_min_ns: 1, fast_max_ns: 9, slow_min_ns: 100, slow_max_ns: 900, slow_ppm: 400_000 },
        ];
        let digests = latencies.map(|latency| {
            let mut rng = rng::stream(7, "latency");
            (0..10_000).fold(0, |digest, _| rng::mix(digest ^ latency.draw(&mut rng)))
        });
        let found = [10836816736244965371, 2078086694092823408, 8939157292821287932, 5850914528562494625];
        assert_eq!(digests, found);
    }

    #[test]
    fn the_farthest_draws_are_finite_and_a_day_at_most() {
        let tails = [
            Latency::Exponential { min_ns: 0, mean_ns: LONGEST_NS },
            Latency::Lognormal { median_ns: 1, p99_ns: LONGEST_NS },
        ];
        for latency in tails {
            latency.check().expect("a distribution");
            for bits in [0, u64::MAX, 1 << 63, 0xffff_ffff, 0x7fff_ffff] {
                assert!(latency.shape(bits).min(LONGEST_NS) <= LONGEST_NS);
            }
            assert!(latency.shape(0) >= LONGEST_NS, "the tail is long");
        }
    }
}
