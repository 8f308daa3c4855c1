//! Campaigns: scripts drawn from seeds, run on all cores, judged and merged.

mod biases;
#[cfg(test)]
mod biases_tests;
mod draft;
mod generate;
mod harms;
mod profile;
mod sweep;
mod twice;

pub use generate::generate;
pub use profile::{Biases, Families, Profile};
pub use sweep::{Finding, Judged, Sweep, Tally, judge_seed, sweep};
pub use twice::{difference, first_event, trace};
