//! Campaigns: scripts drawn from seeds, run on all cores, judged and merged.

mod biases;
#[cfg(test)]
mod biases_tests;
mod draft;
mod generate;
mod profile;
mod sweep;

pub use generate::generate;
pub use profile::{Biases, Families, Profile};
pub use sweep::{Finding, Judged, Sweep, Tally, difference, judge_seed, sweep};
